"""Small cells, and a process that runs them: `python cells_worker.py FOLDER SECONDS PER CELL [STORAGE]`."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.core.cells import Cell, run_cells
from harness.core.queue import Sharing
from harness.core.records import Records


@dataclass(frozen=True)
class NumberRow:
    cell: str
    step: int
    value: float


def records_in(folder: Path) -> Records[NumberRow]:
    return Records(folder / "numbers.csv", NumberRow)


def rows_of(key: str) -> list[NumberRow]:
    return [NumberRow(key, step, len(key) / 7 + step) for step in range(3)]


def cell_of(key: str, work: Callable[[], list[NumberRow] | None] | None = None, group: str = "") -> Cell:
    return Cell(key, {"group": group or key}, work or partial(rows_of, key))


def cells(seconds: float) -> list[Cell]:
    """Twelve cells in groups of three. Says on stdout which of them are begun."""

    def work(key: str) -> list[NumberRow]:
        print(key, flush=True)
        time.sleep(seconds)
        return rows_of(key)

    return [cell_of(f"cell-{n:02}", partial(work, f"cell-{n:02}"), f"group-{n // 3}") for n in range(12)]


if __name__ == "__main__":
    run_cells(cells(float(sys.argv[2])), records_in(Path(sys.argv[1])), "numbers", Sharing(*sys.argv[3:]))
