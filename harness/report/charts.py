"""Charts as Vega-Lite specifications: a grammar that says what is drawn, and leaves colours to the page.

Why Vega-Lite, through Altair, with its JavaScript bundled by vl-convert: it is well kept, is under a megabyte (the
packaged `plotly.min.js` is 4.5), works without a network, draws SVG that scales, prints and carries a description for
screen readers, and takes its colours from a theme at the time it is drawn, so one chart serves a light and a dark page.
Bokeh draws on a canvas, where a screen reader finds nothing. What a chart shows at the pointer is also in the table
below it, for readers who use a keyboard.
"""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from harness.report.content import records, shown

Spec = dict[str, Any]
ROW = 22  # pixels between two lines of a chart of intervals
HEIGHT = 320
CELL = 34  # pixels of a row of pairs
SMALLEST = 0.05  # per cent of error: as near to 100 % as is drawn


def _spec(chart: "alt.LayerChart | alt.Chart", alt_text: str, height: int | None = None) -> Spec:
    sized = chart.properties(width="container", description=alt_text)
    sized = sized.properties(height=height) if height else sized
    with alt.data_transformers.enable("default", max_rows=None):
        spec = sized.to_dict(validate=False)
    # The schema's address is for editors; the page brings its own version of the library.
    spec.pop("$schema", None)
    spec.pop("config", None)
    return spec


def _data(frame: pd.DataFrame) -> alt.Data:
    """Values as JSON has them: what is no finite number is null."""
    rows = ({name: None if _lacks(value) else value for name, value in row.items()} for row in records(frame))
    return alt.Data(values=list(rows))


