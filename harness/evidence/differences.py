"""Every two lines of a comparison against each other, paired by memory: what `differences.csv` holds."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from harness.core.records import write_csv
from harness.evidence.intervals import above, by_memory

FILE = "differences.csv"
OTHER = "other "  # prefix of the columns about the second line
MEASURED = ("difference", "low", "high", "memories")
DIGITS = 12  # decimals that are kept: rounding errors between equal accuracies are no difference
Line = tuple[Mapping[str, object], pd.Series]  # columns that identify a line, and its values as `by_memory` takes them


def differences(lines: Sequence[Line]) -> list[dict[str, object]]:
    """A row for every two lines, the one with the higher mean first; two that share no memory have none.

    Args:
        lines: values are fractions, indexed by `class_order` and `memory_replicate`, of one or more networks each.

    Returns:
        The columns that identify the first line, those of the second with the prefix `OTHER`, and `MEASURED`: the mean
        difference over the memories that both have, its 95 % t-interval (nan for one memory), and their number.
    """
    averaged = [(about, by_memory(values)) for about, values in lines]
    ranked = sorted(averaged, key=lambda line: -np.nan_to_num(line[1].mean()))
    rows = [_row(one, other) for one, other in combinations(ranked, 2)]
    return [row for row in rows if row["memories"]]


def write(path: Path, found: pd.DataFrame) -> str:
    """Write the file, or remove an older one if there are no differences. Returns a line for the terminal, or ""."""
    if found.empty:
        earlier = path.exists()
        path.unlink(missing_ok=True)
        return f"{path} of an earlier comparison is gone: its own command writes it again" if earlier else ""
    write_csv(path, found)
    return f"every two lines, paired by memory: {path}"


def _row(one: Line, other: Line) -> dict[str, object]:
    found = above(one[1], other[1])
    ends = (round(end, DIGITS) for end in (found.mean, found.low, found.high))
    measured = dict(zip(MEASURED, (*ends, found.n), strict=True))
    return {**one[0], **{OTHER + name: value for name, value in other[0].items()}, **measured}
