"""Every two lines of a comparison against each other, as commands wrote them into `differences.csv`."""

from collections.abc import Iterator
from itertools import chain

import pandas as pd

from harness.evidence.differences import FILE, OTHER
from harness.evidence.sources import grouped
from harness.report import charts
from harness.report.content import Figure, Found, Section, Source, drawn, slug

ABOUT = ["dataset", "images per class", "trained", "scored on", "league", "decoded per stored", "steps", "protocol"]
MOST = 10  # lines that a chart holds; of more there is a table
FURTHER = ("iterations", "condensed on")  # what tells lines of one condenser apart


def section(found: Found) -> Section:
    """A chart for each comparison: who is above whom, by how much, and whether that is told from nothing."""
    figures, problems = drawn(found, FILE, lambda found, source: list(_figures(source)))
    intro = (
        "By how many points the line at the left is above the one at the top, paired by memory. A cell is filled where "
        "the 95 % interval of the difference excludes zero; no interval is widened for there being others."
    )
    return Section("pairs", "Every two", intro, figures, problems=problems)


def _figures(source: Source) -> Iterator[Figure]:
    rows = _at_the_end(source.frame)
    for about, own in grouped(rows, [name for name in ABOUT if name in rows]):
        yield _figure(source, about, own)


def _at_the_end(rows: pd.DataFrame) -> pd.DataFrame:
    """Of a stream, accuracies after the last step."""
    if "metric" not in rows:
        return rows
    scores = rows[rows["metric"] == "accuracy"]
    return scores[scores["step"] == scores["step"].max()]


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
    told = int((frame["low"] > 0).sum())
    title = f"{source.path.parent.name}: every two of {len(lines)}, {_where(about)}"
    alt = f"{title}. {told} of {len(numbers)} differences exclude zero."
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
    """The condensers of a side, with what tells those of one name apart on either."""
    several = [name for name in FURTHER if name in own and _several(own, name)]
    parts = own[[side + name for name in ("condenser", *several)]].itertuples(index=False, name=None)
    return [
        ", ".join([who, *(_said(name, value) for name, value in zip(several, more, strict=True))])
        for who, *more in parts
    ]


def _several(own: pd.DataFrame, name: str) -> bool:
    """Whether a condenser has several values of a column, on the sides together."""
    sides = [own[[f"{side}condenser", side + name]].set_axis(["condenser", name], axis=1) for side in ("", OTHER)]
    return pd.concat(sides).groupby("condenser")[name].nunique().max() > 1


def _said(name: str, value: object) -> str:
    return f"{int(value)} iterations" if name == "iterations" else f"on {value}"


def _where(about: dict[str, object]) -> str:
    if "steps" in about:
        return f"{about['dataset']} after the last of {about['steps']} steps"
    decoded = about["decoded per stored"]
    several = f", {decoded} images decoded from one" if decoded > 1 else ""
    return f"{about['dataset']}, {about['images per class']} per class, {about['league']} league{several}"


def _how(about: dict[str, object]) -> str:
    protocol = f"rotocol {about['protocol']}."
    return (
        f"Scored on {about['trained']}, {about['scored on']} images, p{protocol}"
        if "trained" in about
        else f"P{protocol}"
    )
