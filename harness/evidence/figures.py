"""What all figures have in common. Nothing here touches pyplot's global state."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from condensers.device.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart, without its yellow: too pale for a line.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "<", ">")
DASHES = ("-", "--", ":")
GREY = "#666666"
DPI = 200
ROUNDING = 1.06  # letters are set on whole pixels, so texts are a little wider than their outlines
NAME = 9  # points of the name of a line

Look = dict[str, str]


def look(place: int) -> Look:
    """Colour, marker and dashes of a line, which differ from place to place."""
    turn, colour = divmod(place, len(COLOURS))
    marker = (colour + 3 * turn) % len(MARKERS)
    return {"color": COLOURS[colour], "marker": MARKERS[marker], "linestyle": DASHES[turn % len(DASHES)]}


def blank(width: float, height: float, **options: Any) -> "Figure":
    """A new figure of so many inches, unknown to pyplot; `options` are matplotlib's."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), **{"dpi": DPI} | options)
    FigureCanvasAgg(figure)
    return figure


def plain(axes: "Axes", grid: str = "y") -> "Axes":
    """The axes, without a frame and with a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis=grid, color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def head(figure: "Figure", left: float, title: str, lines: Sequence[str]) -> None:
    """A title and lines of small print above the axes of a figure, from `left` on (a fraction of its width)."""
    inch = 1 / figure.get_figheight()
    figure.text(left, 1 - 0.25 * inch, title, fontsize=12, fontweight="bold")
    for number, line in enumerate(lines):
        figure.text(left, 1 - (0.45 + 0.16 * number) * inch, line, fontsize=8, color=GREY)


def name_ends(axes: "Axes", names: Sequence[str], ends: Sequence[float], looks: Sequence[Look]) -> None:
    """Write names at the ends of lines, which is easier to read than a legend, and move apart those that would overlap.

    A line that ends at nan, as that of a condenser that diverged, is named at the bottom.
    """
    bottom, top = axes.get_ylim()
    tall = axes.get_position().height * axes.figure.get_figheight()
    heights = spread(np.nan_to_num(np.array(ends), nan=bottom), gap=(top - bottom) * 0.175 / tall)
    beside = axes.get_yaxis_transform()
    for name, height, own in zip(names, heights, looks, strict=True):
        axes.plot((1.02, 1.05, 1.08), [height] * 3, transform=beside, clip_on=False, markevery=[1], **own)
        axes.text(1.1, height, name, transform=beside, color=own["color"], fontsize=NAME, verticalalignment="center")
    axes.set_ylim(bottom, top)


def inches(texts: Iterable[str], points: float = NAME) -> float:
    """How wide the longest of some texts is at most, in inches, if set in bold in so many points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    bold = FontProperties(weight="bold", size=points)
    letters = (text.replace("$", r"\$") for text in texts if text)  # or two of them would enclose a formula
    widths = (TextPath((0, 0), text, prop=bold).get_extents().width / 72 for text in letters)
    return ROUNDING * max(widths, default=0.0)


def spread(values: np.ndarray, gap: float) -> np.ndarray:
    """The values, moved as little (in least squares) as keeps them in order and at least a gap apart."""
    from scipy.optimize import isotonic_regression

    order = np.argsort(values, kind="stable")
    # After subtracting i gaps from the i-th value, "at least one gap apart" means "not falling".
    steps = gap * np.arange(len(values))
    apart = isotonic_regression(values[order] - steps).x + steps
    return apart[np.argsort(order)]


def save_figure(figure: "Figure", path: Path, **options: Any) -> None:
    """Write a PNG at once or not at all; `options` are matplotlib's. A `$` in a text begins no formula.

    Raises:
        ValueError: a path that cannot be written.
    """
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    png = io.BytesIO()
    figure.savefig(png, format="png", **options)
    atomic_write(Path(path), png.getvalue())
