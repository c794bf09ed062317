"""The figure of a table: accuracy against what a memory took to make."""

from pathlib import Path
from typing import TYPE_CHECKING

from harness.evidence.figures import COLOURS, DPI, GREY, MARKERS, save_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PANEL, NAME = (4.6, 3.6), 1.4  # inches, without the names, and the width of a column of names
NAMES_BELOW_EACH_OTHER = 14
MOST = 12  # panels
OPERATIONS = "operations to condense a memory, networks' training included (FLOP)"
TAKES_NONE = "dashed: picks real images without a network. Open marks: open league."


def cost_figure(table: "pd.DataFrame", path: Path) -> None:
    """A panel for each data set, size and networks: accuracy with its interval against floating-point operations.

    Condensers that only pick real images are drawn as lines. Only the first twelve panels are drawn; the picture says
    so.

    Args:
        table: as `harness.table` writes it, with columns dataset, `images per class`, `condensed on`, trained,
            condenser, league, accuracy, low, high (fractions) and flop.
        path: the PNG to write.

    Raises:
        ValueError: a path that cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = list(table.groupby(["dataset", "images per class", "condensed on", "trained"], sort=False))
    shown = panels[:MOST]
    columns = -(-table["condenser"].nunique() // NAMES_BELOW_EACH_OTHER)
    width = PANEL[0] + NAME * columns
    figure = Figure(figsize=(width, PANEL[1] * len(shown)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    looks = {name: place for place, name in enumerate(table["condenser"].unique())}
    for axes, (what, own) in zip(figure.subplots(len(shown), squeeze=False)[:, 0], shown, strict=True):
        _panel(axes, own, looks)
        # In rows of fixed height, or the names of many condensers would leave no room for the axes.
        axes.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1), ncols=columns, frameon=False, fontsize=8, borderaxespad=0
        )
        axes.set_title(_title(*what), fontsize=9, loc="left")
    left_out = f" First {MOST} of {len(panels)} panels." if len(panels) > MOST else ""
    figure.supxlabel(f"{OPERATIONS}\n{TAKES_NONE}{left_out}", fontsize=8)
    save_figure(figure, path)


def _title(dataset: str, ipc: int, made_on: str, trained: str) -> str:
    networks = trained if made_on == trained else f"{trained}, condensed on {made_on}"
    return f"{dataset}, {ipc} per class\n{networks}"


def _panel(axes: "Axes", rows: "pd.DataFrame", looks: dict[str, int]) -> None:
    for row in rows.to_dict("records"):
        place = looks[row["condenser"]]
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place // len(COLOURS) % len(MARKERS)]
        percent, low, high = (100 * row[name] for name in ("accuracy", "low", "high"))
        if not row["flop"]:
            axes.axhline(percent, color=colour, linestyle="--", linewidth=1, label=row["condenser"])
            continue
        reach = [[percent - low], [high - percent]] if high > low else None
        fill = colour if row["league"] == "strict" else "white"
        axes.errorbar(
            row["flop"], percent, yerr=reach, color=colour, marker=marker, markerfacecolor=fill, capsize=3,
            linestyle="none", label=row["condenser"],
        )  # fmt: skip
    if (rows["flop"] > 0).any():
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:.0e}")
        axes.xaxis.set_minor_formatter("")
    axes.set_ylabel("accuracy (%)", fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    axes.tick_params(colors=GREY, labelsize=8)
