"""Every two lines of a comparison against each other, paired by memory: what `differences.csv` holds."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from harness.evidence.intervals import above, interval

FILE = "differences.csv"
OTHER = "other "  # begins what a row says of the second line
MEASURED = ("difference", "low", "high", "memories")
Line = tuple[Mapping[str, object], pd.Series]  # what tells it from others, and its values as `above` wants them


def differences(lines: Sequence[Line]) -> list[dict[str, object]]:
    """A row for every two lines, the one with the higher mean first; without those that share no memory.

    Args:
        lines: values are fractions, indexed by `class_order` and `memory_replicate`, of one or more networks each.

    Returns:
        What tells the first apart by its names, the second likewise behind `OTHER`, and `MEASURED`: the mean difference
        over the memories that both have, its 95 % t-interval, nan for one memory, and how many these are.
    """
    ranked = sorted(lines, key=lambda line: -np.nan_to_num(interval(line[1]).mean))
    rows = [_row(one, other) for one, other in combinations(ranked, 2)]
    return [row for row in rows if row["memories"]]


def _row(one: Line, other: Line) -> dict[str, object]:
    found = above(one[1], other[1])
    measured = dict(zip(MEASURED, (found.mean, found.low, found.high, found.n), strict=True))
    return {**one[0], **{OTHER + name: value for name, value in other[0].items()}, **measured}
