"""The rows of surveys, the tables of whole-set accuracies, and rows from other machines.

A row is one network: an architecture trained on a proxy, or on the whole set. It is a cell of its own, keyed by all
that decides its accuracies but rounding (device, threads, chunk), so that machines can share the work.
"""

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from harness.core.checks import check_numbers, check_once, check_words
from harness.core.paths import ROOT
from harness.core.progress import say
from harness.core.protocols import WHOLE
from harness.core.records import Records
from harness.core.schema import Provenance
from scenarios.datasets import Dataset


@dataclass(frozen=True, kw_only=True)
class NetworkRow:
    """One network of a survey.

    Attributes:
        cell: its key.
        dataset: name of the data set.
        dataset_checksum: of the split of it that `validation` leaves.
        validation: images per class that no proxy has seen.
        space: name of the search space.
        architecture: name of the network.
        index: its place in the space.
        width: channels of every block.
        depth: blocks.
        norm: of every block, and so are activation and pooling.
        activation: see there.
        pooling: see there.
        parameters: trained values.
        macs: multiply-accumulates of an image's forward pass.
        proxy: what it was trained on.
        memory_replicate: which draw of a memory.
        memory_checksum: of the memory's pixels and labels; empty for the whole set.
        config: key of all that decides the accuracies but architecture and network replicate.
        recipe: name of its training.
        epochs: of its training.
        steps: of the optimiser.
        ipc_stored: images per class that are kept.
        ipc_decoded: images per class that are trained on.
        stored_images: that are kept, of all classes.
        stored_bytes: that they take.
        network_replicate: which network of its architecture.
        validation_accuracy: a fraction; nan if the network diverged.
        test_accuracy: likewise.
        status: ok or diverged.
        seconds: of training.
        origin: where the row comes from.
    """

    cell: str
    dataset: str
    dataset_checksum: str
    validation: int
    space: str
    architecture: str
    index: int
    width: int
    depth: int
    norm: str
    activation: str
    pooling: str
    parameters: int
    macs: int
    proxy: str
    memory_replicate: int
    memory_checksum: str
    config: str
    recipe: str
    epochs: int
    steps: int
    ipc_stored: int
    ipc_decoded: int
    stored_images: int
    stored_bytes: int
    network_replicate: int
    validation_accuracy: float
    test_accuracy: float
    status: str
    seconds: float
    origin: Provenance


Table = Records[NetworkRow]
ACCURACIES = ("validation_accuracy", "test_accuracy")
PUBLISHED = ROOT / "results" / "nas"


def open_table(path: Path | None, out: Path, dataset: str) -> Table:
    """The whole-set table of a survey: the one named, or its own."""
    return Records(path or out / _file_name(dataset), NetworkRow)


def published(dataset: str) -> Table:
    """The table that comes with the code, to be read only; without rows where there is none."""
    return Records(PUBLISHED / _file_name(dataset), NetworkRow)


def read_networks(records: Table, by_hand: bool = False) -> list[NetworkRow]:
    """The rows of a survey or a table, if every cell is there once and all that was measured is possible.

    Args:
        records: the survey's or the table's.
        by_hand: the file may be several put together, so rows that are alike in everything count as one.

    Raises:
        ValueError: a cell is there twice, a number cannot be, or the file is damaged otherwise.
    """
    rows, where = records.read(), records.path
    check_once(rows.drop_duplicates() if by_hand else rows, where)
    check_words(rows, "status", ("ok", "diverged"), where)
    check_numbers(rows, NetworkRow, ACCURACIES, where, unmeasured=rows["status"] == "diverged")
    return records.rows()


def check(table: Table, split: Dataset, whole_name: str) -> None:
    """Raise ValueError unless every row of the table is of these images and this whole-set training.

    Also where the table is damaged or has another schema.
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
    """Add to a survey's records what whole-set tables, its own and the published one, have of its cells."""
    for source in (table, published(dataset)):
        if rows := source.rows(cells - records.finished()):
            say(f"{len(rows)} whole-set networks come from {source.path}")
            _append(records, rows)


def read_foreign(path: Path, split: Dataset) -> list[NetworkRow]:
    """The rows of a CSV from another machine.

    Raises:
        ValueError: no such file, or it is damaged, of another schema or of other images.
    """
    if not path.exists():
        raise ValueError(f"cannot merge {path}: there is no such file")
    rows = read_networks(Records(path, NetworkRow), by_hand=True)
    _check_images(path, rows, split)
    return rows


def merge(path: Path, records: Table, table: Table, split: Dataset, whole_name: str, cells: Collection[str]) -> None:
    """Add the rows of a CSV from another machine: those of the survey to its records, whole-set rows to its table.

    Raises:
        ValueError: as `read_foreign`, or it holds no row to add.
    """
    rows = read_foreign(path, split)
    mine = [row for row in rows if row.cell in cells]
    whole = [row for row in rows if (row.proxy, row.recipe) == (WHOLE, whole_name)]
    if not mine and not whole:
        raise ValueError(f"no row of {path} belongs to this survey: were the flags the same on that machine?")
    _append(records, mine)
    _append(table, whole)
    say(f"merged {path}: {len(mine)} of its {len(rows)} rows are of this survey")


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
