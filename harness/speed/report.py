"""What `harness.speed` shows for its rows: a table on the terminal, and a figure."""

import math
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.progress import say
from harness.core.records import Records
from harness.evidence.ratios import MEASURED, mean_ratio
from harness.speed.ratios import figure

if TYPE_CHECKING:
    import pandas as pd

NOTHING = "-"


def report(records: Records, cells: Set[str], out: Path) -> None:
    """Print a table of each kind and write the figure, of the given cells; the file may hold others."""
    frame = records.read()
    frame = frame[frame["cell"].isin(cells)]
    for _, rows in frame.groupby("what", sort=False):
        say(table(rows).to_string(index=False) + "\n")
    if frame["ratio"].notna().any():
        say("ratio: to the plain loop at equal precision (lockstep: to dm alone; 1 / ratio is what it costs)")
        say("default: to the plain loop as torch comes; in brackets 95 % over turns")
        figure(frame, out / "speed.png")
        say(f"figure: {out / 'speed.png'}")
    say(f"rows: {records.path}")


def table(frame: "pd.DataFrame") -> "pd.DataFrame":
    """One line for each competitor of each cell, averaged over its turns; columns that say nothing are left out."""
    import pandas as pd

    lines = [
        dict(zip(MEASURED, names, strict=True)) | _line(rows) for names, rows in frame.groupby(MEASURED, sort=False)
    ]
    whole = pd.DataFrame(lines)
    return whole.loc[:, (whole != NOTHING).any()]


def _line(rows: "pd.DataFrame") -> dict[str, str]:
    speed = rows["units"].sum() / rows["seconds"].sum()
    return {
        "speed": f"{speed:.3g} {rows['unit'].iloc[0]}s/s",
        "ratio": _shown(rows["ratio"]),
        "default": _shown(rows["ratio_default"]),
        "GFLOP/s": _mean(rows["flop_per_second"] / 1e9, 1),
        "of convolutions": _mean(rows["share_of_convolutions"], 2),
        "real / convolutions": _mean(rows["real_branch_over_convolutions"], 2),
        "peak GB": _mean(rows["peak_bytes"] / 1e9, 2),
    }


def _mean(values: "pd.Series", digits: int) -> str:
    return f"{values.mean():.{digits}f}" if values.notna().any() else NOTHING


def _shown(ratios: "pd.Series") -> str:
    middle, low, high = mean_ratio(ratios)
    if math.isnan(middle):
        return NOTHING
    return f"{middle:.2f}" if math.isnan(low) else f"{middle:.2f} [{low:.2f}, {high:.2f}]"
