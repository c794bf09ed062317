"""Condensed images side by side: where they started, what each method made of them, and the nearest real image."""

import base64
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from condensers.device.images import LabelledImages
from condensers.memory import Memory, load_memory, read_metadata
from harness.report.content import Found, Section
from scenarios.datasets import Dataset, at_hand, load

CLASSES = 10  # classes that are drawn, one image of each
GALLERIES = 8
ROWS = 24  # memories of a gallery
LARGEST = 96  # pixels of a picture's longer side
START = "random"  # the draw of real images that pixels start from


@dataclass(frozen=True)
class Tile:
    """One picture: a PNG as an address that holds it, what it shows, and the nearest real image of its class."""

    address: str
    alt: str
    nearest: "Tile | None" = None


@dataclass(frozen=True)
class Strip:
    """The pictures of one memory, one for each class."""

    name: str
    path: Path
    tiles: list[Tile]


@dataclass
class Gallery:
    """Memories of one draw below each other.

    Attributes:
        title: data set and size.
        note: what is left out, and why.
        classes: names of the classes, which are the columns.
        rows: the memories.
    """

    title: str
    note: str
    classes: list[str] = field(default_factory=list)
    rows: list[Strip] = field(default_factory=list)


@dataclass(frozen=True)
class Kept:
    """A memory file and what it says of itself."""

    path: Path
    metadata: Mapping[str, object]

    @property
    def condenser(self) -> str:
        """The condenser that made it; the file's name if that is not known."""
        return str(self.metadata.get("condenser", self.path.stem))

    @property
    def iterations(self) -> int:
        """How many iterations condensing took; 0 if the file does not say."""
        said = self.metadata.get("iterations")
        return said if isinstance(said, int) else 0

    @property
    def size(self) -> tuple[str, ...]:
        """Its data set and number of images per class."""
        return self._said("dataset", "dataset_checksum", "stored_per_class")

    @property
    def draw(self) -> tuple[str, ...]:
        """Size and seed: equal for memories that started from the same real images."""
        return (*self.size, *self._said("seed"))

    def _said(self, *names: str) -> tuple[str, ...]:
        return tuple(json.dumps(self.metadata.get(name)) for name in names)


def section(found: Found, data_root: Path) -> Section:
    """A gallery for each data set and size of which a memory can be drawn."""
    kept, problems = _kept(found.memories)
    splits = _validation(found)
    galleries: list[Gallery] = []
    draws = _draws(kept)
    for place, draw in enumerate(draws):
        if len(galleries) == GALLERIES:
            problems.append(f"{len(draws) - place} more sets of memories are not drawn: name fewer folders")
            break
        own = sorted((one for one in kept if one.draw == draw), key=_place)
        made, said = _gallery(own, data_root, splits)
        problems += said
        galleries += [made] if made.rows else []
    intro = (
        "Memories of one draw share the real images that they start from, so each column is one image and what became "
        "of it. Of a data set and size the draw of most memories is shown. Below each: the real training image of its "
        "class that is nearest in pixels, where the data set is at hand."
    )
    return Section("images", "Condensed images", intro, extra={"galleries": galleries}, problems=problems)


def _place(one: Kept) -> tuple[bool, str, int]:
    """Sort key of a memory within its gallery: the start first, then by name and length."""
    return one.condenser != START, one.condenser, one.iterations


def _draws(kept: Sequence[Kept]) -> list[tuple[str, ...]]:
    """For each data set and size, the draw with most memories: replicates look alike and would make the page heavy."""
    counts = Counter(one.draw for one in kept)
    largest: dict[tuple[str, ...], tuple[str, ...]] = {}
    for one in kept:
        largest[one.size] = max(largest.get(one.size, one.draw), one.draw, key=counts.__getitem__)
    return list(largest.values())


def _kept(paths: Sequence[Path]) -> tuple[list[Kept], list[str]]:
    """The memories that can be read, each of them once however many folders hold it."""
    kept: dict[object, Kept] = {}
    problems = []
    for path in paths:
        try:
            one = Kept(path, read_metadata(path))
            # Files of one recipe and seed count once, though machines may round differently: nobody would see it.
            kept.setdefault((one.condenser, json.dumps(one.metadata.get("config"), sort_keys=True), one.draw), one)
        except ValueError as error:
            problems.append(str(error))
    return list(kept.values()), problems


def _validation(found: Found) -> dict[str, int]:
    """Images per class that were held out, by the checksum of what is left of a data set, as far as rows say so."""
    sizes: dict[str, int] = {}
    for source in found.sources:
        if {"dataset_checksum", "validation"} <= set(source.frame):
            sizes |= dict(zip(source.frame["dataset_checksum"], source.frame["validation"], strict=True))
    return sizes


