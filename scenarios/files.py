"""Readers of data sets on disk: raw pixels and labels, or one line that says which file is wrong.

Every reader takes the folder to look in and the side in pixels of the images to return, and raises `ValueError`
for files that are missing or damaged. Heavy libraries are imported where they are used: importing this is cheap.
"""

import math
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import NamedTuple
from urllib.request import urlopen

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.nn.functional import interpolate

from condensers.device.files import require_file
from condensers.device.images import position_in_class

_PROBE_SECONDS = 3  # so that a machine without a network says so in seconds
_MOST_PIXELS = 2**26  # of one picture; in colour that is 0.2 GB, and each thread holds one
_MOST_ANNOTATIONS = 2**26  # bytes; the file has 0.4 MB
_TINYIMAGENET_URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"

Pixels = tuple[UInt8[Tensor, "n ch h w"], Int64[Tensor, "n"]]


class Raw(NamedTuple):
    """Images `[n, channels, side, side]` (uint8, 0 to 255) and labels `[n]` of both splits, and class names."""

    train: Pixels
    test: Pixels
    class_names: tuple[str, ...]


def _split(images: Tensor, labels: Tensor, every: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Train and test: of each class, every `every`-th image in file order is test."""
    held = position_in_class(labels) % every == every - 1
    return (images[~held], labels[~held]), (images[held], labels[held])


def _require_room(images: int, channels: int, side: int) -> None:
    """Raise ValueError, before anything is decoded, for images that would fill half of this machine's memory."""
    needed, there = images * channels * side**2, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there / 2:
        raise ValueError(
            f"{images} images of {side} x {side} pixels take {needed / 1e9:,.0f} GB, more than half of this machine's "
            f"{there / 1e9:,.0f} GB: give a smaller --resolution"
        )


def _resized(raw: Raw, side: int) -> Raw:
    def resize(images: Tensor) -> Tensor:
        if images.shape[-1] == side:
            return images
        _require_room(*images.shape[:2], side)
        return interpolate(images, size=(side, side), mode="bilinear", antialias=True)

    return raw._replace(train=(resize(raw.train[0]), raw.train[1]), test=(resize(raw.test[0]), raw.test[1]))


# --- scikit-learn's digits


def read_digits(_root: Path, side: int) -> Raw:
    """The 1797 digits that come with scikit-learn, grey 8x8 unless `side` says otherwise.

    The stored 0..16 becomes 0..255 by rounding v * 255 / 16. Of each class, every fourth image in file order
    is test.
    """
    from sklearn.datasets import load_digits

    bundled = load_digits()
    levels = bundled.images.astype(np.int64)
    images = torch.from_numpy(((levels * 255 + 8) // 16).astype(np.uint8)).unsqueeze(1)
    train, test = _split(images, torch.from_numpy(bundled.target).long(), every=4)
    return _resized(Raw(train, test, tuple("0123456789")), side)


# --- CIFAR-10 and CIFAR-100


@dataclass(frozen=True)
class CifarLayout:
    """How a CIFAR is stored: as torchvision's pickles, or as official binary records.

    A record is `label_bytes` bytes, the class last, and then 3072 pixels.
    """

    torchvision_class: str
    pickle_folder: str
    binary_folder: str
    binary_train: tuple[str, ...]
    binary_test: str
    label_bytes: int
    class_names: tuple[str, ...]


_CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100_CLASSES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel
    can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
    dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion
    lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter
    palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road
    rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower
    sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
    willow_tree wolf woman worm
"""

CIFAR10 = CifarLayout(
    torchvision_class="CIFAR10",
    pickle_folder="cifar-10-batches-py",
    binary_folder="cifar-10-batches-bin",
    binary_train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    binary_test="test_batch.bin",
    label_bytes=1,
    class_names=tuple(_CIFAR10_CLASSES.split()),
)
CIFAR100 = CifarLayout(
    torchvision_class="CIFAR100",
    pickle_folder="cifar-100-python",
    binary_folder="cifar-100-binary",
    binary_train=("train.bin",),
    binary_test="test.bin",
    label_bytes=2,
    class_names=tuple(_CIFAR100_CLASSES.split()),
)


def read_cifar(layout: CifarLayout, root: Path, side: int) -> Raw:
    """CIFAR-10 or CIFAR-100 from torchvision's files, else from the official binary files, else downloaded.

    torchvision's files are pickles: the MD5 of each is checked before it is opened. Binary files may hold any
    number of records. CIFAR-100 labels are the fine ones.

    Source: https://www.cs.toronto.edu/~kriz/cifar.html
    """
    if (root / layout.pickle_folder).is_dir() or not (root / layout.binary_folder).is_dir():
        return _resized(_pickled_cifar(layout, root), side)
    return _resized(_binary_cifar(layout, root / layout.binary_folder), side)


def _pickled_cifar(layout: CifarLayout, root: Path) -> Raw:
    from torchvision import datasets
    from torchvision.datasets.utils import check_integrity

    source = getattr(datasets, layout.torchvision_class)
    folder = root / layout.pickle_folder
    hashes = dict([*source.train_list, *source.test_list, (source.meta["filename"], source.meta["md5"])])
    if not folder.is_dir():
        binary = f"{layout.binary_folder}/ ({', '.join((*layout.binary_train, layout.binary_test))})"
        accepted = f"{folder.name}/ ({', '.join(hashes)}) or {binary}"
        _download(root, accepted, {folder.name: (source.url, source.tgz_md5)})
    for name, md5 in hashes.items():
        if not check_integrity(folder / name, md5):
            fault = "damaged (its MD5 is wrong)" if (folder / name).exists() else "missing"
            raise ValueError(f"{folder / name} is {fault}: delete {folder} to download it again")

    def read(train: bool) -> Pixels:
        stored = source(root, train=train)
        images = np.ascontiguousarray(stored.data.transpose(0, 3, 1, 2))
        return torch.from_numpy(images), torch.tensor(stored.targets)

    return Raw(read(train=True), read(train=False), layout.class_names)


def _binary_cifar(layout: CifarLayout, folder: Path) -> Raw:
    batches = [_cifar_records(layout, folder / name) for name in layout.binary_train]
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return Raw((images, labels), _cifar_records(layout, folder / layout.binary_test), layout.class_names)


def _cifar_records(layout: CifarLayout, path: Path) -> Pixels:
    record = layout.label_bytes + 3072
    if not path.is_file():
        raise ValueError(f"{path} is missing: unpack the whole binary archive again")
    size = path.stat().st_size
    if not size or size % record:
        raise ValueError(f"{path} is damaged, replace it: {size} bytes are not a multiple of {record}")
    _require_room(size // record, 3, 32)
    records = torch.from_numpy(np.fromfile(path, np.uint8)).view(-1, record)
    labels = records[:, layout.label_bytes - 1].long()
    if labels.max() >= len(layout.class_names):
        raise ValueError(f"{path} is damaged, replace it: there is no class {labels.max()}")
    return records[:, layout.label_bytes :].reshape(-1, 3, 32, 32), labels


# --- SVHN


def read_svhn(root: Path, side: int) -> Raw:
    """Street View House Numbers from train_32x32.mat and test_32x32.mat, downloaded if missing.

    The file's label 10 is digit 0, as in torchvision.

    Source: http://ufldl.stanford.edu/housenumbers
    """
    from torchvision.datasets import SVHN

    sources = (SVHN.split_list["train"], SVHN.split_list["test"])
    missing = {name: (url, md5) for url, name, md5 in sources if not (root / name).is_file()}
    if missing:
        _download(root, " and ".join(missing), missing)
    train, test = (_svhn_pixels(root / name) for _, name, _ in sources)
    return _resized(Raw(train, test, tuple("0123456789")), side)


def _svhn_pixels(path: Path) -> Pixels:
    from scipy.io import loadmat, whosmat

    try:
        # Checked before anything is unpacked: a small file of compressed zeros unpacks to a thousand times its size.
        _require_room(max((math.prod(shape) for _, shape, _ in whosmat(path)), default=0) // 3072, 3, 32)
        stored = loadmat(path, variable_names=["X", "y"])
        images = np.ascontiguousarray(stored["X"].transpose(3, 2, 0, 1))
        labels = stored["y"].astype(np.int64).reshape(-1)
    except Exception as error:  # SciPy raises whatever the damaged bytes lead it to
        raise ValueError(f"{path} is damaged ({_one_line(error)}): delete it to download it again") from error
    expected = (len(labels), 3, 32, 32)
    if images.dtype != np.uint8 or images.shape != expected or not np.isin(labels, range(1, 11)).all():
        raise ValueError(f"{path} is not in SVHN's 32x32 format: delete it to download it again")
    return torch.from_numpy(images), torch.from_numpy(labels % 10)


# --- downloads


def _download(root: Path, accepted: str, archives: dict[str, tuple[str, str]]) -> None:
    """Put files or folders, each from its (URL, MD5), into `root`; the environment's proxies are honoured."""
    from torchvision.datasets.utils import download_and_extract_archive, download_url

    urls = " and ".join(url for url, _ in archives.values())
    try:
        for url, _ in archives.values():
            _probe(url)
        root.mkdir(parents=True, exist_ok=True)
        # Moved into place when complete: a killed download leaves nothing that looks like a data set.
        with TemporaryDirectory(dir=root) as scratch:
            for name, (url, md5) in archives.items():
                fetch = download_and_extract_archive if url.endswith(".tar.gz") else download_url
                fetch(url, scratch, md5=md5)
                if not (root / name).exists():  # another process may have been faster
                    (Path(scratch) / name).replace(root / name)
    except (OSError, RuntimeError, HTTPException) as error:
        raise ValueError(
            f"found no {accepted} in {root} and could not download ({_one_line(error)}): "
            f"fetch {urls} by hand into {root}, unpacked"
        ) from error


def _probe(url: str) -> None:
    """Raise OSError unless the URL answers within seconds: torchvision's own download has no time limit."""
    failure: list[BaseException] = [TimeoutError("timed out")]

    def ask() -> None:
        try:
            urlopen(url, timeout=_PROBE_SECONDS).close()
            failure.clear()
        except (OSError, HTTPException) as error:
            failure[0] = error

    # In a thread, because a name look-up without a network ignores this time limit and waits longer.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    if failure:
        raise failure[0]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# --- folders of image files


def read_tinyimagenet(root: Path, side: int) -> Raw:
    """Tiny ImageNet from tiny-imagenet-200/; its validation images are the test split, classes are WordNet ids.

    Source: http://cs231n.stanford.edu/tiny-imagenet-200.zip (not downloaded: unpack it by hand)
    """
    folder = root / "tiny-imagenet-200"
    annotations = folder / "val" / "val_annotations.txt"
    for path in (folder / "train", annotations):
        if not path.exists():
            raise ValueError(f"{path} is missing: fetch {_TINYIMAGENET_URL} by hand and unpack it in {root}")
    classes = _class_folders(folder / "train")
    test = _decode(*_annotated(annotations, classes), side)
    return Raw(_decode(*_listed(folder / "train", classes), side), test, classes)


def _annotated(annotations: Path, classes: tuple[str, ...]) -> tuple[list[Path], Int64[Tensor, "n"]]:
    require_file(annotations, _MOST_ANNOTATIONS)
    rows = [line.split("\t") for line in annotations.read_text(errors="replace").splitlines()]
    label_of = {name: label for label, name in enumerate(classes)}
    for number, row in enumerate(rows, 1):
        if len(row) < 2 or row[1] not in label_of:
            raise ValueError(f"{annotations} line {number} names no class of train: replace it")
    labels = torch.tensor([label_of[row[1]] for row in rows], dtype=torch.int64)
    return [annotations.parent / "images" / row[0] for row in rows], labels


def read_folder(folder: Path, side: int) -> Raw:
    """Class folders of any images that PIL reads: the central square, resized to `side`, in colour.

    `train/CLASS/*` and `test/CLASS/*` (or `val` if there is no `test`) are taken as they are. Without a `train`
    folder, `CLASS/*` is split: of each class, every fifth image in order of file name is test. Classes are
    labelled in order of name; hidden files and files without an image's extension are passed over.
    """
    if not (folder / "train").is_dir():
        classes = _class_folders(folder)
        paths, labels = _listed(folder, classes)
        _require_five(folder, classes, labels)
        return Raw(*_split(*_decode(paths, labels, side), every=5), classes)
    test = next((folder / name for name in ("test", "val") if (folder / name).is_dir()), None)
    if test is None:
        raise ValueError(f"{folder} has train but neither test nor val: add one, or name {folder / 'train'}")
    classes = _class_folders(folder / "train")
    if differing := sorted(set(classes) ^ set(_class_folders(test))):
        raise ValueError(f"{test} and the train beside it differ in class folders: {', '.join(differing)}")
    train, test = (_decode(*_listed(part, classes), side) for part in (folder / "train", test))
    return Raw(train, test, classes)


def _require_five(folder: Path, classes: tuple[str, ...], labels: Int64[Tensor, "n"]) -> None:
    counts = torch.bincount(labels)
    if counts.min() < 5:
        scarce = f"{folder / classes[counts.argmin()]} has {counts.min()} images"
        raise ValueError(f"{scarce}: give it 5, one of them for test, or add train and test folders")


def _class_folders(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: name one with a folder of images for each class")
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")
    if len(names) < 2:
        raise ValueError(f"{folder} holds {len(names)} class folders: at least two are needed")
    return tuple(names)


def _listed(folder: Path, classes: tuple[str, ...]) -> tuple[list[Path], Int64[Tensor, "n"]]:
    from PIL import Image

    extensions = {extension for extension, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    paths, labels = [], []
    for label, name in enumerate(classes):
        found = sorted(
            path for path in (folder / name).rglob("*") if path.suffix.lower() in extensions and path.name[0] != "."
        )
        if not found:
            raise ValueError(f"{folder / name} holds no image: fill or remove it")
        paths += found
        labels += [label] * len(found)
    return paths, torch.tensor(labels)


def _decode(paths: list[Path], labels: Int64[Tensor, "n"], side: int) -> Pixels:
    from PIL import Image, ImageOps

    def read(path: Path) -> Tensor:
        try:
            if not path.is_file():  # opening a pipe would wait for whoever writes to it
                raise ValueError("it is no file")
            with Image.open(path) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise ValueError(f"{image.width} x {image.height} pixels, at most {_MOST_PIXELS:,} in all are read")
                square = ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BILINEAR)
        except Exception as error:  # PIL's decoders raise nearly anything, SyntaxError included
            raise ValueError(f"{path} is no readable image ({_one_line(error)}): replace or remove it") from error
        return torch.from_numpy(np.array(square)).permute(2, 0, 1)

    _require_room(len(paths), 3, side)
    images = torch.empty(len(paths), 3, side, side, dtype=torch.uint8)
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # here the bound is lower, and an error
        for slot, image in zip(images, pool.map(read, paths), strict=True):
            slot.copy_(image)
    return images, labels
