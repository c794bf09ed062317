"""The figure of a table: accuracy against what a memory took to make."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.evidence.figures import COLOURS, GREY, MARKERS, blank, inches, plain, save_figure, spread

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

PANEL, MARK, SMALL = (5.2, 3.6), 0.5, 8  # inches of a panel and of the mark of a name; points of small print
NAMES_BELOW_EACH_OTHER = 14
MOST = 12  # panels
APART = 0.04  # powers of ten: marks of nearly the same operations are moved so far apart
OPERATIONS = "operations of networks to condense a memory, their training included (FLOP)"
FEW = 2.0  # powers of ten: a shorter axis has numbers between them, too
NARROWEST = 1.0  # powers of ten on an axis of operations at least: a shorter axis has no number, and APART looks large
WRITTEN = 0.08  # of the axis: room for the iterations beside the last mark
KEY = (
    "Terms of objectives (Gram matrices, kernels, ridge readouts) are not counted. Equal ones stand side by side.\n"
    "Dashed: picks real images without a network. Dotted: published, by the same evaluation, at a cost of its own.\n"
    "Open marks: open league. Bars and shades: 95 % interval over memories; one memory has none."
)


def cost_figure(table: "pd.DataFrame", path: Path) -> None:
    """A panel for each data set, size and networks: accuracy with its interval against floating-point operations.

    Several lengths of a condenser are joined by a line, their iterations beside them. Condensers that only pick real
    images are drawn as lines, and so are published accuracies. Only the first twelve panels are drawn; the picture
    says so.

    Args:
        table: as `harness.table` writes it, with columns dataset, `images per class`, `condensed on`, trained,
            condenser, iterations, league, accuracy, low, high, `published accuracy` (fractions, nan where there is
            none), flop, memories, networks and protocol.
        path: the PNG to write.

    Raises:
        ValueError: a path that cannot be written.
    """
    panels = list(table.groupby(["dataset", "images per class", "condensed on", "trained"], sort=False))
    shown, names = panels[:MOST], list(table["condenser"].unique())
    columns = -(-len(names) // NAMES_BELOW_EACH_OTHER)
    width = PANEL[0] + columns * (MARK + inches(names, SMALL))
    figure = blank(width, PANEL[1] * len(shown) + 0.75, layout="constrained")
    for axes, (what, own) in zip(figure.subplots(len(shown), squeeze=False)[:, 0], shown, strict=True):
        _panel(axes, own, names)
        # Panels have a fixed height, so many names stand in several columns.
        axes.legend(
            loc="upper left", bbox_to_anchor=(1.01, 1), ncols=columns, frameon=False, fontsize=SMALL, borderaxespad=0
        )
        axes.set_title(f"{_title(*what)}\n{_behind(own)}", fontsize=9, loc="left")
    left_out = f" First {MOST} of {len(panels)} panels." if len(panels) > MOST else ""
    figure.supxlabel(f"{OPERATIONS}\n{KEY}{_lengths(table)}{left_out}", fontsize=8)
    save_figure(figure, path)


def _lengths(table: "pd.DataFrame") -> str:
    """What the numbers beside the marks are, where there are any."""
    several = table.duplicated(["dataset", "images per class", "condensed on", "trained", "condenser"]).any()
    return "\nBeside marks: iterations." if several else ""


def _title(dataset: str, ipc: int, made_on: str, trained: str) -> str:
    networks = trained if made_on == trained else f"{trained}, condensed on {made_on}"
    return f"{dataset}, {ipc} per class\n{networks}"


def _behind(rows: "pd.DataFrame") -> str:
    """How many memories and networks are behind each number of a panel, and their protocol."""
    memories, networks, protocol = rows[["memories", "networks", "protocol"]].iloc[0]
    memory, network = "memory" if memories == 1 else "memories", "network" if networks == 1 else "networks"
    return f"{memories} {memory} of {networks} {network}, protocol {protocol}"


def _panel(axes: "Axes", rows: "pd.DataFrame", names: list[str]) -> None:
    rows = rows.assign(flop=_side_by_side(rows["flop"].to_numpy(float))).sort_values("flop", kind="stable")
    for name in [name for name in names if name in set(rows["condenser"])]:
        _condenser(axes, rows[rows["condenser"] == name], name, names.index(name))
    if (rows["flop"] > 0).any():
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:.0e}")
        axes.xaxis.set_minor_formatter("")
        least, most = _wide_enough(*axes.get_xlim())
        # So that the text beside the last mark of a line ends inside the panel.
        axes.set_xlim(least, most * (most / least) ** (WRITTEN if rows["condenser"].duplicated().any() else 0))
        if np.log10(most / least) < FEW:
            axes.xaxis.get_major_locator().set_params(subs=(1, 2, 5))
    plain(axes).tick_params(colors=GREY, labelsize=SMALL)
    least, most = axes.get_ylim()
    least = max(least, 0)
    axes.set_ylim(least, min(most, 102))  # intervals of two memories reach far beyond 0 and 100 %
    axes.set_ylabel("accuracy (%)" + (f", from {least:.0f} on" if least > 0 else ""), fontsize=SMALL)


def _condenser(axes: "Axes", own: "pd.DataFrame", name: str, place: int) -> None:
    """Draw the accuracies of one condenser against operations, and its published accuracy."""
    colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place // len(COLOURS) % len(MARKERS)]
    percent, low, high, known = (100 * own[end] for end in ("accuracy", "low", "high", "published accuracy"))
    if known.notna().any():
        axes.axhline(known.max(), color=colour, linestyle=":", linewidth=1)
    if not own["flop"].any():
        axes.axhline(percent.iloc[0], color=colour, linestyle="--", linewidth=1, label=name)
        if low.notna().all():
            axes.axhspan(low.iloc[0], high.iloc[0], color=colour, alpha=0.1, linewidth=0)
        return
    # One memory has no interval.
    reach = [(percent - low).fillna(0), (high - percent).fillna(0)]
    fill = colour if own["league"].iloc[0] == "strict" else "white"
    axes.errorbar(
        own["flop"], percent, yerr=reach, color=colour, marker=marker, markersize=5, markerfacecolor=fill,
        elinewidth=1, linewidth=1, label=name,
    )  # fmt: skip
    if len(own) > 1:
        for at, accuracy, iterations in zip(own["flop"], percent, own["iterations"], strict=True):
            beside = {"xytext": (4, -10), "textcoords": "offset points", "fontsize": SMALL, "color": colour}
            axes.annotate(f"{iterations:,.0f}", (at, accuracy), **beside)


def _wide_enough(least: float, most: float) -> tuple[float, float]:
    """The ends of an axis of operations, moved apart where they are nearly the same."""
    lacking = 10 ** max(0.0, (NARROWEST - np.log10(most / least)) / 2)
    return least / lacking, most * lacking


def _side_by_side(flop: np.ndarray) -> np.ndarray:
    """Operations moved a little where marks would hide each other: lockstep gives many methods the same number."""
    moved, some = flop.copy(), flop > 0
    moved[some] = 10 ** spread(np.log10(flop[some]), APART)
    return moved
