"""What lies in folders of results: rows, summaries and memories, each read once, and what could not be read.

Both `harness.report` and `harness.targets` read their input here.
"""

import csv
import math
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from condensers.device.files import one_line_errors, require_file
from harness.core.protocols import MARK, marked
from harness.core.records import LARGEST, Records
from harness.core.rows import MeasureRow, NetworkRow, RungRow, SubmissionRow, TrialRow, TurnRow
from harness.core.schema import ScoreRow, columns, unescaped
from harness.evidence.commands import Making, making_of
from harness.evidence.differences import FILE as DIFFERENCES
from harness.evidence.differences import MEASURED

ROWS = (ScoreRow, NetworkRow, TrialRow, TurnRow, RungRow, MeasureRow, SubmissionRow)
# Columns that the page draws, by the name of the file: first texts, then numbers.
SUMMARIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "table.csv": (
        ("dataset", "condenser", "league", "condensed on", "trained", "published", "verdict", "scored on", "protocol"),
        (
            *("images per class", "decoded per stored", "accuracy", "low", "high", "memories", "networks"),
            *("seconds", "flop", "hidden_images"),
        ),
    ),
    "summary.csv": (
        ("proxy", "dataset", "space", "whole_recipe", "recipe", "chosen"),
        (
            *("spearman", "spearman_low", "spearman_high", "spearman_n", "kendall", "accuracy", "regret"),
            *("stored_images", "ipc_stored", "epochs", "memories", "networks", "minutes", "whole_minutes"),
            *("space_size", "architectures"),
        ),
    ),
    "search_summary.csv": (("proxy", "sampler", "dataset", "space"), ("searches", "minutes", "epochs_saved", "known")),
    "ablate.csv": (
        (
            *("grid", "paper", "variant", "condenser", "league", "dataset", "condensed on", "trained", "base"),
            *("scored on", "protocol"),
        ),
        (
            *("images per class", "accuracy", "accuracy_low", "accuracy_high"),
            *("difference", "difference_low", "difference_high", "memories", "networks", "seconds", "flop"),
        ),
    ),
    "trials.csv": (
        ("condenser", "status", "dataset"),
        ("trial", "accuracy", "iteration", "validation", "images per class"),
    ),
    DIFFERENCES: (("dataset", "league", "condenser", "other condenser", "protocol"), MEASURED),
    "analysis.csv": (("condenser", "metric"), ("images per class", "mean", "low", "high", "n")),
    "drift.csv": (("condenser", "metric"), ("images per class", "mean", "low", "high", "n")),
    "tsne.csv": (("metric", "condenser", "class"), ("value", "x", "y")),
    "correlations.csv": (("loss", "over"), ("spearman", "low", "high", "n")),
    "targets.csv": (
        (
            *("source", "table", "dataset", "images per class", "method", "condenser", "condensed on", "trained"),
            *("metric", "unit", "note", "verdict", "our condensed on", "our trained", "protocol", "league"),
            *("rows", "command"),
        ),
        ("published", "deviation", "ours", "low", "high", "memories", "networks", "minutes", "flop"),
    ),
    "search_winners.csv": (("proxy", "sampler", "architecture"), ("search_replicate", "validation_accuracy")),
}
CONTROL = " (control)"  # in drift.csv: behind the condenser of a memory that drifts to its own style
BELOW_BEST = ("below best", "below best low", "below best high")  # of table.csv: a mean with its interval
# Further numbers, which a summary may lack: it is older, or of a survey with fewer architectures than a top needs.
FURTHER = re.compile(
    r"(top_\d+_by_(proxy|whole)|noise_ceiling|above_first|regret_after_\d+)(_low|_high|_n)?"
    rf"|(other )?iterations|steps?|published accuracy|{'|'.join(BELOW_BEST)}"
)
FURTHER_TEXTS = (
    "trained",
    "scored on",
    "condensed on",
    "other condensed on",
    "metric",
    "best",
)  # as FURTHER, but texts
SUFFIX = ".safetensors"
SKIPPED = ("checkpoints", ".locks")
OWN = "numbers.csv"
AGAIN = (OWN, "search_regret.csv")  # not read: what a report wrote itself, and trials that search.csv has, too


@dataclass(frozen=True)
class Source:
    """A CSV that was read.

    Attributes:
        path: as it is shown, seen from the current folder.
        kind: the name of its row type, or of the file where it is a summary.
        frame: its rows.
        making: the command that made it, as far as anyone wrote it down.
    """

    path: Path
    kind: str
    frame: pd.DataFrame
    making: Making


