"""How many times as fast as its baseline each competitor of `harness.speed` is, and the figure of it."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from harness.evidence.figures import COLOURS, GREY, blank, plain, save_figure
from harness.evidence.ratios import mean_ratio
from harness.speed.rows import ALONE, BASELINES, COMPARED, EVALUATION, PLAIN

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

LINE = ["dataset", "method", "classes", "ipc", "precision"]  # what the bars of one line have in common
BAR, SPACE, AROUND = 0.2, 0.12, 0.7  # inches: a bar, between lines, around a panel
BASELINE = {PLAIN: "the plain loop's speed", ALONE: "the speed of dm alone (1 / ratio is what they cost together)"}


def figure(frame: "pd.DataFrame", path: Path) -> None:
    """Bars of the ratios at equal precision with their intervals: a panel for each baseline, a colour per competitor.

    Args:
        frame: rows of `speed.csv`.
        path: the PNG to write.

    Raises:
        ValueError: a path that cannot be written.
    """
    rows = frame[frame["ratio"].notna()]
    panels = list(rows.groupby(rows["what"].map(BASELINES), sort=False))
    heights = [_height(own) for _, own in panels]
    canvas = blank(7.2, sum(heights) + 0.35, layout="constrained")
    grid = canvas.subplots(len(panels), squeeze=False, height_ratios=heights)[:, 0]
    for axes, (baseline, own) in zip(grid, panels, strict=True):
        _panel(axes, own)
        axes.set_xlabel(f"times {BASELINE[baseline]}", fontsize=9)
    where = f"{frame['machine'].iloc[0]}, {frame['device'].iloc[0]}"
    canvas.suptitle(f"{where}; lines: 95 % interval over turns", fontsize=8, color=GREY, x=0.01, ha="left")
    save_figure(canvas, path)


def _lines(rows: "pd.DataFrame") -> list[tuple[tuple, "pd.DataFrame"]]:
    return list(rows.groupby(LINE, sort=False, dropna=False))


def _height(rows: "pd.DataFrame") -> float:
    return AROUND + sum(BAR * own["competitor"].nunique() + SPACE for _, own in _lines(rows))


def _panel(axes: "Axes", rows: "pd.DataFrame") -> None:
    at, ticks, shown = 0.0, [], set()
    for names, line in _lines(rows):
        first = at
        for competitor, own in sorted(line.groupby("competitor"), key=lambda pair: COMPARED.index(pair[0])):
            _bar(axes, at, competitor, mean_ratio(own["ratio"]), competitor not in shown)
            shown.add(competitor)
            at += BAR
        ticks.append((names, (first + at - BAR) / 2))
        at += SPACE
    axes.set_yticks([middle for _, middle in ticks], [_name(names) for names, _ in ticks], fontsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(at, 3 * BAR), -BAR)
    axes.axvline(1, color=GREY, linewidth=0.8)
    plain(axes, "x").tick_params(axis="x", labelsize=8)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)


def _bar(axes: "Axes", at: float, competitor: str, ratio: tuple[float, float, float], first: bool) -> None:
    middle, low, high = ratio
    colour, label = COLOURS[COMPARED.index(competitor)], competitor if first else None
    axes.barh(at, middle, color=colour, height=0.85 * BAR, label=label)
    reach = middle if math.isnan(low) else high
    if not math.isnan(low):
        axes.hlines(at, low, high, color="black", linewidth=1)
    axes.annotate(f"{middle:.2f}", (reach, at), (3, 0), textcoords="offset points", fontsize=7, va="center")


def _name(names: tuple) -> str:
    """What a line is about; precision is left out where it is the usual one."""
    named = dict(zip(LINE, names, strict=True))
    what = "training" if named["method"] == EVALUATION else named["method"]
    precision = "" if named["precision"] == "fp32" else f", {named['precision']}"
    return f"{named['dataset']}, {what}, {named['ipc']} per class{precision}"
