"""Memories that were scored together: which of them are replicates, and how the others compare with the first.

Memories are replicates of one *making* if all that made them is the same but the seed. The first memory's making is
what the others are compared with, paired by seed: memories of one seed share their draws. What others published has
no seed: it is one set, and all memories of another making are compared with that one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from condensers.memory import Memory
from harness.core.memories import Stored
from harness.core.scoring import PER_CLASS, Settings, groups_of, making
from harness.evidence.intervals import MEMORY, Interval, interval

UNSEEDED = "no seed"
ABOVE = "above the first"


@dataclass(frozen=True)
class Scored:
    """A memory and the accuracies of the networks trained on it, as fractions."""

    stored: Stored
    accuracies: Sequence[float]


def check(stored: Sequence[Stored]) -> None:
    """Raise ValueError if two memories of one making and seed hold other images, as other code or machines make them.

    They would pass for one memory, or for two replicates, and are neither. So would two sets that others published
    under one name.
    """
    known: dict[str, Stored] = {}
    for one in stored:
        same = known.setdefault(json.dumps([making(one), _identity(one.memory)], sort_keys=True), one)
        if same.memory.checksum != one.memory.checksum:
            raise ValueError(
                f"{same.path} and {one.path} hold other images, but go by one name and one seed: score them apart, or "
                "rename one if they are published"
            )


def table(scored: Sequence[Scored]) -> pd.DataFrame:
    """A row for each making: `memories` (their name), `accuracy`, and `above the first` if there are others.

    Accuracies and differences are an `Interval` over memories; networks are averaged within each memory. A difference
    without a common seed is None; a memory without a seed is compared with all memories of the other making.
    """
    by_name: dict[str, list[Scored]] = {}
    for name, one in zip(_names([making(one.stored) for one in scored]), scored, strict=True):
        by_name.setdefault(name, []).append(one)
    series = {name: _series(members) for name, members in by_name.items()}
    first = next(iter(series.values()))
    rows = [
        {"memories": name, "accuracy": interval(values), ABOVE: _difference(values, first)}
        for name, values in series.items()
    ]
    rows[0][ABOVE] = None
    frame = pd.DataFrame(rows)
    return frame if len(rows) > 1 else frame.drop(columns=ABOVE)


def format_table(frame: pd.DataFrame, networks: int, unseeded: bool = False) -> str:
    """The table for the terminal, with a line that says what its intervals are.

    `unseeded` says that there are memories without a seed among them.
    """
    shown = frame.map(lambda value: "-" if value is None else str(value))
    note = f"percent, 95 % intervals over memories; averaged over {networks} networks within each memory"
    paired = "; differences are paired by seed" if ABOVE in frame else ""
    if paired and unseeded:
        paired += ", what has no seed is compared as it is"
    return f"{shown.to_string(index=False)}\n{note}{paired}"


def _names(makings: Sequence[Settings]) -> list[str]:
    """A condenser's name and images per class, and whatever else tells memories of the same condenser apart."""
    names = []
    for own in makings:
        differing = _differing([other for other in makings if other["condenser"] == own["condenser"]])
        names.append(", ".join([own["condenser"], f"{own[PER_CLASS]} per class", *_tell(own, differing)]))
    return names


def _differing(makings: Sequence[Settings]) -> dict[str, list[str]]:
    """Settings with more than one value among these, each with its values in the order of their first use."""
    found = {
        name: list(dict.fromkeys(json.dumps(own.get(name), sort_keys=True) for own in makings))
        for name in dict.fromkeys(name for own in makings for name in own)
    }
    return {name: values for name, values in found.items() if len(values) > 1 and name != PER_CLASS}


def _tell(own: Settings, differing: dict[str, list[str]]) -> list[str]:
    """What differs, as `name=value`; for a list or mapping as `name #number`."""
    said = []
    for name, values in differing.items():
        value = own.get(name)
        number = values.index(json.dumps(value, sort_keys=True)) + 1
        said.append(f"{name} #{number}" if isinstance(value, list | dict) else f"{name}={value}")
    return said


def _series(members: Sequence[Scored]) -> pd.Series:
    """Accuracies of all networks by memory (`intervals.MEMORY`). A file named twice counts once."""
    accuracies = {_identity(one.stored.memory): one.accuracies for one in members}
    index = pd.MultiIndex.from_tuples([memory for memory, values in accuracies.items() for _ in values], names=MEMORY)
    return pd.Series([value for values in accuracies.values() for value in values], index=index, dtype=float)


def _identity(memory: Memory) -> tuple[str, str]:
    """The classes of its groups, whatever their images are, and its seed; as text, for pandas drops what is None."""
    classes = [classes for classes, _ in groups_of(memory)]
    return json.dumps(classes), str(memory.metadata.get("seed", UNSEEDED))


def _difference(values: pd.Series, first: pd.Series) -> Interval | None:
    one, other = (side.groupby(level=MEMORY).mean() for side in (values, first))
    if _unseeded(other):
        return interval(one - other.iloc[0])
    if _unseeded(one):
        return interval(one.iloc[0] - other)
    one, other = one.align(other, join="inner")
    return interval(one - other) if len(one) else None


def is_unseeded(stored: Stored) -> bool:
    """Whether no seed pairs a memory with others."""
    return "seed" not in stored.memory.metadata


def _unseeded(means: pd.Series) -> bool:
    return len(means) == 1 and means.index[0][1] == UNSEEDED
