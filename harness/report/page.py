"""The page: what was read, drawn and written, as one file beside a CSV of its numbers."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain, count
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape

from condensers.device.files import atomic_write
from harness.core.command import one_line
from harness.core.flags import check_bounds
from harness.core.progress import say
from harness.core.records import write_csv
from harness.evidence.sources import OWN, Found, read_folders
from harness.report import (
    ablations,
    analyses,
    images,
    leaderboard,
    leagues,
    methods,
    pairs,
    scores,
    speeds,
    surveys,
    targets,
)
from harness.report.content import MOST_ROWS, NOTHING, Figure, Section, cell, heads, records, shown
from harness.report.flags import Report

TEMPLATES = Path(__file__).with_name("templates")
PAGE = "index.html"
SAID = 20  # lines about what is left out, on the terminal
OWN_IDS = ("top", "content", "theme", "files", "files-title", "problems-title")  # ids that the templates use


def report(config: Report) -> None:
    """Write the page and its numbers. Raises ValueError for a folder that is not there, or cannot be written."""
    check_bounds(config)
    found, out = read_folders(config.folders), config.out or config.folders[0] / "report"
    sections = with_distinct_ids([one for one in _sections(found, config.data_root) if one or one.problems])
    figures = [figure for one in sections for figure in figures_of(one)]
    write_csv(out / OWN, numbers_of(figures))
    page = render(found, sections)
    atomic_write(out / PAGE, page.encode())
    problems = problems_of(found, sections)
    for line in problems[:SAID]:
        say(f"left out: {line}")
    if len(problems) > SAID:
        say(f"left out: {len(problems) - SAID} more, listed on the page")
    drawn = f"{len(figures)} figures from {len(found.sources)} CSVs and {len(found.memories)} memories"
    say(f"{drawn}, {len(page.encode()) / 1e6:.1f} MB: {out / PAGE}   numbers: {out / OWN}")


def _sections(found: Found, data_root: Path) -> list[Section]:
    return [
        leagues.section(found),
        targets.section(found),
        leaderboard.section(found),
        ablations.section(found),
        scores.studies(found),
        scores.streams(found),
        pairs.section(found),
        surveys.section(found),
        analyses.section(found),
        speeds.section(found),
        images.section(found, data_root),
        methods.section(found),
    ]


def with_distinct_ids(sections: Sequence[Section]) -> list[Section]:
    """The sections, with a number added to ids that are taken: folder names may differ only in what ids leave out."""
    taken = {*OWN_IDS, *(name for one in sections for name in (one.id, f"{one.id}-title"))}
    taken |= {method.id for one in sections for method in one.extra.get("methods", ())}

    def distinct(figures: Sequence[Figure]) -> list[Figure]:
        return [replace(figure, id=_free(figure.id, taken)) for figure in figures]

    for method in (method for one in sections for method in one.extra.get("methods", ())):
        method.figures = distinct(method.figures)
    return [replace(one, figures=distinct(one.figures)) for one in sections]


def _free(wanted: str, taken: set[str]) -> str:
    numbered = (f"{wanted}-{number}" for number in count(2))
    free = next(name for name in chain([wanted], numbered) if name not in taken)
    taken.add(free)
    return free


def figures_of(section: Section) -> list[Figure]:
    """All figures of a section, those of its methods among them."""
    return [*section.figures, *(figure for method in section.extra.get("methods", ()) for figure in method.figures)]


def problems_of(found: Found, sections: Sequence[Section]) -> list[str]:
    """A line for each thing that is not on the page."""
    lines = [*found.problems, *(line for section in sections for line in section.problems)]
    return list(dict.fromkeys(map(one_line, lines)))


def numbers_of(figures: Sequence[Figure]) -> pd.DataFrame:
    """Every number of the page, unrounded: the figure, its line from 1, the column, the value, and where it is from."""
    lines = [
        {
            "figure": figure.id,
            "line": line,
            "column": column,
            "value": value,
            "rows": " ".join(str(source.path) for source in figure.sources),
        }
        for figure in figures
        for line, row in enumerate(records(figure.numbers), 1)
        for column, value in row.items()
    ]
    return pd.DataFrame(lines, columns=["figure", "line", "column", "value", "rows"])


def render(found: Found, sections: Sequence[Section]) -> str:
    """The page as HTML, with everything that it needs in it."""
    anchors = next((methods.anchors(one) for one in sections if one.id == "methods"), {})
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(
        article=lambda name: methods.article_of(name, anchors),
        cell=cell,
        heads=heads,
        most=MOST_ROWS,
        nothing=NOTHING,
        records=records,
        shown=shown,
    )
    environment.filters.update(script=_script, quoted=_quoted, bar=_bar)
    return environment.get_template("page.html").render(
        found=found,
        strip=_strip(sections),
        sections=[one for one in sections if one],
        problems=problems_of(found, sections),
        style=Markup(_text("style.css")),
        behaviour=Markup(_text("page.js")),
        library=Markup(_library()),
    )


def _strip(sections: Sequence[Section]) -> images.Strip | None:
    """The images at the head of the page: the last memory of the first gallery."""
    galleries = [gallery for one in sections for gallery in one.extra.get("galleries", ())]
    return galleries[0].rows[-1] if galleries else None


def _library() -> str:
    """Vega-Lite and what it needs, in one script."""
    import vl_convert

    return vl_convert.javascript_bundle().replace("</script", "<\\/script")


def _text(name: str) -> str:
    return (TEMPLATES / name).read_text()


def _script(value: object) -> Markup:
    """JSON that may stand within a script: no text of it ends the element."""
    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def _quoted(text: str) -> Markup:
    """A docstring's text, with what stands between backquotes as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _bar(row: dict[str, float], frame: pd.DataFrame) -> Markup:
    """The style that places an accuracy and its interval on a scale from the lowest to the highest of a table."""
    ends = frame[["low (%)", "high (%)", "accuracy (%)"]].stack().dropna()
    least, span = ends.min(), max(ends.max() - ends.min(), 1e-9)
    at = {name: 100 * (row[f"{name} (%)"] - least) / span for name in ("low", "accuracy", "high")}
    low, high = (at["accuracy"] if at[name] != at[name] else at[name] for name in ("low", "high"))
    return Markup(f"--low:{low:.1f}%;--mean:{at['accuracy']:.1f}%;--high:{high:.1f}%")
