"""The condensed memory: a few images per class, how they came about, and the file they are kept in.

The file is safetensors, so nothing in it can run code. Pixels are floats in normalised space and never clamped;
`float32` is exact, `float16` and `uint8` (affine, one scale and offset per image) are smaller and are scored as
stored; `indices` stores only the positions of the images in the training set.

A file carries one digest over all that is read from it: metadata, and name, type, shape and bytes of every tensor.
With `indices` the metadata, and so the digest, also hold a digest of the pixels that the indices stand for.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from condensers import schema
from condensers.core.pixels import Pixels, pixels_of
from condensers.device.files import atomic_write
from condensers.device.images import LabelledImages, position_in_class

SCHEMA = "condensed-memory-2"
UNDIGESTED = "condensed-memory-1"  # older files: the checksum covers only pixels and labels
STORES = ("float32", "float16", "uint8", "indices")


@dataclass(frozen=True)
class Memory:
    """Images to train on instead of a data set.

    Attributes:
        images: normalised pixels, `[n, channels, height, width]`, not clamped.
        labels: class of each image in the data set's numbering, `[n]`.
        metadata: what made it: data set and checksum, condenser and config, seeds, versions; JSON values only.
        indices: position of each image in the training set, `[n]`, if the images are real; else None.
        soft_labels: the probability of each class for each image, `[n, classes]`; None if each image is all its label.
    """

    images: Float[Tensor, "n ch h w"]
    labels: Int64[Tensor, "n"]
    metadata: dict[str, Any]
    indices: Int64[Tensor, "n"] | None = None
    soft_labels: Float[Tensor, "n classes"] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> list[int]:
        """The classes it holds, ascending."""
        return self.labels.unique().tolist()

    @property
    def per_class(self) -> int:
        """Stored images of the class that has fewest."""
        return int(self.labels.unique(return_counts=True)[1].min())

    @property
    def targets(self) -> Tensor:
        """What networks are trained towards: the soft labels, `[n, classes]`, or where there are none the labels."""
        return self.labels if self.soft_labels is None else self.soft_labels

    @property
    def checksum(self) -> str:
        """16 hex digits over stored pixels and labels, as results quote them; the digest in a file covers more."""
        trained_on = [self.images, self.labels, *([] if self.soft_labels is None else [self.soft_labels])]
        return hashlib.sha256(b"".join(map(_bytes, trained_on))).hexdigest()[:16]

    @property
    def pixels(self) -> Pixels:
        """How stored images are decoded, by the metadata. Raises ValueError if that is not understood."""
        return pixels_of(self.metadata.get("decoding"))

    def decoded(self) -> "Memory":
        """The memory with the images that networks are trained on; those of one stored image are adjacent."""
        if self.pixels.decoded == 1:
            return self
        images = self.pixels.decode(self.images[None])[0]
        targets = {name: tensor for name, tensor in self._per_image().items() if name in ("labels", "soft_labels")}
        repeated = {name: tensor.repeat_interleave(self.pixels.decoded, 0) for name, tensor in targets.items()}
        return Memory(images=images, metadata=self.metadata | {"decoding": None}, **repeated)

    def of_classes(self, classes: Sequence[int]) -> "Memory":
        """Only the given classes. Raises ValueError if one of them is not in the memory."""
        missing = set(classes) - set(self.classes)
        if missing:
            raise ValueError(f"the memory holds no images of classes {sorted(missing)}")
        return self._take(torch.isin(self.labels, torch.as_tensor(list(classes), device=self.labels.device)))

    def first_per_class(self, n: int) -> "Memory":
        """The first `n` images of every class: how a class shrinks when its share of the budget does."""
        return self._take(position_in_class(self.labels) < n)

    def stored_as(self, store: str, source: LabelledImages | None = None) -> "Memory":
        """The memory as it would read if saved with that `store` and loaded again."""
        return replace(self, images=_decode(_encode(self, store), source))

    def _take(self, keep: Tensor) -> "Memory":
        return replace(self, **{name: tensor[keep] for name, tensor in self._per_image().items()})

    def _per_image(self) -> dict[str, Tensor]:
        """The memory's tensors by name, each with `n` as first dimension."""
        names = ("images", "labels", "indices", "soft_labels")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def join(parts: Sequence[Memory], metadata: dict[str, Any]) -> Memory:
    """Memories of different classes as one. Raises ValueError if only some of them have soft labels."""
    if len({part.soft_labels is None for part in parts}) > 1:
        raise ValueError("memories with soft labels cannot be joined with others")
    tensors = [part._per_image() for part in parts]
    shared = [name for name in tensors[0] if all(name in own for own in tensors)]
    return Memory(metadata=metadata, **{name: torch.cat([own[name] for own in tensors]) for name in shared})


