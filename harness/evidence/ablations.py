"""The figure of an ablation: how far the variants of each grid are from its base."""

from pathlib import Path
from typing import TYPE_CHECKING

from harness.evidence.figures import COLOURS, DPI, GREY, save_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

WIDTH, ROW, EDGES = 6.4, 0.27, 0.75  # inches: of the figure, of a variant's row, and around a grid's rows
ABOVE, BELOW, NOT_TOLD_APART = COLOURS[2], COLOURS[1], COLOURS[0]


def ablation_figure(table: "pd.DataFrame", path: Path) -> None:
    """A panel for each grid: the difference of each variant to the base with its interval, its accuracy beside it.

    Args:
        table: as `harness.ablate` writes it, with columns grid, paper, variant, base, accuracy, difference,
            difference_low, difference_high (fractions), dataset, `images per class`, memories, networks, `scored on`.
        path: the PNG to write.

    Raises:
        ValueError: a path that cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    grids = [own for _, own in table.groupby("grid", sort=False)]
    heights = [ROW * len(own) + EDGES for own in grids]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.5), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(grids), squeeze=False, height_ratios=heights)[:, 0]
    for axes, own in zip(panels, grids, strict=True):
        _panel(axes, own)
    figure.suptitle(_said(table.iloc[0]), fontsize=8, color=GREY, x=0.01, horizontalalignment="left")
    save_figure(figure, path)


def _said(row: "pd.Series") -> str:
    split = "test images" if row["scored on"] == "test" else "held-out training images"
    size = f"{row['dataset']}, {row['images per class']} per class, on {split}"
    return f"{size}; 95 % intervals, paired by memory (n = {row['memories']}, {row['networks']} networks each)"


def _panel(axes: "Axes", rows: "pd.DataFrame") -> None:
    for place, row in enumerate(rows.to_dict("records")):
        middle, low, high = (100 * row[name] for name in ("difference", "difference_low", "difference_high"))
        look = {"color": GREY, "marker": "|"} if row["variant"] == row["base"] else _look(low, high)
        reach = [[middle - low], [high - middle]] if high > low else None
        axes.errorbar(middle, place, xerr=reach, capsize=3, linestyle="none", **look)
        accuracy = f"{100 * row['accuracy']:.1f} %"
        axes.text(1.01, place, accuracy, transform=axes.get_yaxis_transform(), fontsize=8, color=GREY, va="center")
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(rows)), rows["variant"], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    first = rows.iloc[0]
    paper = f" ({first['paper']})" if first["paper"] else ""
    axes.set_title(f"{first['grid']}{paper}", fontsize=9, loc="left")
    axes.set_title("accuracy", fontsize=8, loc="right", color=GREY)
    axes.set_xlabel(f'points above "{first["base"]}"', fontsize=8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=GREY, labelsize=8)


def _look(low: float, high: float) -> dict[str, str]:
    """Colour and marker of a difference, by its interval: above zero, below zero, or around it."""
    if low > 0:
        return {"color": ABOVE, "marker": "^"}
    return {"color": BELOW, "marker": "v"} if high < 0 else {"color": NOT_TOLD_APART, "marker": "o"}
