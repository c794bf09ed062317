"""Reads the memories that are scored or analysed, and brings published ones to the data set's normalisation."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from condensers.published import SUFFIXES, doubt, renormalise
from harness.core.progress import say
from harness.core.stored import Stored, read
from scenarios.datasets import Dataset


class Published(Protocol):
    """Flags that say how published memory files were normalised, and which of their sets to read."""

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean that was taken off pixels from 0 to 1; empty if it was not given."""

    @property
    def std(self) -> tuple[float, ...]:
        """The deviation that such pixels were divided by; empty if it was not given."""

    @property
    def set(self) -> int:
        """Which set of published files that hold several."""


def read_all(
    config: Published, paths: Sequence[Path], dataset: Dataset, soft: bool = True, strict: bool = False
) -> list[Stored]:
    """Read every memory file once, so that a bad file is reported before any work.

    Args:
        config: the flags.
        paths: the files; one that is named twice is read once.
        dataset: the data set that all memories must be of.
        soft: whether the caller can handle soft labels.
        strict: whether pixels that do not look normalised as the data set are refused; else a warning says so.

    Raises:
        ValueError: as `harness.core.stored.read`, pixels as above, or `--mean`, `--std` or `--set` that do not go with
            the files.
    """
    paths = list(dict.fromkeys(paths))
    if bool(config.mean) != bool(config.std):
        raise ValueError("--mean and --std go together: give both")
    if config.mean and not any(map(_published, paths)):
        raise ValueError("--mean and --std are for published .pt files; .safetensors say how they were normalised")
    if config.set and not any(map(_published, paths)):
        raise ValueError("--set is for published .pt files; a .safetensors holds one set")
    return [_read(config, path, dataset, soft, strict) for path in paths]


def _read(config: Published, path: Path, dataset: Dataset, soft: bool, strict: bool) -> Stored:
    stored = _as_stated(getattr(config, "trained_on_real", None), read(path, dataset, soft=soft, number=config.set))
    if not _published(path):
        return stored
    if config.mean:
        stored = replace(stored, memory=renormalise(stored.memory, config.mean, config.std, dataset.train))
    if doubtful := doubt(stored.memory, dataset.train):
        if strict:
            raise ValueError(f"{path}: {doubtful}")
        say(f"warning: {path}: {doubtful}")
    return stored


def _as_stated(stated: str | None, stored: Stored) -> Stored:
    """The memory, which says now what the user stated. Raises ValueError if it says something else of itself."""
    said = stored.memory.metadata.get("trained_on_real")
    if stated is None:
        return stored
    if said is not None and said != (stated == "yes"):
        raise ValueError(
            f"{stored.path} says that it was {'' if said else 'not '}made by networks trained on real "
            "labels: leave out --trained-on-real"
        )
    metadata = stored.memory.metadata | {"trained_on_real": stated == "yes"}
    return replace(stored, memory=replace(stored.memory, metadata=metadata))


def _published(path: Path) -> bool:
    return path.suffix in SUFFIXES
