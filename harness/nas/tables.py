"""The rows of surveys: their schema, the tables of whole-set accuracies, and rows from other machines.

A row is one network: an architecture trained on a proxy, or on the whole set. It is a cell of its own, keyed by all
that decides its accuracies but rounding (device, threads, chunk), so that machines can share the work.
"""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from harness.core.paths import ROOT
from harness.core.progress import say
from harness.core.protocols import WHOLE
from harness.core.records import PROVENANCE, Records
from scenarios.datasets import Dataset

if TYPE_CHECKING:
    import pandas as pd


# The replicates of memories and of networks are told apart; `dataset_checksum` is that of the split.
COLUMNS = (
    "cell",
    "dataset",
    "dataset_checksum",
    "validation",
    "space",
    "architecture",
    "index",
    "width",
    "depth",
    "norm",
    "activation",
    "pooling",
    "parameters",
    "macs",
    "proxy",
    "memory_replicate",
    "memory_checksum",
    "config",
    "recipe",
    "epochs",
    "steps",
    "ipc_stored",
    "ipc_decoded",
    "stored_images",
    "stored_bytes",
    "network_replicate",
    "validation_accuracy",
    "test_accuracy",
    "status",
    "seconds",
    *PROVENANCE,
)
PUBLISHED = ROOT / "results" / "nas"


def open_table(path: Path | None, out: Path, dataset: str) -> Records:
    """The whole-set table of a survey: the one named, or its own."""
    return Records(path or out / _file_name(dataset), COLUMNS)


def published(dataset: str) -> Records:
    """The table that comes with the code, to be read only; without rows where there is none."""
    return Records(PUBLISHED / _file_name(dataset), COLUMNS)


def check(table: Records, split: Dataset, recipe: str) -> None:
    """Raise ValueError unless every row of the table is of these images and this recipe.

    Also where the table is damaged or has another schema.
    """
    rows = table.read()
    if not len(rows):
        return
    _check_images(table.path, rows, split)
    if set(rows["proxy"]) != {WHOLE}:
        raise ValueError(f"{table.path} holds rows of proxies: give a table of whole-set accuracies only")
    others = sorted(set(rows["recipe"]) - {recipe})
    if others:
        raise ValueError(
            f"{table.path} holds whole-set accuracies of {others[0]}, which are not comparable with {recipe}: "
            f"give --recipe {others[0]}, or another --whole-table or --out"
        )


def adopt(records: Records, table: Records, dataset: str, cells: Collection[str]) -> None:
    """Add to a survey's records what whole-set tables, its own and the published one, have of its cells."""
    for source in (table, published(dataset)):
        rows = source.read()
        _append(records, rows[rows["cell"].isin(cells)])


def read_foreign(path: Path, split: Dataset) -> "pd.DataFrame":
    """The rows of a CSV from another machine.

    Raises:
        ValueError: no such file, or it is damaged, of another schema or of other images.
    """
    if not path.exists():
        raise ValueError(f"cannot merge {path}: there is no such file")
    rows = Records(path, COLUMNS).read()
    _check_images(path, rows, split)
    return rows


def merge(path: Path, records: Records, table: Records, split: Dataset, recipe: str, cells: Collection[str]) -> None:
    """Add the rows of a CSV from another machine: a survey's cells to its records, all of its recipe to its table.

    Raises:
        ValueError: as `read_foreign`, or it holds no row to add.
    """
    rows = read_foreign(path, split)
    mine, whole = rows[rows["cell"].isin(cells)], rows[(rows["proxy"] == WHOLE) & (rows["recipe"] == recipe)]
    if mine.empty and whole.empty:
        raise ValueError(f"no row of {path} belongs to this survey: were the flags the same on that machine?")
    _append(records, mine)
    _append(table, whole)
    say(f"merged {path}: {len(mine)} of its {len(rows)} rows are of this survey")


def _check_images(path: Path, rows: "pd.DataFrame", split: Dataset) -> None:
    others = rows[rows["dataset_checksum"] != split.checksum]
    if len(others):
        other = others.iloc[0]
        raise ValueError(
            f"{path} is of {other['dataset']} with {other['validation']} validation images per class "
            f"({other['dataset_checksum']}), not of this {split.name} ({split.checksum}): leave it out, or choose "
            "another --dataset, --resolution, --validation or --out"
        )


def _append(records: Records, rows: "pd.DataFrame") -> None:
    if len(rows):
        # A table that was put together by hand may hold a cell twice.
        records.append(rows.drop_duplicates("cell").to_dict("records"))


def _file_name(dataset: str) -> str:
    return f"whole_{dataset}.csv"
