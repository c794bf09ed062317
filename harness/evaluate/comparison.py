"""Memories that were scored together: which of them are replicates, and how the others compare with the first.

Memories are replicates of one *making* if everything that made them is the same except the seed. Other makings are
compared with that of the first memory, paired by seed: memories of one seed share their draws. A set that others
published has no seed: it counts as one memory, and every memory of another making is compared with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from condensers.core.leagues import LEAGUES
from harness.core.makings import UNSEEDED, league, names_of, pairing_of
from harness.core.stored import Stored
from harness.evidence.intervals import MEMORY, Interval, above, by_memory, interval

ABOVE, LEAGUE = "above the first", "league"


@dataclass(frozen=True)
class Scored:
    """A memory and the accuracies of the networks trained on it, as fractions."""

    stored: Stored
    accuracies: Sequence[float]


def table(scored: Sequence[Scored]) -> pd.DataFrame:
    """A row for each making: `memories` (their name), `accuracy`, and `above the first` if there are several makings.

    There is a column `league` if the leagues differ.

    Accuracies and differences are an `Interval` over memories; networks are averaged within each memory. A difference
    without a common seed is None; a memory without a seed is compared with all memories of the other making.
    """
    by_name: dict[str, list[Scored]] = {}
    for name, one in zip(names_of([one.stored for one in scored]), scored, strict=True):
        by_name.setdefault(name, []).append(one)
    series = {name: _series(members) for name, members in by_name.items()}
    first = next(iter(series.values()))
    rows = [
        {
            "memories": name,
            LEAGUE: league(by_name[name][0].stored),
            "accuracy": interval(values),
            ABOVE: _difference(values, first),
        }
        for name, values in series.items()
    ]
    rows[0][ABOVE] = None
    frame = pd.DataFrame(rows)
    return frame.drop(columns=[LEAGUE] * (frame[LEAGUE].nunique() == 1) + [ABOVE] * (len(rows) == 1))


def format_table(frame: pd.DataFrame, networks: int, unseeded: bool = False) -> str:
    """The table for the terminal, with a line that says what its intervals are.

    `unseeded` says that there are memories without a seed among them.
    """
    shown = frame.map(lambda value: "-" if value is None else str(value))
    averaged = f"averaged over {networks} networks within each memory" if networks > 1 else "one network on each memory"
    note = f"percent, 95 % intervals over memories; {averaged}"
    paired = "; differences are paired by seed" if ABOVE in frame else ""
    if paired and unseeded:
        paired += ", what has no seed is compared as it is"
    leagues = [f"\n{name} league: {words}" for name, words in LEAGUES.items() if LEAGUE in frame]
    return f"{shown.to_string(index=False)}\n{note}{paired}{''.join(leagues)}"


def _series(members: Sequence[Scored]) -> pd.Series:
    """Accuracies of all networks by memory (`intervals.MEMORY`). A file named twice counts once."""
    accuracies = {pairing_of(one.stored.memory): one.accuracies for one in members}
    index = pd.MultiIndex.from_tuples([memory for memory, values in accuracies.items() for _ in values], names=MEMORY)
    return pd.Series([value for values in accuracies.values() for value in values], index=index, dtype=float)


def _difference(values: pd.Series, first: pd.Series) -> Interval | None:
    one, other = by_memory(values), by_memory(first)
    if _unseeded(other):
        return interval(one - other.iloc[0])
    if _unseeded(one):
        return interval(one.iloc[0] - other)
    found = above(one, other)
    return found if found.n else None


def is_unseeded(stored: Stored) -> bool:
    """Whether a memory has no seed to pair it with others by."""
    return "seed" not in stored.memory.metadata


def _unseeded(means: pd.Series) -> bool:
    return len(means) == 1 and means.index[0][1] == UNSEEDED
