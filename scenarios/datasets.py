"""Data sets by name: train and test images as uint8 tensors, their normalisation and a checksum.

`load("digits", root)` needs no download; `DATASETS` lists the rest. `scenarios.files` reads the files.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from condensers.device.images import LabelledImages, position_in_class
from scenarios import files
from search_spaces.names import unknown

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]

_NATURAL = "color_crop_cutout_flip_scale_rotate"
_UPRIGHT = "color_crop_cutout_scale_rotate"  # a mirrored digit is another sign, or none
_FOLDER = "folder:PATH"
_HOLD_OUT_SEED = int.from_bytes(hashlib.sha256(b"validation split").digest()[:7], "big")


@dataclass(frozen=True)
class Dataset:
    """A labelled data set with its fixed test split.

    Attributes:
        name: what `load` was asked for, such as `cifar100` or `folder:PATH`; for people.
        identity: the name in draws and file names: `name`, or `folder-CHECKSUM` for a folder, whose path can be
            spelled in many ways.
        train: training images, with the mean and deviation that normalise both splits.
        test: test images, or the validation images that `hold_out` set aside.
        class_names: the name of each label, in label order.
        augmentation: DSA strategy that keeps the labels true (digits are not flipped).
        checksum: 16 hex digits of the SHA-256 over pixels and labels of both splits, with shapes and dtypes, and over
            the normalisation of a data set that was added by `add`.
    """

    name: str
    identity: str
    train: LabelledImages
    test: LabelledImages
    class_names: tuple[str, ...]
    augmentation: str
    checksum: str

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        return self.train.shape

    def to(self, device: torch.device | str) -> "Dataset":
        """The same data set on another device."""
        return replace(self, train=self.train.to(device), test=self.test.to(device))

    def hold_out(self, per_class: int) -> "Dataset":
        """A validation split: `per_class` training images of each class become the test set and leave train.

        The old test set is not in the result, so nothing can be selected on it. Name, identity, normalisation
        and augmentation stay; the checksum is the split's own. `hold_out_index` gives every image's source index.

        Raises:
            ValueError: `per_class` is below 1, or would leave some class without a training image.
        """
        kept, held = self.hold_out_index(per_class)
        train, test = self.train.subset(kept), self.train.subset(held)
        return replace(self, train=train, test=test, checksum=_checksum(self.name, train, test))

    def hold_out_index(self, per_class: int) -> tuple[Int64[Tensor, "kept"], Int64[Tensor, "held"]]:
        """Positions in `train` of the images that `hold_out(per_class)` keeps, and of those that it holds out.

        Those held out are the last of each class in a shuffle with a constant seed. So they depend on the labels
        only, are the same on every device, and a larger split contains the smaller ones. Both indices ascend.

        Raises:
            ValueError: as `hold_out`.
        """
        labels = self.train.labels.cpu()
        counts = torch.bincount(labels, minlength=self.classes)
        if not 1 <= per_class < counts.min():
            raise ValueError(
                f"cannot hold out {per_class} images per class of {self.name}: choose at least 1 and fewer than "
                f"the {counts.min()} training images of class {self.class_names[counts.argmin()]!r}"
            )
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_HOLD_OUT_SEED))
        rank = torch.empty_like(labels)
        rank[order] = position_in_class(labels[order])
        held = rank >= counts[labels] - per_class
        device = self.train.labels.device
        return (~held).nonzero().squeeze(1).to(device), held.nonzero().squeeze(1).to(device)


@dataclass(frozen=True)
class Source:
    """How one data set is read.

    Attributes:
        description: one line for `--list`.
        read: function of the root folder (PATH itself for `folder:PATH`) and the side in pixels; gives the raw splits.
        resolution: side in pixels unless the caller asks for another.
        augmentation: DSA strategy.
        normalisation: per-channel mean and standard deviation at the stored size; None: the train split's own.
        needs: what must lie in the root folder so that nothing is downloaded: any of these sets of files or folders.
    """

    description: str
    read: Callable[[Path, int], files.Raw]
    resolution: int
    augmentation: str
    normalisation: Normalisation | None
    needs: tuple[tuple[str, ...], ...] = ((),)


DATASETS: dict[str, Source] = {
    "digits": Source(
        "scikit-learn's handwritten digits, 10 classes, 8x8 grey, 1352 train / 445 test, no download",
        files.read_digits,
        8,
        _UPRIGHT,
        ((0.3049,), (0.3756,)),
    ),
    "cifar10": Source(
        "10 classes of photographs, 32x32 colour, 50000 train / 10000 test",
        partial(files.read_cifar, files.CIFAR10),
        32,
        _NATURAL,
        ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ((files.CIFAR10.pickle_folder,), (files.CIFAR10.binary_folder,)),
    ),
    "cifar100": Source(
        "100 classes of photographs, 32x32 colour, 50000 train / 10000 test",
        partial(files.read_cifar, files.CIFAR100),
        32,
        _NATURAL,
        ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
        ((files.CIFAR100.pickle_folder,), (files.CIFAR100.binary_folder,)),
    ),
    "svhn": Source(
        "street view house numbers, 10 classes, 32x32 colour, 73257 train / 26032 test",
        files.read_svhn,
        32,
        _UPRIGHT,
        ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        (("train_32x32.mat", "test_32x32.mat"),),
    ),
    "tinyimagenet": Source(
        "200 classes of photographs, 64x64 colour, 100000 train / 10000 test (its validation images)",
        files.read_tinyimagenet,
        64,
        _NATURAL,
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ),
    _FOLDER: Source(
        "your images: PATH/train/CLASS/* and PATH/test/CLASS/*, or PATH/CLASS/* with every 5th as test",
        files.read_folder,
        32,
        _NATURAL,
        None,
    ),
}


_OWN = frozenset(DATASETS)  # built in: their normalisation never changes; that of a folder follows from its pixels


def add(sources: Mapping[str, Source]) -> None:
    """Register further data sets by name.

    Raises:
        ValueError: a name that is taken.
        TypeError: something that is no `Source`.
    """
    for name, source in sources.items():
        if not isinstance(source, Source):
            raise TypeError(f"the data set {name!r} is {source!r}; give a scenarios.datasets.Source")
        if name in DATASETS:
            raise ValueError(f"the name {name!r} is taken: give the data set another one")
    DATASETS.update(sources)


def at_hand(name: str, root: Path) -> bool:
    """Whether `load` needs no download for a data set; it may still refuse its files. False for an unknown name."""
    own_folder = re.fullmatch(r"folder:(.+)", name)
    if own_folder:
        return Path(own_folder[1]).expanduser().is_dir()
    needs = DATASETS[name].needs if name in DATASETS else ()
    return any(all((root / one).exists() for one in alternative) for alternative in needs)


def usual_side(name: str) -> int:
    """The side of a data set's images in pixels unless another is asked for. Unknown names are taken for folders."""
    return DATASETS[name if name in DATASETS else _FOLDER].resolution


