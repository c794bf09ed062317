"""Every two lines of a comparison against each other, paired by memory: what `differences.csv` holds."""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from harness.core.protocols import marked
from harness.core.records import write_csv
from harness.core.schema import unescaped
from harness.evidence.intervals import above, by_memory

FILE = "differences.csv"
OTHER = "other "  # begins what a row says of the second line
MEASURED = ("difference", "low", "high", "memories")
DIGITS = 12  # behind the point: what equal accuracies differ by in arithmetic is no difference
SHOWN = 5  # names in a line
Pair = tuple[str, str, str, str]  # data set and protocol, and the names of two lines
Line = tuple[Mapping[str, object], pd.Series]  # what tells it from others, and its values as `by_memory` wants them


def differences(lines: Sequence[Line]) -> list[dict[str, object]]:
    """A row for every two lines, the one with the higher mean first; without those that share no memory.

    Args:
        lines: values are fractions, indexed by `class_order` and `memory_replicate`, of one or more networks each.

    Returns:
        What tells the first apart by its names, the second likewise behind `OTHER`, and `MEASURED`: the mean difference
        over the memories that both have, its 95 % t-interval, nan for one memory, and how many these are.
    """
    averaged = [(about, by_memory(values)) for about, values in lines]
    ranked = sorted(averaged, key=lambda line: -np.nan_to_num(line[1].mean()))
    rows = [_row(one, other) for one, other in combinations(ranked, 2)]
    return [row for row in rows if row["memories"]]


def write(path: Path, found: pd.DataFrame, rows: pd.DataFrame | None = None) -> str:
    """Write the comparison of a command; what the terminal says of it, or nothing.

    Where a command has not two lines, the file stays that of an earlier one as long as all its lines have rows; else
    it is removed.

    Args:
        path: of the file.
        found: a row for every two lines of the command.
        rows: all of the folder, with the columns of `ScoreRow`; None for none.
    """
    earlier = set() if rows is None else _standing(path, rows)
    if found.empty and earlier:
        return f"one line has nothing to be compared with: {path} stays that of {_said(earlier)}"
    if found.empty:
        path.unlink(missing_ok=True)
        return ""
    write_csv(path, found)
    lost = earlier and earlier - _pairs(found)
    also = f"; before, it had {_said(lost)}, which their own command writes again" if lost else ""
    return f"every two lines, paired by memory: {path}{also}"


def _standing(path: Path, rows: pd.DataFrame) -> set[Pair]:
    """The pairs of a file that is there, if there are rows of all of them."""
    try:
        earlier = _pairs(pd.read_csv(path, dtype=str, keep_default_na=False))
    except (OSError, ValueError, KeyError):  # there is none, or none that a command wrote
        return set()
    known = set(zip(rows["dataset"], rows["protocol"].map(marked), rows["condenser"], strict=True))
    named = {(dataset, marked(protocol), name) for dataset, protocol, *both in earlier for name in both}
    return earlier if named <= known else set()


def _pairs(found: pd.DataFrame) -> set[Pair]:
    """What each row is about, the two names in one order. Raises KeyError for another file."""
    about = found[["dataset", "protocol", "condenser", f"{OTHER}condenser"]].astype(str).map(unescaped)
    return {(dataset, protocol, *sorted(both)) for dataset, protocol, *both in about.itertuples(index=False, name=None)}


def _said(pairs: Collection[Pair]) -> str:
    """The names of pairs, in short, and their protocols."""
    names = sorted({name for _, _, *both in pairs for name in both})
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more} under {', '.join(sorted({protocol for _, protocol, *_ in pairs}))}"


def _row(one: Line, other: Line) -> dict[str, object]:
    found = above(one[1], other[1])
    ends = (round(end, DIGITS) for end in (found.mean, found.low, found.high))
    measured = dict(zip(MEASURED, (*ends, found.n), strict=True))
    return {**one[0], **{OTHER + name: value for name, value in other[0].items()}, **measured}
