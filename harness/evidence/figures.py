"""Figures, rebuilt from records and memories at any time. Nothing here touches pyplot's global state."""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from condensers.device.files import atomic_write

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart, without its yellow: too pale for a line.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "<", ">")
DASHES = ("-", "--", ":")
GREY = "#666666"
DPI = 200
MAX_ROWS = 40
TILE = 48
GAP = 2


@dataclass(frozen=True)
class _Curve:
    name: str
    seen: np.ndarray
    percent: np.ndarray
    low: np.ndarray
    high: np.ndarray
    methods: frozenset[str]
    look: dict[str, str]


def continual_curve(frame: "pd.DataFrame", path: Path) -> None:
    """Accuracy against classes seen: one line per condenser, a band for its 95 % interval over memories.

    A point of fewer than two memories has no band.

    Args:
        frame: records of one experiment.
        path: the PNG to write.

    Raises:
        ValueError: no accuracies, more than one experiment, or a path that cannot be written.
    """
    from harness.evidence.intervals import one_experiment

    one_experiment(frame)
    rows = frame[frame["metric"] == "accuracy"]
    if rows.empty:
        raise ValueError(f"no accuracies to draw in {path}: finish at least one cell first")
    names = sorted(rows["condenser"].unique())
    curves = [_curve(name, rows[rows["condenser"] == name], _look(place)) for place, name in enumerate(names)]
    figure, axes = blank_axes()
    for curve in curves:
        _draw(axes, curve)
    _describe(figure, axes, rows, curves)
    _name_ends(axes, curves)
    # The tight box makes room for long names.
    save_figure(figure, path, bbox_inches="tight", pad_inches=0.12)


def _look(place: int) -> dict[str, str]:
    turn, colour = divmod(place, len(COLOURS))
    marker = (colour + 3 * turn) % len(MARKERS)
    return {"color": COLOURS[colour], "marker": MARKERS[marker], "linestyle": DASHES[turn % len(DASHES)]}


def _curve(name: str, rows: "pd.DataFrame", look: dict[str, str]) -> _Curve:
    from harness.evidence.intervals import interval

    points = {seen: interval(group) for seen, group in rows.groupby("classes_seen")}
    mean, low, high = (100 * np.array([getattr(at, end) for at in points.values()]) for end in ("mean", "low", "high"))
    methods = frozenset(at.method for at in points.values()) - {"none"}
    return _Curve(name, np.array(list(points)), mean, low, high, methods, look)


def blank_axes() -> tuple["Figure", "Axes"]:
    """A figure of its own, and axes with a light grid."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.1, 0.12, 0.72, 0.72))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e5e5e5", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _draw(axes: "Axes", curve: _Curve) -> None:
    axes.plot(curve.seen, curve.percent, linewidth=1.8, markersize=5, **curve.look)
    axes.fill_between(curve.seen, curve.low, curve.high, color=curve.look["color"], alpha=0.15, linewidth=0)


def _name_ends(axes: "Axes", curves: list[_Curve]) -> None:
    axes.margins(x=0.03, y=0.08)
    bottom, top = axes.get_ylim()
    # Names stand at the line ends, which is easier to read than a legend; they only have to be kept apart.
    # A condenser that diverged (nan) is named at the bottom.
    ends = np.nan_to_num([curve.percent[-1] for curve in curves], nan=bottom)
    heights = _spread(ends, gap=(top - bottom) * 0.055)
    beside = axes.get_yaxis_transform()
    for curve, height in zip(curves, heights, strict=True):
        axes.plot((1.02, 1.045, 1.07), [height] * 3, transform=beside, clip_on=False, markevery=[1], **curve.look)
        axes.text(1.085, height, curve.name, transform=beside, color=curve.look["color"], verticalalignment="center")
    axes.set_ylim(bottom, top)


def _spread(heights: np.ndarray, gap: float) -> np.ndarray:
    order = np.argsort(heights, kind="stable")
    wanted = heights[order]
    # After subtracting i gaps from the i-th name, "at least one gap apart" means "not falling": a running maximum.
    steps = gap * np.arange(len(wanted))
    spread = np.maximum.accumulate(wanted - steps) + steps
    spread -= (spread - wanted).mean()
    return spread[np.argsort(order)]


def _describe(figure: "Figure", axes: "Axes", rows: "pd.DataFrame", curves: list[_Curve]) -> None:
    first = rows.iloc[0]
    axes.set_xlabel("classes seen")
    axes.set_ylabel("accuracy on the classes seen (%)")
    axes.set_xticks(sorted(rows["classes_seen"].unique()))
    held = rows["ipc_stored"][rows["ipc_stored"] > 0]  # some strategies have no memory
    most, least = (held.max(), held.min()) if len(held) else (0, 0)
    share = most if most == least else f"{most} down to {least}"
    title = f"{first['dataset']} in {first['steps']} steps, {share} stored images per class"
    figure.text(0.1, 0.945, title, fontsize=12, fontweight="bold")
    figure.text(0.1, 0.9, f"{_replicates(rows)}; {_band(curves)}", fontsize=8, color=GREY)
    figure.text(0.1, 0.865, f"protocol {first['protocol']}", fontsize=8, color=GREY)


def _replicates(rows: "pd.DataFrame") -> str:
    from harness.evidence.intervals import MEMORY

    point = ["condenser", "step"]
    orders = rows.groupby(point)["class_order"].nunique()
    memories = rows.drop_duplicates([*point, *MEMORY]).groupby(point).size()
    networks = rows.groupby([*point, *MEMORY]).size()
    said = [_count(orders, "class order")]
    said += [] if (memories == orders).all() else [_count(memories, "memory")]
    return ", ".join([*said, f"{_count(networks, 'network')} per memory"])


def _count(counts: "pd.Series", noun: str) -> str:
    low, high = counts.min(), counts.max()
    many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{low if low == high else f'{low}-{high}'} {noun if high == 1 else many}"


def _band(curves: list[_Curve]) -> str:
    methods = sorted(frozenset().union(*(curve.methods for curve in curves)))
    return f"band: 95 % interval over memories ({', '.join(methods)})" if methods else "one memory: no interval"


def save_figure(figure: "Figure", path: Path, **options: Any) -> None:
    """Write a PNG at once or not at all; `options` are matplotlib's. A `$` in a name begins no formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    png = io.BytesIO()
    figure.savefig(png, format="png", **options)
    atomic_write(Path(path), png.getvalue())


