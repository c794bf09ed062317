"""Published numbers beside measured ones, as `harness.targets` wrote them: a table for each table of a paper."""

import pandas as pd

from harness.evidence.sources import grouped
from harness.report.content import Figure, Found, Section, Source, drawn, slug

PLACE = ["source", "table", "unit"]
UNITLESS = "correlation"
COUNTS = ("memories", "networks")


def section(found: Found) -> Section:
    """How many of each verdict there are, and a table for each place and unit."""
    figures, problems = drawn(found, "targets.csv", _figures)
    intro = (
        "Every published number, and what was measured here. A verdict needs the paper's evaluation, three memories "
        "and five networks; what stands beside a number that is not run was measured otherwise, or too little, and "
        "its protocol and networks say how."
    )
    return Section("targets", "Targets", intro, figures, problems=problems)


def _figures(source: Source) -> list[Figure]:
    return [_verdicts(source), *(_table(source, about, rows) for about, rows in grouped(source.frame, PLACE))]


def _verdicts(source: Source) -> Figure:
    counts = source.frame["verdict"].value_counts()
    numbers = pd.DataFrame({"verdict": counts.index, "published numbers": counts.to_list()})
    note = "By the rule that python -m harness.targets --help prints."
    anchor = slug("targets", source.path.parent, "verdicts")
    return Figure(anchor, "How many were met", note, "", (source,), numbers, kind="table")


def _table(source: Source, about: dict[str, str], rows: pd.DataFrame) -> Figure:
    unit = "" if about["unit"] == UNITLESS else f" ({about['unit']})"
    measured = {"ours": "ours", "low": "ours low", "high": "ours high"}
    numbers = pd.DataFrame(
        {
            "method": rows["method"],
            "data set": rows["dataset"],
            "images per class": rows["images per class"],
            "metric": rows["metric"],
            "networks of the paper": _networks(rows, ""),
            f"published{unit}": rows["published"],
            f"deviation{unit}": rows["deviation"],
            "verdict": rows["verdict"],
            **{f"{name}{unit}": rows[column] for column, name in measured.items()},
            **{name: _whole(rows[name]) for name in COUNTS},
            "our networks": _networks(rows, "our "),
            "protocol": rows["protocol"],
            "note": rows["note"],
        }
    )
    title = f"{about['source']}, {_place(about['table'])}"
    anchor = slug("targets", source.path.parent, *about.values())
    over = "architectures" if about["unit"] == UNITLESS else "memories"
    note = f"As published, and as measured here where anything was; intervals are over {over}."
    return Figure(anchor, title, note, "", (source,), numbers, kind="table")


def _whole(counts: pd.Series) -> pd.Series:
    """Counts as whole numbers beside NaN, which a column of numbers would make fractions."""
    return pd.Series([int(n) if n == n else n for n in counts], counts.index, dtype=object)


def _networks(rows: pd.DataFrame, whose: str) -> list[str]:
    pairs = rows[[f"{whose}condensed on", f"{whose}trained"]].itertuples(index=False)
    return [trained if made_on in ("", trained) else f"{made_on}, scored on {trained}" for made_on, trained in pairs]


def _place(table: str) -> str:
    return f"Table {table}" if table.isdigit() else table