@dataclass(frozen=True)
class Found:
    """Everything that the folders of a report hold.

    Attributes:
        sources: CSVs, in order of their paths.
        memories: memory files, in order of their paths.
        problems: a line for each thing that could not be read, and for each folder without anything to show.
    """

    sources: list[Source] = field(default_factory=list)
    memories: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def of(self, kind: str) -> list[Source]:
        """The sources of one kind."""
        return [source for source in self.sources if source.kind == kind]


def read_folders(folders: Sequence[Path], without: Collection[str] = ()) -> Found:
    """Read what lies in some folders and below, but for files of the names `without`.

    Raises:
        ValueError: a folder is not there. A damaged file raises nothing, but becomes a line of `problems`.
    """
    found, known = Found(), set[str]()
    for folder in dict.fromkeys(folders):
        if not folder.is_dir():
            raise ValueError(f"there is no folder {folder}: name the output folders of commands, such as results")
        paths = [path for path in _files(folder) if path.name not in without]
        for path in paths:
            if (real := os.path.realpath(path)) not in known:  # a folder may be named twice, in two ways
                known.add(real)
                _add(found, folder, path)
        if not paths:
            found.problems.append(f"{folder} holds no rows and no memories")
    return found


def grouped(frame: pd.DataFrame, names: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """For each combination of values in some columns, by first appearance: the values by name, and its rows."""
    for values, rows in frame.groupby(list(names), sort=False):
        yield dict(zip(names, values, strict=True)), rows


def _files(folder: Path) -> Iterator[Path]:
    for at, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if name not in SKIPPED)
        found = (name for name in sorted(names) if Path(name).suffix in (".csv", SUFFIX) and name not in AGAIN)
        yield from (Path(at, name) for name in found)


def _add(found: Found, folder: Path, path: Path) -> None:
    if not str(path).isprintable():  # no page could hold it
        return found.problems.append(f"{str(path)!a} has a name that cannot be written down: rename it")
    if path.suffix == SUFFIX:
        return found.memories.append(path)
    try:
        kind, frame = read(path)
    except ValueError as error:
        return found.problems.append(str(error))
    if frame.empty:
        return found.problems.append(f"{path} has no rows yet")
    return found.sources.append(Source(path, kind, frame, making_of(path, folder)))


def read(path: Path) -> tuple[str, pd.DataFrame]:
    """The kind and the rows of a CSV. Raises ValueError, in one line, if it is none that a command writes."""
    header = _header(path)
    for row_type in ROWS:
        if header == [column.name for column in columns(row_type)]:
            rows = Records(path, row_type).read()
            return row_type.__name__, _one_label(rows) if row_type is ScoreRow else rows
    if path.name in SUMMARIES:
        return path.name, _summary(path)
    raise ValueError(f"{path} has columns that no command writes")


def _one_label(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, where a bare `+` of an older row has behind it what newer rows of its config say.

    Newer rows may differ, because a config does not hold the seed of a memory. Then the bare mark stays.
    """
    if rows.empty:
        return rows
    bare = rows["protocol"].str.endswith(MARK)
    said = rows["protocol"].where(~bare).groupby([rows["config"], rows["protocol"].map(marked)])
    alike = said.transform("first").where(said.transform("nunique") == 1)
    return rows.assign(protocol=rows["protocol"].where(~bare | alike.isna(), alike))


def _header(path: Path) -> list[str]:
    with one_line_errors("read", path):
        require_file(path, LARGEST)
        with path.open(newline="", errors="replace") as file:
            return next(csv.reader([file.readline(2**16)]), [])


def _summary(path: Path) -> pd.DataFrame:
    (texts, wanted), header = SUMMARIES[path.name], _header(path)
    numbers = list(dict.fromkeys([*wanted, *filter(FURTHER.fullmatch, header)]))
    texts = list(dict.fromkeys([*texts, *(name for name in FURTHER_TEXTS if name in header)]))
    try:
        # Texts are read as such: a memory file may be called 001.
        as_text = dict.fromkeys(texts, str)
        frame = pd.read_csv(path, dtype=as_text, keep_default_na=False, na_values={name: [""] for name in numbers})
        lacking = [name for name in (*texts, *wanted) if name not in frame]
        if lacking:
            raise ValueError(f"it lacks the columns {', '.join(lacking)}")
        frame[numbers] = frame[numbers].apply(pd.to_numeric)
        if frame[numbers].isin([math.inf, -math.inf]).any(axis=None):
            raise ValueError("it holds numbers that are not finite")
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    frame[texts] = frame[texts].map(unescaped)
    return frame
