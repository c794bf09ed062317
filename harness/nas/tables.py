"""The rows of surveys, the tables of whole-set accuracies, and rows from other machines.

A row is one network: an architecture trained on a proxy, or on the whole set. Each row is one cell, keyed by all that
decides its accuracies except what changes only rounding (device, threads, chunk), so that machines can share the work.
"""

from collections.abc import Collection, Sequence, Set
from pathlib import Path

from harness.core.checks import check_numbers, check_once, check_words
from harness.core.paths import ROOT
from harness.core.progress import say
from harness.core.protocols import WHOLE
from harness.core.records import Records
from harness.core.rows import NetworkRow
from scenarios.datasets import Dataset

Table = Records[NetworkRow]
ACCURACIES = ("validation_accuracy", "test_accuracy")
PUBLISHED = ROOT / "results" / "nas"


def open_table(path: Path | None, out: Path, dataset: str) -> Table:
    """The whole-set table of a survey: that of --whole-table, or one in its output folder."""
    return Records(path or out / _file_name(dataset), NetworkRow)


def published(dataset: str) -> Table:
    """The whole-set table that comes with the code, only to be read; without rows if the data set has none."""
    return Records(PUBLISHED / _file_name(dataset), NetworkRow)


def read_networks(records: Table, by_hand: bool = False) -> list[NetworkRow]:
    """The rows of a survey or a table, if every cell is there once and every measured value is possible.

    Args:
        records: the survey's or the table's.
        by_hand: the file may have been put together from several, so identical rows count as one.

    Raises:
        ValueError: a cell is there twice, a number is impossible, or the file is damaged in another way.
    """
    rows, where = records.read(), records.path
    check_once(rows.drop_duplicates() if by_hand else rows, where)
    check_words(rows, "status", ("ok", "diverged"), where)
    check_numbers(rows, NetworkRow, ACCURACIES, where, unmeasured=rows["status"] == "diverged")
    return records.rows()


def check(table: Table, split: Dataset, whole_name: str) -> None:
    """Raise ValueError unless every row of the table is of these images and this whole-set training.

    Also if the table is damaged or has another schema.
    """
    rows = read_networks(table, by_hand=True)
    _check_images(table.path, rows, split)
    if any(row.proxy != WHOLE for row in rows):
        raise ValueError(f"{table.path} holds rows of proxies: give a table of whole-set accuracies only")
    others = sorted({row.recipe for row in rows} - {whole_name})
    if others:
        raise ValueError(
            f"{table.path} holds whole-set accuracies of {others[0]}, which are not comparable with {whole_name}: "
            f"give --recipe {others[0]}, or another --whole-table or --out"
        )


def adopt(records: Table, table: Table, dataset: str, cells: Set[str]) -> None:
    """Copy rows of the survey's cells into its records from whole-set tables: its own and the published one."""
    for source in (table, published(dataset)):
        if rows := source.rows(cells - records.finished()):
            say(f"{len(rows)} whole-set networks come from {source.path}")
            _append(records, rows)


def read_foreign(path: Path, split: Dataset) -> list[NetworkRow]:
    """The rows of a CSV from another machine.

    Raises:
        ValueError: no such file, or it is damaged, without rows, of another schema or of other images.
    """
    if not path.exists():
        raise ValueError(f"cannot merge {path}: there is no such file")
    rows = read_networks(Records(path, NetworkRow), by_hand=True)
    if not rows:
        raise ValueError(f"cannot merge {path}: it has no rows; leave it out, or copy it again")
    _check_images(path, rows, split)
    return rows


def check_foreign(path: Path, split: Dataset, whole_name: str, proxies: Collection[str]) -> None:
    """Raise ValueError early for a CSV that `merge`, after hours of condensing, would refuse, as far as names tell."""
    rows = read_foreign(path, split)
    if not any(_is_whole(row, whole_name) or row.proxy in {*proxies} - {WHOLE} for row in rows):
        raise _of_another(path)


def merge(path: Path, records: Table, table: Table, split: Dataset, whole_name: str, cells: Collection[str]) -> None:
    """Add the rows of a CSV from another machine: those of the survey to its records, whole-set rows to its table.

    Raises:
        ValueError: as `read_foreign`, or it holds no row to add.
    """
    rows = read_foreign(path, split)
    mine = [row for row in rows if row.cell in cells]
    whole = [row for row in rows if _is_whole(row, whole_name)]
    if not mine and not whole:
        raise _of_another(path)
    _append(records, mine)
    _append(table, whole)
    say(f"merged {path}: {len(mine)} of its {len(rows)} rows are of this survey")


def _is_whole(row: NetworkRow, whole_name: str) -> bool:
    return (row.proxy, row.recipe) == (WHOLE, whole_name)


def _of_another(path: Path) -> ValueError:
    return ValueError(f"no row of {path} belongs to this survey: were the flags the same on that machine?")


def _check_images(path: Path, rows: Sequence[NetworkRow], split: Dataset) -> None:
    if other := next((row for row in rows if row.dataset_checksum != split.checksum), None):
        raise ValueError(
            f"{path} is of {other.dataset} with {other.validation} validation images per class "
            f"({other.dataset_checksum}), not of this {split.name} ({split.checksum}): leave it out, or choose "
            "another --dataset, --resolution, --validation or --out"
        )


def _append(records: Table, rows: Sequence[NetworkRow]) -> None:
    # A table that was put together by hand may hold a cell twice: its first row counts.
    first = {row.cell: row for row in reversed(rows)}
    if rows:
        records.append([row for row in rows if first[row.cell] is row])


def _file_name(dataset: str) -> str:
    return f"whole_{dataset}.csv"
