"""Every two lines of a comparison against each other, as commands wrote them into `differences.csv`."""

from collections.abc import Iterator
from itertools import chain

import pandas as pd

from harness.evidence.differences import FILE, OTHER
from harness.evidence.sources import grouped
from harness.report import charts
from harness.report.content import Figure, Found, Section, Source, drawn, slug

TABLE = ["dataset", "images per class", "trained", "scored on", "league", "decoded per stored", "protocol"]
STREAM = ["dataset", "steps", "league", "protocol"]
MOST = 10  # lines of a chart; more than these become a table
FURTHER = ("iterations", "condensed on")  # may differ between lines of one condenser


def section(found: Found) -> Section:
    """A chart for each comparison: which line is above which, by how much, and whether the interval excludes zero."""
    figures, problems = drawn(found, FILE, _figures)
    intro = (
        "By how many points the line at the left is above the one at the top, paired by memory. A cell is filled where "
        "the 95 % interval of the difference excludes zero; no interval is widened for there being others."
    )
    return Section("pairs", "Every two", intro, figures, problems=problems)


def _figures(source: Source) -> Iterator[Figure]:
    rows, about = source.frame, STREAM if "steps" in source.frame else TABLE
    if rows[about].isna().any(axis=None) or not rows["difference"].dropna().between(-1, 1).all():
        raise ValueError("it holds what is no difference of two accuracies, or does not say of what")
    if about is STREAM:
        rows = rows[(rows["metric"] == "accuracy") & (rows["step"] == rows["steps"])]
    if rows.empty:
        raise ValueError("it holds no accuracy after the last step")
    for values, own in grouped(rows, about):
        yield _figure(source, values, own)


def _figure(source: Source, about: dict[str, object], own: pd.DataFrame) -> Figure:
    numbers = pd.DataFrame(
        {
            "line": _names(own, ""),
            "above": _names(own, OTHER),
            **{f"{name} (points)": 100 * own[name] for name in ("difference", "low", "high")},
            "memories": own["memories"].astype(int),
        }
    )
    lines = list(dict.fromkeys(chain.from_iterable(zip(numbers["line"], numbers["above"], strict=True))))
    frame = numbers.iloc[:, :5].set_axis(["name", "other", "mean", "low", "high"], axis=1)
    frame["told"] = (frame["low"] > 0) | (frame["high"] < 0)
    title = f"{source.path.parent.name}: every two of {len(lines)}, {_where(about)}"
    alt = f"{title}. {int(frame['told'].sum())} of {len(numbers)} differences exclude zero."
    small = len(lines) <= MOST
    return Figure(
        slug("pairs", source.path.parent, *about.values()),
        title,
        _how(about),
        alt,
        (source,),
        numbers,
        charts.pairs(frame, alt, lines) if small else None,
        kind="chart" if small else "table",
    )


def _names(own: pd.DataFrame, side: str) -> list[str]:
    """Names of the lines on one side: the condenser, with its `FURTHER` columns if these have several values."""
    several = [name for name in FURTHER if name in own and _several(own, name)]
    parts = own[[side + name for name in ("condenser", *several)]].itertuples(index=False, name=None)
    told = ((who, zip(several, more, strict=True)) for who, *more in parts)
    return [", ".join([who, *(_said(name, value) for name, value in more if value)]) for who, more in told]


def _several(own: pd.DataFrame, name: str) -> bool:
    """Whether a condenser has several values of a column, on the sides together."""
    sides = [own[[f"{side}condenser", side + name]].set_axis(["condenser", name], axis=1) for side in ("", OTHER)]
    return pd.concat(sides).groupby("condenser")[name].nunique().max() > 1


def _said(name: str, value: object) -> str:
    return f"{int(value)} iterations" if name == "iterations" else f"on {value}"


def _where(about: dict[str, object]) -> str:
    league = f"{about['league']} league"
    if "steps" in about:
        return f"{about['dataset']} after the last of {about['steps']:.0f} steps, {league}"
    decoded = about["decoded per stored"]
    several = f", {decoded} images decoded from one" if decoded > 1 else ""
    return f"{about['dataset']}, {about['images per class']} per class, {league}{several}"


def _how(about: dict[str, object]) -> str:
    scored = f"Scored on {about['trained']}, {about['scored on']} images. " if "trained" in about else ""
    return f"{scored}Protocol {about['protocol']}."