def load(name: str, root: Path, resolution: int | None = None) -> Dataset:
    """Read a data set, or download it where torchvision can (CIFAR, SVHN).

    Args:
        name: a key of `DATASETS`; `folder:PATH` with a path of your own, as seen from the current folder.
        root: folder that holds the other data sets, and where downloads go.
        resolution: side of the square images in pixels; None is the data set's own (32 for folders).
            Resizing is bilinear with antialiasing; a fixed normalisation stays that of the stored size.

    Raises:
        ValueError: unknown name, bad resolution, missing or damaged files; one line says which and what to do.
    """
    own_folder = re.fullmatch(r"folder:(.+)", name)
    key = _FOLDER if own_folder else name
    if key not in DATASETS:
        raise unknown("data set", name, DATASETS)
    source = DATASETS[key]
    side = source.resolution if resolution is None else resolution
    if side < 1:
        raise ValueError(f"resolution is {side}: give a side of at least 1 pixel")
    raw = _read(name, source, own_folder[1] if own_folder else root, side)
    _require_names(name, raw.class_names)
    _require_every_class(name, raw)
    mean, std = source.normalisation or _normalisation(raw.train[0])
    train, test = (LabelledImages(images, labels, mean, std) for images, labels in (raw.train, raw.test))
    checksum = _checksum(name, train, test)
    identity = f"folder-{checksum}" if own_folder else name
    return Dataset(name, identity, train, test, raw.class_names, source.augmentation, checksum)


def _read(name: str, source: Source, folder: str | Path, side: int) -> files.Raw:
    if not name.isprintable():  # such a name could not be written into a row, after hours of work
        raise ValueError(f"the data set {name!a} has a path that cannot be written down: rename the folder")
    try:
        return source.read(Path(folder).expanduser(), side)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no such user as in ~USER
        raise ValueError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error


def _require_names(name: str, classes: Sequence[str]) -> None:
    for one in classes:
        if not one.isprintable():  # as above: memories hold the names of their classes
            raise ValueError(f"the class {one!a} of {name} has a name that cannot be written down: rename it")


def _require_every_class(name: str, raw: files.Raw) -> None:
    for split, (_, labels) in (("training", raw.train), ("test", raw.test)):
        counts = torch.bincount(labels, minlength=len(raw.class_names))
        if not counts.all():
            absent = raw.class_names[counts.argmin()]
            raise ValueError(f"{name} has no {split} image of class {absent!r}: replace its incomplete files")


def _normalisation(images: UInt8[Tensor, "n ch h w"]) -> Normalisation:
    """Per-channel mean and standard deviation of pixels in [0, 1], without a float copy of the images."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in images.unbind(1)])
    share = counts.double() / counts.sum(1, keepdim=True)
    mean = share @ levels
    std = (share * (levels - mean[:, None]) ** 2).sum(1).sqrt()
    # A channel that never varies still has to be divided by something.
    return tuple(mean.tolist()), tuple(std.clamp(min=1 / 255).tolist())


def _checksum(name: str, train: LabelledImages, test: LabelledImages) -> str:
    digest, splits = hashlib.sha256(), (train, test)
    # An added data set may change its normalisation, and so what networks see: the checksum must then change, so
    # that old memories and rows are not reused.
    if name not in _OWN and not name.startswith("folder:"):
        digest.update(f"{[*map(float, train.mean)]} {[*map(float, train.std)]}".encode())
    for tensor in (tensor for split in splits for tensor in (split.images, split.labels)):
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy())
    return digest.hexdigest()[:16]
