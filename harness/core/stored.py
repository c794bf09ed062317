"""Memory files that a user named: read, and checked against what they are wanted for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from condensers.core.identity import identity
from condensers.core.pixels import Raw
from condensers.memory import Memory, check_fits, check_origin, load_memory, read_metadata
from condensers.published import SUFFIXES, import_published, sets_in
from harness.core.progress import say
from scenarios.datasets import Dataset, usual_side


@dataclass(frozen=True)
class Stored:
    """A memory and the file that it is kept in."""

    path: Path
    memory: Memory

    @property
    def name(self) -> str:
        """The file's name without suffix: what messages call the memory."""
        return self.path.stem


def read(path: Path, dataset: Dataset | None, soft: bool = False, number: int = 0) -> Stored:
    """Read a memory file (`.safetensors`, or a published `.pt`) and check that it is of `dataset`, if one is given.

    Args:
        path: of the file.
        dataset: the data set that the memory must be of, or None for any.
        soft: whether the caller can handle soft labels.
        number: which set of a published file that holds several, from 0.

    Raises:
        ValueError: the file is unreadable, of another data set, lacks a class, or has soft labels without `soft`.
    """
    if not path.name.isprintable():  # else refused only when its row is written, after hours of work
        raise ValueError(f"the memory {str(path)!a} has a name that cannot be written down: rename the file")
    published = path.suffix in SUFFIXES
    metadata = {} if published else read_metadata(path)
    try:
        # Checked first, because indices into another data set would give other images.
        if dataset:
            check_origin(metadata, dataset.name, dataset.checksum)
        memory = import_published(path, number) if published else load_memory(path, dataset and dataset.train)
        if dataset:
            check_fits(memory, dataset.name, dataset.shape, dataset.classes)
        if memory.soft_labels is not None and not soft:
            raise ValueError("it has soft labels, which only python -m harness.evaluate trains on")
    except ValueError as error:
        raise ValueError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    if published and (sets := sets_in(path)) > 1:
        say(f"note: {path} holds {sets} sets, and number {number} is read (from 0)")
    return Stored(path, memory)


def check_held_out(path: Path, split: Dataset, validation: int) -> None:
    """Raise ValueError unless a memory file says that it was made without the split's held-out images."""
    metadata = {} if path.suffix in SUFFIXES else read_metadata(path)
    if "dataset_checksum" not in metadata:
        raise ValueError(
            f"{path} does not say which images it was made from, so it may have seen those that --validation "
            f"{validation} holds out: only memories of harness.condense with that --validation can be used here"
        )
    if metadata.get("dataset", split.name) == split.name and metadata["dataset_checksum"] != split.checksum:
        size = f" --resolution {split.shape[1]}" if split.shape[1] != usual_side(split.name) else ""
        raise ValueError(
            f"{path} was not condensed from the {len(split.train)} images of {split.name} at {split.shape[1]} px that "
            f"--validation {validation} leaves, so it may have seen those to choose on: make it with "
            f"python -m harness.condense --dataset {split.name}{size} --validation {validation}"
        )


def content_of(memory: Memory) -> str | list[object]:
    """What networks are trained on, for keys: the checksum of what is stored, and how it is decoded, if it is."""
    return memory.checksum if memory.pixels == Raw() else [memory.checksum, identity(memory.pixels)]


def made_from(path: Path) -> str:
    """The data set that a memory file names. Raises ValueError if it names none."""
    dataset = None if path.suffix in SUFFIXES else read_metadata(path).get("dataset")
    if dataset is None:
        raise ValueError(f"{path} does not say what it was made from: give --dataset")
    return dataset


def check_steps(stored: Stored, steps: Sequence[Sequence[int]], order: int, separable: bool = False) -> None:
    """Raise ValueError if a slice of the memory for one step of a class order would hold something of later steps.

    Args:
        stored: the memory.
        steps: the classes of each step.
        order: number of the class order, for the message.
        separable: whether a memory that does not say how it was condensed was condensed class by class.
    """
    metadata = stored.memory.metadata
    if metadata.get("separable", separable) or len(steps) == 1:
        return
    groups = metadata.get("config", {}).get("groups")
    if groups is None:
        raise ValueError(
            f"{stored.name} does not say which classes were condensed together, so later steps may leak: if each class "
            "was condensed by itself, give --separable"
        )
    for classes, _ in groups:
        if not any(set(classes) <= set(step) for step in steps):
            raise ValueError(
                f"{stored.name} condensed {len(classes)} classes together that class order {order} shows in different "
                f"steps, and {metadata.get('condenser')} couples classes: condense it step by step for that order "
                f"(harness.condense --steps {len(steps)} --order {order}){f', or give --orders {order}' * bool(order)}"
            )