def _gallery(kept: Sequence[Kept], data_root: Path, splits: Mapping[str, int]) -> tuple[Gallery, list[str]]:
    metadata, problems = kept[0].metadata, []
    train = _training_images(metadata, data_root, splits)
    lacking = [one for one in kept if train is None and one.metadata.get("store") == "indices"]
    made = Gallery(f"{metadata.get('dataset', 'unnamed data')}, {_size(metadata)}", _lacking(lacking))
    labels: list[int] = []
    for one in (one for one in kept if one not in lacking):
        if len(made.rows) == ROWS:
            problems.append(f"{one.path} and those after it are not drawn: {ROWS} memories of one draw are")
            break
        try:
            memory = load_memory(one.path, train)
            labels = labels or memory.classes[:CLASSES]
            tiles = [_tile(one, memory, label, _class(metadata, label), train) for label in labels]
        except ValueError as error:
            problems.append(str(error))
        except (IndexError, TypeError, RuntimeError) as error:  # other classes than the first memory, or odd channels
            problems.append(f"{one.path} cannot be drawn beside the others: {error}")
        else:
            made.rows.append(Strip(_heading(one, kept), one.path, tiles))
    made.classes = [_class(metadata, label) for label in labels] if made.rows else []
    return made, problems


def _lacking(memories: Sequence[Kept]) -> str:
    names = ", ".join(one.condenser for one in memories)
    return f"Not drawn: {names}, kept as positions in a data set that is not at hand (--data-root)." if names else ""


def _size(metadata: Mapping[str, object]) -> str:
    per_class = metadata.get("stored_per_class")
    return f"{per_class} per class" if per_class else "as published"


def _heading(one: Kept, kept: Sequence[Kept]) -> str:
    """The condenser, with its iterations if the gallery has it at several lengths."""
    if one.condenser == START:
        return f"{START}: the start"
    lengths = {other.iterations for other in kept if other.condenser == one.condenser}
    return one.condenser if len(lengths) == 1 else f"{one.condenser}, {one.iterations:,} iterations"


def _training_images(
    metadata: Mapping[str, object], data_root: Path, splits: Mapping[str, int]
) -> LabelledImages | None:
    """The images that a memory was made from; None where they are not at hand."""
    name, checksum = str(metadata.get("dataset")), str(metadata.get("dataset_checksum"))
    try:
        if not at_hand(name, data_root):
            return None
        whole = _load(name, data_root)
        held = int(splits.get(checksum, 0))
        split = whole.hold_out(held) if held else whole
    except ValueError:  # damaged files, or another data set of that name
        return None
    return split.train if split.checksum == checksum else None


@cache
def _load(name: str, data_root: Path) -> Dataset:
    return load(name, data_root)


def _class(metadata: Mapping[str, object], label: int) -> str:
    names = metadata.get("class_names")
    return str(names[label]) if names else f"class {label}"


def _tile(one: Kept, memory: Memory, label: int, name: str, train: LabelledImages | None) -> Tile:
    image = memory.images[(memory.labels == label).nonzero()[0, 0]]
    raw = _denormalised(image, one.metadata, train)
    real = None
    if train is not None and memory.indices is None and memory.pixels.decoded == 1:
        real = Tile(_png(_nearest(image, label, train)), f"the real image of {name} nearest to that of {one.condenser}")
    return Tile(_png((255 * raw).round().byte()), f"{one.condenser}: {name}", real)


def _denormalised(
    image: Float[Tensor, "ch h w"], metadata: Mapping[str, object], train: LabelledImages | None
) -> Float[Tensor, "ch h w"]:
    """Pixels from 0 to 1; stretched from the darkest to the brightest where nothing says how they were normalised."""
    if train is not None:
        return train.denormalise(image)
    if "mean" in metadata and "std" in metadata:
        mean, std = (torch.tensor(metadata[name]).view(-1, 1, 1) for name in ("mean", "std"))
        return (image * std + mean).clamp(0, 1)
    low, high = image.aminmax()
    return (image - low) / (high - low).clamp_min(1e-6)


def _nearest(image: Float[Tensor, "ch h w"], label: int, train: LabelledImages) -> UInt8[Tensor, "ch h w"]:
    """The training image of a class with the least squared distance in normalised pixels."""
    own = train.images[train.labels == label]
    distances = torch.cat([(train.normalise(part) - image).square().flatten(1).sum(1) for part in own.split(1000)])
    return own[distances.argmin()]


def _png(levels: UInt8[Tensor, "ch h w"]) -> str:
    pixels = levels.permute(1, 2, 0)
    file = io.BytesIO()
    picture = Image.fromarray((pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels[..., :3]).numpy())
    picture.thumbnail((LARGEST, LARGEST))  # more pixels than are shown would make the page heavy
    picture.save(file, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
