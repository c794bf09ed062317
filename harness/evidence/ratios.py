"""Ratios of speeds: which rows belong together, and their mean with an interval."""

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from harness.evidence.intervals import CONFIDENCE

if TYPE_CHECKING:
    import pandas as pd

# Columns that identify a bar of the figure or a line of the table.
MEASURED = ["what", "dataset", "method", "classes", "ipc", "competitor", "precision"]


def mean_ratio(ratios: "pd.Series") -> tuple[float, float, float]:
    """Geometric mean with Student's 95 % interval of the logarithms; no interval (nan) below two ratios."""
    logs = np.log(ratios.dropna().to_numpy(dtype=float))
    middle = logs.mean() if len(logs) else math.nan
    if len(logs) < 2:
        return float(np.exp(middle)), math.nan, math.nan
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1) * logs.std(ddof=1) / math.sqrt(len(logs))
    return tuple(float(np.exp(end)) for end in (middle, middle - half, middle + half))