def memory_grid(images: Any, labels: Any, path: Path, columns: int = 10) -> None:
    """The first images of every class: one row per class, small images enlarged by a whole factor.

    At most the first 40 classes are drawn; the picture says so.

    Args:
        images: torch tensor or numpy array `[n, channels, height, width]`, floats in [0, 1], 1 or 3 channels.
        labels: class of each image, `[n]`.
        path: the PNG to write.
        columns: images per class at most.

    Raises:
        ValueError: other shapes or values, or a path that cannot be written.
    """
    images, labels = _numpy(images), _numpy(labels)
    _check_images(images, labels, columns)
    classes = np.unique(labels)
    chosen = [images[labels == label][:columns] for label in classes[:MAX_ROWS]]
    note = f"first {MAX_ROWS} of {len(classes)} classes" if len(classes) > MAX_ROWS else ""
    _save_grid(_tiled(chosen), [str(label) for label in classes[:MAX_ROWS]], note, path)


def _numpy(values: Any) -> np.ndarray:
    values = values.detach().cpu() if hasattr(values, "detach") else values
    # numpy has no bfloat16.
    return np.asarray(values.float() if getattr(values, "is_floating_point", bool)() else values)


def _check_images(images: np.ndarray, labels: np.ndarray, columns: int) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or labels.shape != images.shape[:1] or not len(images):
        raise ValueError(
            f"a grid needs images [n, 1 or 3, height, width] and labels [n], not {images.shape} and {labels.shape}"
        )
    # Written with `not`, so that nan is refused, too.
    if not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(f"pixels must lie in [0, 1], not [{images.min():.3g}, {images.max():.3g}]: denormalise first")
    if columns < 1:
        raise ValueError(f"a grid needs at least one column, not {columns}")


def _tiled(rows: list[np.ndarray]) -> np.ndarray:
    _, channels, height, width = rows[0].shape
    factor = math.ceil(TILE / min(height, width))
    tall, wide = height * factor + GAP, width * factor + GAP
    canvas = np.ones((channels, len(rows) * tall - GAP, max(map(len, rows)) * wide - GAP), np.float32)
    for top, row in enumerate(rows):
        for left, image in enumerate(row):
            large = image.repeat(factor, axis=1).repeat(factor, axis=2)
            canvas[:, top * tall : (top + 1) * tall - GAP, left * wide : (left + 1) * wide - GAP] = large
    return np.broadcast_to(canvas, (3, *canvas.shape[1:])).transpose(1, 2, 0)


def _save_grid(pixels: np.ndarray, names: list[str], note: str, path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = pixels.shape[:2]
    left, foot = 8 + 8 * max(map(len, names)), 16 if note else 0
    # One figure pixel per canvas pixel: any resampling would blur images that are small already.
    figure = Figure(figsize=((left + width) / 100, (height + foot) / 100), dpi=100)
    FigureCanvasAgg(figure)
    figure.figimage(pixels, xo=left, yo=foot)
    for row, name in enumerate(names):
        middle = foot + height - (row + 0.5) * (height + GAP) / len(names)
        figure.text(
            (left - 5) / (left + width), middle / (height + foot), name, fontsize=8, color=GREY, ha="right", va="center"
        )
    figure.text(left / (left + width), 4 / (height + foot), note, fontsize=7, color=GREY)
    save_figure(figure, path)