def _lacks(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _number(channel: type, field: str, title: str | None, scale: alt.Scale | None = None, **axis: object) -> Any:
    """A number along an axis, whose title says its unit."""
    scaled = {"scale": scale} if scale else {}
    return channel(field=field, type="quantitative", axis=alt.Axis(title=title, **axis), **scaled)


def _colours(field: str, names: Sequence[str]) -> alt.Color:
    """A colour for each name, in their order."""
    return alt.Color(field=field, type="nominal", scale=alt.Scale(domain=list(names)), legend=alt.Legend(title=None))


def _tips(digits: str, *first: alt.Tooltip) -> list[alt.Tooltip]:
    """What appears at the pointer: texts, and a mean with its interval."""
    ends = ("mean", "low", "high")
    return [*first, *(alt.Tooltip(field=end, type="quantitative", format=digits) for end in ends)]


def _name(field: str) -> alt.Tooltip:
    """A text at the pointer that needs no title."""
    return alt.Tooltip(field=field, type="nominal", title=" ")


def intervals(
    frame: pd.DataFrame,
    alt_text: str,
    axis: str,
    *,
    reference: float | None = None,
    band: tuple[float, float] | None = None,
    log: bool = False,
    digits: str = ".1f",
) -> Spec:
    """A dot for each line with its interval, one below the other.

    Args:
        frame: columns name, mean, low, high; low and high nan where there is no interval. With a column series, lines
            of one name stand together and have the colours of their series.
        alt_text: what it shows.
        axis: title of the axis, with its unit.
        reference: a value to mark, such as no difference.
        band: an interval of the reference.
        log: whether the axis is logarithmic.
        digits: format of the numbers that appear at the pointer.
    """
    order, measured = list(dict.fromkeys(frame["name"])), frame[["low", "high"]].notna().all(axis=1).any()
    scale = alt.Scale(type="log" if log else "linear", zero=False, nice=not log, padding=12)
    y = alt.Y(field="name", type="nominal", sort=order, axis=alt.Axis(title=None, ticks=False, domain=False))
    base = alt.Chart(_data(frame)).encode(y=y, tooltip=_tips(digits, _name("name")))
    step: dict[str, object] = {"step": ROW}
    if "series" in frame:
        series = list(dict.fromkeys(frame["series"]))
        colour = alt.Color(field="series", type="nominal", sort=series, legend=alt.Legend(title=None))
        base = base.encode(yOffset=alt.YOffset(field="series", type="nominal", sort=series), color=colour)
        step = {"step": ROW // 2 + 1, "for": "offset"}
    mean, low = (_number(alt.X, end, axis, scale, tickCount=6) for end in ("mean", "low"))
    whisker = base.mark_rule(strokeWidth=2.5, strokeCap="round", opacity=0.55).encode(x=low, x2=alt.X2(field="high"))
    dots = base.mark_point(filled=True, size=75, opacity=1).encode(x=mean)
    layers = [*_reference(reference, band, axis), *([whisker] if measured else []), dots]
    return _spec(alt.layer(*layers), alt_text) | {"height": step}


def _reference(at: float | None, band: tuple[float, float] | None, axis: str) -> list[alt.Chart]:
    marks = []
    if band is not None:
        ends = _data(pd.DataFrame([{"from": band[0], "to": band[1]}]))
        span = alt.Chart(ends).mark_rect(opacity=0.16)
        marks.append(span.encode(x=_number(alt.X, "from", axis), x2=alt.X2(field="to")))
    if at is not None:
        line = alt.Chart(_data(pd.DataFrame([{"at": at}]))).mark_rule(strokeDash=[5, 4], opacity=0.7)
        marks.append(line.encode(x=_number(alt.X, "at", axis)))
    return marks


def pairs(frame: pd.DataFrame, alt_text: str, lines: Sequence[str]) -> Spec:
    """A cell for every two lines: how far the one at the left is above the other, filled if the interval excludes zero.

    Args:
        frame: columns name, other, mean, low, high, told (whether the interval excludes zero); low and high nan where
            there is no interval.
        alt_text: what it shows.
        lines: the names, the highest first.
    """
    rows = frame.assign(text=[shown(mean, "(points)") for mean in frame["mean"]], size=frame["mean"].abs())
    bare = {"title": None, "ticks": False, "domain": False, "grid": False, "labelOverlap": False}
    top = alt.Axis(orient="top", labelAngle=40, labelAlign="right", labelPadding=8, **bare)
    base = alt.Chart(_data(rows)).encode(
        x=alt.X(field="other", type="nominal", sort=lines[1:], axis=top),
        y=alt.Y(field="name", type="nominal", sort=lines[:-1], axis=alt.Axis(**bare)),
        tooltip=_tips(".1f", _name("name"), alt.Tooltip(field="other", type="nominal", title="above")),
    )
    depth = alt.Scale(domain=[0, float(rows["size"].fillna(0).max())], range=[0.12, 0.5])
    cells = base.transform_filter("datum.told").mark_rect(cornerRadius=3, color="var(--series-1)")
    cells = cells.encode(opacity=alt.Opacity(field="size", type="quantitative", scale=depth, legend=None))
    texts = base.mark_text(fontSize=12).encode(text=alt.Text(field="text", type="nominal"))
    return _spec(alt.layer(cells, texts), alt_text, CELL * (len(lines) - 1))


def curves(frame: pd.DataFrame, alt_text: str, x: str, y: str, names: Sequence[str]) -> Spec:
    """A line for each name with a band for its interval.

    Args:
        frame: columns line, name, style (what sets lines of one name apart), x, mean, low, high.
        alt_text: what it shows.
        x: title of the horizontal axis.
        y: title of the vertical axis, with its unit.
        names: all names that have a colour, in the order of the colours.
    """
    styles, seen = list(dict.fromkeys(frame["style"])), sorted(set(frame["x"]))
    tight, free = alt.Scale(zero=False, nice=False), alt.Scale(zero=False)
    base = alt.Chart(_data(frame)).encode(
        x=_number(alt.X, "x", x, tight, values=seen, grid=False, format=".2~f"),
        color=_colours("name", names),
        detail=alt.Detail(field="style", type="nominal"),
    )
    tips = _tips(".1f", _name("line"), alt.Tooltip(field="x", type="quantitative", title=x))
    mean, low = (_number(alt.Y, end, y, free, tickCount=6) for end in ("mean", "low"))
    band = base.mark_area(opacity=0.13).encode(y=low, y2=alt.Y2(field="high"))
    line, points = base.mark_line(strokeWidth=2.5).encode(y=mean), base.mark_point(filled=True, size=70).encode(y=mean)
    if len(styles) > 1:
        dash = alt.StrokeDash(field="style", type="nominal", sort=styles, legend=alt.Legend(title=None))
        line = line.encode(strokeDash=dash)
    return _spec(alt.layer(band, line, points.encode(tooltip=tips)), alt_text, HEIGHT)


def scatter(frame: pd.DataFrame, alt_text: str, proxies: Sequence[str], first: str, norms: Sequence[str]) -> Spec:
    """Accuracy on the whole set against that on a proxy, a point per architecture; a list chooses the proxy.

    Both axes are logarithmic in the error, so that good architectures, which differ by little, are as far apart as bad
    ones.

    Args:
        frame: columns proxy, architecture, norm, on_proxy, on_whole, in percent.
        alt_text: what it shows.
        proxies: choices of the list.
        first: the one that is drawn at first.
        norms: their names, in the order of their colours.
    """
    errors = frame.assign(
        x=(100 - frame["on_proxy"]).clip(lower=SMALLEST).round(4),
        y=(100 - frame["on_whole"]).clip(lower=SMALLEST).round(4),
    )
    # A list of one choice would be of no use.
    several = len(proxies) > 1
    binding = alt.binding_select(options=list(proxies), name="trained on ")
    chosen = alt.param(name="proxy", value=first, **({"bind": binding} if several else {}))
    pick = alt.selection_point(fields=["norm"], bind="legend", name="norms")
    sides = {"x": ("on_proxy", "on the proxy (%)"), "y": ("on_whole", "on the whole set (%)")}
    tips = [alt.Tooltip(field=of, type="quantitative", format=".1f", title=title) for of, title in sides.values()]
    chart = (
        alt.Chart(_data(errors[["proxy", "architecture", "norm", "on_proxy", "on_whole", "x", "y"]]))
        .mark_circle(size=34)
        .encode(
            x=_error(alt.X, "x", sides["x"][1]),
            y=_error(alt.Y, "y", sides["y"][1]),
            color=_colours("norm", norms),
            opacity=alt.condition(pick, alt.value(0.7), alt.value(0.06)),
            tooltip=[_name("architecture"), *tips],
        )
        .add_params(chosen, pick)
        .transform_filter("datum.proxy == proxy")
    )
    return _spec(chart, alt_text, 380)


def _error(channel: type, field: str, title: str) -> Any:
    """An error along a logarithmic axis that is labelled with accuracies."""
    scale = alt.Scale(type="log", reverse=True, nice=False, padding=10)
    marks = [95, 90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1]
    return _number(channel, field, title, scale, values=marks, labelExpr="format(100 - datum.value, '~g')")


def among(frame: pd.DataFrame, alt_text: str, base: str, choices: Sequence[str]) -> Spec:
    """Images of one memory as points among real images; a list chooses the memory.

    Args:
        frame: columns memory, x, y.
        alt_text: what it shows.
        base: the value of `memory` that is always drawn: the real images.
        choices: the other values; the first of them is drawn at first.
    """
    chosen = alt.param(
        name="choice", value=choices[0], bind=alt.binding_select(options=list(choices), name="among real ")
    )
    bare, free = {"labels": False, "ticks": False, "grid": False}, alt.Scale(zero=False)
    x, y = (_number(channel, field, None, free, **bare) for channel, field in ((alt.X, "x"), (alt.Y, "y")))
    points = alt.Chart(_data(frame)).encode(x=x, y=y, tooltip=[alt.Tooltip(field="memory", type="nominal")])
    real = points.transform_filter(alt.datum.memory == base).mark_circle(size=30, opacity=0.45, color="currentColor")
    own = points.transform_filter("datum.memory == choice").mark_circle(size=70, opacity=0.95)
    return _spec(alt.layer(real, own).add_params(chosen), alt_text, HEIGHT)


def costs(frame: pd.DataFrame, alt_text: str, families: Sequence[str]) -> Spec:
    """Accuracy with its interval against operations; those that nothing cheaper beats are named.

    Args:
        frame: columns condenser, family, league, flop, mean, low, high, best (whether it is named); flop above 0.
        alt_text: what it shows.
        families: their names, in the order of their colours.
    """
    what, orders = "operations to condense a memory (FLOP)", alt.Scale(type="log", nice=False, padding=26)
    wide, free = alt.Scale(zero=False, padding=14), alt.Scale(zero=False)
    mean, low = (
        _number(alt.Y, end, "accuracy (%)", scale, tickCount=6) for end, scale in (("mean", wide), ("low", free))
    )
    leagues = alt.Scale(domain=["strict", "open"], range=["circle", "diamond"])
    shape = alt.Shape(field="league", type="nominal", scale=leagues, legend=None)
    tips = _tips(".1f", *(alt.Tooltip(field=name, type="nominal") for name in ("condenser", "league")))
    tips += [alt.Tooltip(field="flop", type="quantitative", format=".1e", title="FLOP")]
    base = alt.Chart(_data(frame)).encode(
        x=_number(alt.X, "flop", what, orders, format=".0e", tickCount=4, grid=False),
        color=_colours("family", families),
        tooltip=tips,
    )
    whisker = base.mark_rule(strokeWidth=1.5, opacity=0.4).encode(y=low, y2=alt.Y2(field="high"))
    points = base.mark_point(filled=True, size=90, opacity=0.95).encode(y=mean, shape=shape)
    names = (
        base.transform_filter("datum.best")
        .mark_text(align="center", baseline="bottom", dy=-9, fontSize=12, fontWeight=600)
        .encode(y=mean, text=alt.Text(field="condenser", type="nominal"), color=alt.value("currentColor"))
    )
    return _spec(alt.layer(whisker, points, names), alt_text, 360)
