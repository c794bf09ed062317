"""The figure of a stream: accuracy step by step, and how far it is above that of real images."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from condensers.core.leagues import NOT_SAID
from harness.evidence.figures import GREY, Look, blank, head, inches, look, name_ends, plain, save_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.evidence.intervals import Interval

LEFT, BOTTOM, WIDTH, HEIGHT, TALL = 0.75, 0.53, 3.0, 3.1, 4.5  # inches: of axes, and of the figure
NAMES, BETWEEN = 0.35, 0.75  # inches: from axes to names, and from these to the next axes
DODGE = 0.45  # part of the distance between two steps: intervals of one step stand side by side within it


@dataclass(frozen=True)
class _Curve:
    """A line of points in percent, each with the ends of its interval, or nan."""

    name: str
    seen: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    methods: frozenset[str]
    look: Look

    @classmethod
    def of(cls, name: str, points: "dict[int, Interval]", look: Look) -> "_Curve":
        mean, low, high = (
            100 * np.array([getattr(at, end) for at in points.values()]) for end in ("mean", "low", "high")
        )
        methods = frozenset(at.method for at in points.values()) - {"none"}
        return cls(name, np.array(list(points), float), mean, low, high, methods, look)


def continual_curve(frame: "pd.DataFrame", path: Path, how: str = "") -> None:
    """Accuracy against classes seen: a line per condenser, with 95 % intervals over memories.

    If `random` is among them, a second panel shows how far each condenser is above `random` under the same strategy.
    These differences are paired by class order, because the luck of an order is common to all and would hide them. A
    point of fewer than two memories has no interval.

    Args:
        frame: records of one experiment.
        path: the PNG to write.
        how: in words, how memories were made and networks trained; empty if it is not known, because rows do not say.

    Raises:
        ValueError: no accuracies, more than one experiment, or a path that cannot be written.
    """
    from harness.evidence.intervals import one_experiment, served_by_one

    one_experiment(frame)
    rows = frame[frame["metric"] == "accuracy"]
    if rows.empty:
        raise ValueError(f"no accuracies to draw in {path}: finish at least one cell first")
    names = sorted(rows["condenser"].unique())
    looks = {name: look(place) for place, name in enumerate(names)}
    curves, above = _accuracies(rows, looks), _differences(rows, looks)
    beside = LEFT + WIDTH + NAMES + inches(curve.name for curve in curves) + BETWEEN
    wide = beside + WIDTH if above else LEFT + WIDTH
    figure = blank(wide, TALL)
    _draw(_axes(figure, LEFT), curves, "accuracy on the classes seen (%)", (0, _top(curves)))
    if above:
        _draw_differences(_axes(figure, beside), above)
    protocol = f"protocol {rows['protocol'].iloc[0]}"
    over = "class orders" if served_by_one(rows) else "memories"
    lines = (f"{_replicates(rows)}; {_bars(curves, over)}", ": ".join(filter(None, (protocol, how))))
    head(figure, LEFT / wide, title_of(rows), lines)
    # The tight box makes room for long names.
    save_figure(figure, path, bbox_inches="tight", pad_inches=0.12)


def _axes(figure: "Figure", left: float) -> "Axes":
    wide = figure.get_figwidth()
    return plain(figure.add_axes((left / wide, BOTTOM / TALL, WIDTH / wide, HEIGHT / TALL)))


def _accuracies(rows: "pd.DataFrame", looks: dict[str, Look]) -> list[_Curve]:
    from harness.evidence.intervals import interval

    of = dict(list(rows.groupby("condenser")))
    return [
        _Curve.of(_label(name, rows), {seen: interval(at) for seen, at in of[name].groupby("classes_seen")}, own)
        for name, own in looks.items()
    ]


def _differences(rows: "pd.DataFrame", looks: dict[str, Look]) -> list[_Curve]:
    """The difference of each condenser from real images under the same strategy; empty if there are no such images."""
    from harness.evidence.intervals import paired_difference, real_images

    steps = rows.groupby("classes_seen")["step"].first()
    found = []
    for name, own in looks.items():
        reference = real_images(name, looks)
        if reference:
            points = {seen: paired_difference(rows, "accuracy", name, reference, step=at) for seen, at in steps.items()}
            found.append(_Curve.of(_label(name, rows), points, own))
    return found


def _label(name: str, rows: "pd.DataFrame") -> str:
    """A condenser's name in the figure, with its league if that is open: the figure shows both leagues."""
    from harness.evidence.intervals import league_of_rows

    league = league_of_rows(rows[rows["condenser"] == name])
    return name + {"open": ", open league", NOT_SAID: ", league not said"}.get(league, "")


def _top(curves: list[_Curve]) -> float:
    """Where an axis of accuracies ends: above all intervals, but not far above 100 %, which none can exceed."""
    highest = np.nanmax([np.nan_to_num(ends) for curve in curves for ends in (curve.mean, curve.high)])
    return min(102.0, max(1.0, 1.06 * float(highest)))


def _draw(axes: "Axes", curves: list[_Curve], what: str, limits: tuple[float, float] | None = None) -> None:
    seen = sorted({float(at) for curve in curves for at in curve.seen})
    apart = DODGE * min(np.diff(seen), default=1.0) if any(curve.methods for curve in curves) else 0.0
    for curve, shift in zip(curves, np.linspace(-apart / 2, apart / 2, len(curves) + 2)[1:-1], strict=True):
        at, own = curve.seen + shift, curve.look
        axes.plot(at, curve.mean, linewidth=1.6, markersize=4.5, **own)
        axes.vlines(at, curve.low, curve.high, color=own["color"], linewidth=1.2, alpha=0.65)
    axes.set(xlabel="classes seen", xticks=seen, xticklabels=[f"{at:g}" for at in seen])
    axes.set_ylabel(what)
    axes.margins(y=0.08)
    if limits:
        axes.set_ylim(*limits)
    looks = [curve.look for curve in curves]
    name_ends(axes, [curve.name for curve in curves], [curve.mean[-1] for curve in curves], looks)


def _draw_differences(axes: "Axes", curves: list[_Curve]) -> None:
    axes.axhline(0, color=GREY, linewidth=1)
    strategies = " under the same strategy" if any("(" in curve.name for curve in curves) else ""
    _draw(axes, curves, f"above random{strategies} (points)")
    axes.set_title("paired by class order", fontsize=8, color=GREY, loc="left")


def title_of(rows: "pd.DataFrame") -> str:
    """Which stream the rows of an experiment are of, and how many images memories store."""
    held = rows["ipc_stored"][rows["ipc_stored"] > 0]  # some strategies have no memory
    most, least = (held.max(), held.min()) if len(held) else (0, 0)
    share = most if most == least else f"{most} down to {least}"
    first = rows.iloc[0]
    return f"{first['dataset']} in {first['steps']} steps, {share} stored images per class"


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


def _bars(curves: list[_Curve], over: str) -> str:
    methods = sorted(frozenset().union(*(curve.methods for curve in curves)))
    return f"bars: 95 % interval over {over} ({', '.join(methods)})" if methods else "one memory: no interval"
