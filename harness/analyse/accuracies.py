"""Accuracies of the memories that are analysed, from the CSVs that say them."""

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from harness.core.records import Records
from harness.core.schema import ScoreRow

SCORED = "accuracy of "  # how metrics of accuracies begin


def accuracies(paths: Sequence[Path], dataset_checksum: str, memories: Collection[str]) -> pd.Series:
    """Mean accuracy of each memory's networks, as a fraction, by the memory's checksum.

    Args:
        paths: CSVs of `harness.evaluate` or `harness.table`.
        dataset_checksum: of the data set that they must be about.
        memories: checksums of those that are asked for.

    Raises:
        ValueError: a file that is not there, no accuracy of any of them, or accuracies of several kinds.
    """
    for path in paths:
        if not path.is_file():
            raise ValueError(f"there is no file {path}: give a results.csv of harness.evaluate or harness.table")
    rows = pd.concat([Records(path, ScoreRow).read() for path in paths])
    asked = rows["memory_checksum"].isin(memories) & (rows["dataset_checksum"] == dataset_checksum)
    rows = rows[asked & rows["metric"].astype(str).str.startswith(SCORED)]
    named = ", ".join(map(str, paths))
    if rows.empty:
        raise ValueError(f"{named} has no accuracy of these memories: score the files with python -m harness.evaluate")
    if rows["metric"].nunique() > 1 or rows["protocol"].nunique() > 1:
        raise ValueError(f"{named} has accuracies of several networks or protocols: give rows of one")
    if (rows.groupby("memory_checksum")["config"].nunique() > 1).any():
        raise ValueError(f"{named} has accuracies of one memory after several trainings: give rows of one")
    return rows.groupby("memory_checksum")["value"].mean()
