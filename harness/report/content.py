"""What the page shows: figures with the numbers behind them, in sections. Nothing here knows HTML.

A column of numbers says its unit in brackets after its name, and is written with as many digits as that unit has in
`DIGITS`; whole numbers are written as such.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from harness.core.command import one_line
from harness.evidence.sources import Found, Source

DIGITS = {
    "%": ".1f",
    "points": ".1f",
    "s": ".3g",
    "min": ".1f",
    "FLOP": ".1e",
    "times": ".2f",
    "GB": ".2f",
    "correlation": ".3f",  # of differences: proxies differ by little
}
ENDS = re.compile(r"(^|(?<= ))(?P<end>low|high)( \([^()]*\))?$")
# If the columns low and high name no other column, they hold the interval of one of these.
MEANS = ("accuracy (%)", "difference (points)", "regret (points)", "ratio (times)", "Spearman")
OTHER = ".2f"  # correlations, and the like
NOTHING = "-"
MANY_SECONDS = 1000  # above these, three digits would be written with an exponent
MOST_ROWS = 1000  # of a table on the page
DAMAGE = (ValueError, KeyError, IndexError, TypeError, OverflowError)  # what pandas raises on a damaged summary
AROUND = 56  # pixels of a chart beside its lines: an axis with its title


@dataclass(frozen=True)
class Figure:
    """Something measured, as a chart or a table.

    Attributes:
        id: unique on the page, for links.
        title: what it shows.
        note: what a reader must know to read it; one or two sentences.
        alt: what a chart shows, for readers who cannot see it.
        sources: files whose rows are behind it.
        numbers: what is shown, unrounded, a line for each row of its table; columns as the module says.
        chart: a Vega-Lite specification; None where the table itself is shown.
        kind: how it is shown: `chart`, `table` or `league`.
    """

    id: str
    title: str
    note: str
    alt: str
    sources: tuple[Source, ...]
    numbers: pd.DataFrame
    chart: Mapping[str, Any] | None = None
    kind: str = "chart"

    @property
    def left_out(self) -> int:
        """How many lines the table on the page leaves out; numbers.csv has them all."""
        return max(0, len(self.numbers) - MOST_ROWS)

    @property
    def height(self) -> int:
        """Pixels that a chart will take, so that the page does not jump when it is drawn."""
        asked = (self.chart or {}).get("height", 0)
        return AROUND + (asked["step"] * len(self.numbers) if isinstance(asked, dict) else asked)


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        id: unique on the page, for links.
        title: also shown in the page's navigation.
        intro: what its figures have in common.
        figures: in their order.
        extra: what templates show beside figures.
        problems: a line for each source that could not be drawn.
    """

    id: str
    title: str
    intro: str
    figures: Sequence[Figure] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    problems: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.figures or any(self.extra.values()))


def drawn(found: Found, kind: str, draw: Callable[[Source], Iterable[Figure]]) -> tuple[list[Figure], list[str]]:
    """Figures of all sources of a kind, and a line for each source that could not be drawn."""
    figures: list[Figure] = []
    problems: list[str] = []
    for source in found.of(kind):
        try:
            figures += list(draw(source))
        except DAMAGE as error:
            problems.append(f"{source.path} is not drawn: {one_line(str(error))}")
    return figures, problems


def slug(*parts: object) -> str:
    """An id for links, made from what a figure is about."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(map(str, parts)).lower()).strip("-")


def shown(value: object, column: str) -> str:
    """A value of a figure's numbers as it stands in tables."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or not value or (_unit(column) == "s" and value >= MANY_SECONDS):
        return f"{value:,.0f}"
    return f"{value:z{digits_of(column)}}".replace("e+", "e")


def digits_of(column: str) -> str:
    """The format of a column's numbers."""
    return DIGITS.get(_unit(column), OTHER)


def records(frame: pd.DataFrame) -> list[dict[str, object]]:
    """The rows of a frame as Python values, by column."""
    return [
        {name: value.item() if hasattr(value, "item") else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def percent(rows: pd.DataFrame, low: str = "low", high: str = "high") -> dict[str, pd.Series]:
    """Columns of a figure's numbers: accuracies of a summary with their intervals, from fractions to percent."""
    return {"accuracy (%)": 100 * rows["accuracy"], "low (%)": 100 * rows[low], "high (%)": 100 * rows[high]}


def heads(frame: pd.DataFrame) -> list[str]:
    """The columns of a table. The ends of an interval have none: they are shown beside its mean."""
    return [name for name in frame if not ENDS.search(name)]


def cell(row: Mapping[str, object], column: str) -> str:
    """What a table shows of a row in a column: a number, with its interval if there is one, or a text."""
    text = shown(row[column], column)
    low, high = (next((row[name] for name in row if _is_end(name, end, column)), None) for end in ("low", "high"))
    if low is None or shown(low, column) == NOTHING:
        return text
    return f"{text} [{shown(low, column)}, {shown(high, column)}]"


def _is_end(name: str, end: str, column: str) -> bool:
    """Whether the column `name` holds this end of `column`'s interval; plain `low (%)` is that of one of `MEANS`."""
    match = ENDS.search(name)
    if not match or match["end"] != end or _unit(name) != _unit(column):
        return False
    prefix = name[: match.start()].strip()
    return prefix == re.sub(r" \([^()]*\)$", "", column) or (not prefix and column in MEANS)


def _unit(column: str) -> str:
    found = re.search(r"\(([^()]*)\)$", column)
    return found[1] if found else ""
