"""Accuracies of the memories that are analysed, from CSVs of `harness.evaluate` or `harness.table`."""

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from harness.core.checks import check_cells
from harness.core.protocols import MARK, marked
from harness.core.records import Records
from harness.core.schema import ScoreRow

SCORED = "accuracy of "  # how metrics of accuracies begin


def accuracies(paths: Sequence[Path], dataset_checksum: str, memories: Collection[str]) -> pd.Series:
    """Mean accuracy of each memory's networks, as a fraction, by the memory's checksum.

    Args:
        paths: CSVs of `harness.evaluate` or `harness.table`.
        dataset_checksum: rows of other data sets are left out.
        memories: checksums of the memories that are asked for.

    Raises:
        ValueError: a file that is not there or damaged, no accuracy of any of the memories, accuracies of several
            networks or protocols, or several scores of one memory.
    """
    for path in paths:
        if not path.is_file():
            raise ValueError(f"there is no file {path}: give a results.csv of harness.evaluate or harness.table")
    rows = pd.concat([_scores(path, dataset_checksum, memories) for path in paths]).drop_duplicates()
    named = ", ".join(map(str, paths))
    if rows.empty:
        raise ValueError(f"{named} has no accuracy of these memories: score the files with python -m harness.evaluate")
    if rows["metric"].nunique() > 1 or _several(rows["protocol"]):
        raise ValueError(f"{named} has accuracies of several networks or protocols: give rows of one")
    several = rows.groupby("memory_checksum")["cell"].nunique()
    if several.max() > 1:
        raise ValueError(f"{named} has more than one score of the memory {several.idxmax()}: give rows of one")
    return rows.groupby("memory_checksum")["value"].mean()


def _several(labels: pd.Series) -> bool:
    """Whether labels differ in protocol or training. Older labels end in a bare `+`, which may be any training."""
    told = [label for label in labels.unique() if not label.endswith(MARK)]
    return labels.map(marked).nunique() > 1 or len(told) > 1


def _scores(path: Path, dataset_checksum: str, memories: Collection[str]) -> pd.DataFrame:
    """The accuracies that are asked for, checked. How many networks a cell had is not known here: all rows count."""
    rows = Records(path, ScoreRow).read()
    asked = rows["memory_checksum"].isin(memories) & (rows["dataset_checksum"] == dataset_checksum)
    rows = rows[asked & rows["metric"].astype(str).str.startswith(SCORED)]
    for _, own in rows.groupby("cell"):
        check_cells(own, len(own), own["metric"].unique(), path)
    return rows