def save_memory(memory: Memory, path: Path, store: str = "float32") -> None:
    """Write a memory atomically.

    Raises:
        ValueError: pixels that are not finite, unknown `store`, `indices` for a memory that is not made of real
            images, metadata that `condensers.schema` refuses, or an unwritable folder.
    """
    _check_finite(memory.images)  # before encoding, because `uint8` turns NaN into some colour
    tensors = _encode(memory, store)
    stored_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    # The checksum is that of the pixels as they will be read, because a smaller store rounds them. `indices` stores
    # no pixels: the checksum is then that of the pixels at hand.
    checksum = (memory if store == "indices" else memory.stored_as(store)).checksum
    metadata = memory.metadata | {"store": store, "stored_bytes": stored_bytes, "checksum": checksum}
    if store == "indices":
        metadata |= {"pixels": _pixels(memory)}
    schema.check(metadata)
    header = {"schema": SCHEMA, "memory": json.dumps(metadata, sort_keys=True, allow_nan=False)}
    atomic_write(path, save(tensors, header | {"digest": _digest(header, tensors)}))


def load_memory(path: Path, source: LabelledImages | None = None) -> Memory:
    """Read a memory; `source` is the training set, needed only where indices alone are stored.

    Raises:
        ValueError: the file is missing, truncated, altered, not a memory, or holds anything but finite images.
    """
    header, metadata, tensors = _open(Path(path))
    try:
        images = _decode(tensors, source)
        memory = Memory(images, tensors["labels"], metadata, tensors.get("indices"), tensors.get("soft_labels"))
        check(memory)
        _verify(memory, header, tensors)
    except (KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return memory


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a memory file, without a check of its digest. Raises ValueError if the file cannot be read."""
    return _open(path)[1]


def check(memory: Memory) -> None:
    """Raise ValueError unless the memory holds finite images, one label each, and the right number of each class.

    All classes have equally many images, or as many as the config says: under a shrinking budget early classes start
    with more.
    """
    if memory.images.dim() != 4 or memory.labels.shape != memory.images.shape[:1] or not len(memory):
        raise ValueError(f"images {list(memory.images.shape)} and labels {list(memory.labels.shape)} do not fit")
    if memory.images.shape[-1] % math.isqrt(memory.pixels.decoded):
        raise ValueError(f"images of {memory.images.shape[-1]} px do not hold {memory.pixels.decoded} tiles each")
    _check_finite(memory.images)
    if memory.labels.min() < 0:
        raise ValueError(f"the memory holds a negative label, {int(memory.labels.min())}")
    names = memory.metadata.get("class_names")
    if names is not None and memory.labels.max() >= len(names):
        raise ValueError(f"the memory holds class {int(memory.labels.max())}, but names {len(names)} classes")
    if memory.soft_labels is not None:
        _check_soft(memory.soft_labels, memory.labels)
    labels, counts = (x.tolist() for x in memory.labels.unique(return_counts=True))
    groups = memory.metadata.get("config", {}).get("groups") or []
    wanted = {label: ipc for classes, ipc in groups for label in classes}
    # A slice of a memory keeps the config of the full one, so its groups may name classes that are not here.
    if len(set(counts)) > 1 and any(wanted.get(label) != n for label, n in zip(labels, counts, strict=True)):
        raise ValueError(f"the memory is not class-balanced: {min(counts)} to {max(counts)} images per class")


def _check_finite(images: Tensor) -> None:
    if not images.isfinite().all():
        raise ValueError("the memory holds pixels that are NaN or infinite")


def _check_soft(soft: Tensor, labels: Tensor) -> None:
    if soft.dim() != 2 or len(soft) != len(labels):
        raise ValueError(f"soft labels {list(soft.shape)} and labels {list(labels.shape)} do not fit")
    if not (soft.min() >= 0 and ((soft.sum(1) - 1).abs() < 1e-3).all()):
        raise ValueError("the soft labels are no probabilities: they must be at least 0 and sum to 1 for each image")
    if not torch.equal(soft.argmax(1), labels):
        raise ValueError("a label is not the most probable class of its soft labels")


def check_origin(metadata: dict[str, Any], dataset: str, checksum: str) -> None:
    """Raise ValueError if a memory says that it was made from other data than these."""
    made_from, of = metadata.get("dataset"), metadata.get("dataset_checksum")
    if made_from is not None and of != checksum:  # not by name: a folder's path can be spelled in many ways
        part = ", of another resolution or validation split" if made_from == dataset else ""
        raise ValueError(f"the memory was condensed from {made_from} ({of}{part}), not from {dataset} ({checksum})")


def check_fits(memory: Memory, dataset: str, shape: tuple[int, int, int], classes: int) -> None:
    """Raise ValueError unless the memory has images of that shape, of every class and no other."""
    if tuple(memory.images.shape[1:]) != shape:
        raise ValueError(f"the memory holds images of {list(memory.images.shape[1:])}, {dataset} {list(shape)}")
    if memory.soft_labels is not None and memory.soft_labels.shape[1] != classes:
        raise ValueError(
            f"the memory has soft labels of {memory.soft_labels.shape[1]} classes; {dataset} has {classes}"
        )
    held = memory.classes
    if held[-1] >= classes:
        raise ValueError(f"the memory holds class {held[-1]}; {dataset} has {classes} classes")
    if len(held) < classes:
        raise ValueError(f"the memory holds {len(held)} of the {classes} classes of {dataset}")


def _open(path: Path) -> tuple[dict[str, str], dict[str, Any], dict[str, Tensor]]:
    """Header, metadata and tensors of a file, held to `condensers.schema` but not decoded."""
    try:
        if path.is_dir():
            raise IsADirectoryError("it is a folder, not a memory file")
        if path.suffix in (".pt", ".pth"):
            raise ValueError("it is a file of torch.save: condensers.published.import_published reads those")
        if not path.is_file():  # opening a pipe would wait for whoever writes to it
            raise FileNotFoundError("there is no such file")
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if header.get("schema") not in (SCHEMA, UNDIGESTED) or "labels" not in tensors:
            raise ValueError(f"it is not a condensed memory (schema {header.get('schema')!r}, not {SCHEMA!r})")
        schema.check_tensors(tensors)
        return header, schema.parse(header["memory"]), tensors
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ValueError(f"cannot read the memory {path}: {error}") from error


def _verify(memory: Memory, header: dict[str, str], tensors: dict[str, Tensor]) -> None:
    """Raise ValueError unless the file's checksum and digests fit what was read from it."""
    if "images" in tensors and memory.checksum != memory.metadata["checksum"]:
        raise ValueError("pixels or labels are not those that were written: the checksum does not fit")
    if header["schema"] == UNDIGESTED and "digest" not in header:
        return
    if header.get("digest") != _digest(header, tensors):
        raise ValueError("metadata or tensors are not those that were written: the digest does not fit")
    if "images" not in tensors and memory.metadata.get("pixels") != _pixels(memory):
        raise ValueError("the images that the memory points at are not those it was made of")


def _digest(header: dict[str, str], tensors: dict[str, Tensor]) -> str:
    """SHA-256 over all that is read from a file."""
    return digest_of([header["schema"], header["memory"]], tensors)


def digest_of(said: Sequence[str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over texts, and over name, type, shape and bytes of every tensor."""
    described = [[name, str(tensor.dtype), list(tensor.shape)] for name, tensor in sorted(tensors.items())]
    digest = hashlib.sha256(json.dumps([*said, described]).encode())
    for _, tensor in sorted(tensors.items()):
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _pixels(memory: Memory) -> str:
    """SHA-256 over the raw 8-bit pixels of real images: normalised pixels may differ in rounding between devices."""
    mean, std = (torch.tensor(memory.metadata.get(name, [default])) for name, default in (("mean", 0.0), ("std", 1.0)))
    raw = memory.images.detach().cpu() * std.view(-1, 1, 1) + mean.view(-1, 1, 1)
    return hashlib.sha256(_bytes((255 * raw).round().to(torch.int32))).hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _encode(memory: Memory, store: str) -> dict[str, Tensor]:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in memory._per_image().items()}
    images = tensors.pop("images")
    if store == "indices":
        if memory.indices is None:
            raise ValueError("only memories of real images (random, herding) can be stored as indices")
        return tensors
    if store in ("float32", "float16"):
        return tensors | {"images": images.to(getattr(torch, store))}
    if store != "uint8":
        raise ValueError(f"unknown store {store!r}. Choices: {', '.join(STORES)}")
    low, high = images.flatten(1).aminmax(dim=1)
    scale = ((high - low) / 255).clamp_min(torch.finfo(torch.float32).tiny)
    levels = ((images - low.view(-1, 1, 1, 1)) / scale.view(-1, 1, 1, 1)).round().to(torch.uint8)
    return tensors | {"images": levels, "scale": scale, "offset": low}


def _decode(tensors: dict[str, Tensor], source: LabelledImages | None) -> Tensor:
    if "images" not in tensors:
        return _look_up(tensors["indices"], tensors["labels"], source)
    images = tensors["images"].float()
    if "scale" in tensors:
        images = images * tensors["scale"].view(-1, 1, 1, 1) + tensors["offset"].view(-1, 1, 1, 1)
    return images


def _look_up(indices: Tensor, labels: Tensor, source: LabelledImages | None) -> Tensor:
    if source is None:
        raise ValueError("the memory stores indices only: give the data set it was drawn from")
    if indices.min() < 0 or indices.max() >= len(source):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise ValueError(f"the memory points at image {int(wrong)} of a set of {len(source)}")
    chosen = source.subset(indices.to(source.labels.device))
    if not torch.equal(chosen.labels.cpu(), labels):
        raise ValueError("the images that the memory points at have other labels: it is of another data set")
    return source.normalise(chosen.images).cpu()
