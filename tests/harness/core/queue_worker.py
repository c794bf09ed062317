"""Small cells for a queue, and a worker of them: `python queue_worker.py FOLDER STORAGE [SECONDS PER CELL]`."""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.core.queue import Job, Sharing, run_jobs
from harness.core.records import Records


@dataclass(frozen=True)
class NumberRow:
    cell: str
    step: int
    value: float


JOBS = [Job(f"cell-{number}", {"number": number, "kind": "ab"[number % 2]}) for number in range(9)]


def records_in(folder: Path) -> Records[NumberRow]:
    return Records(folder / "cells.csv", NumberRow)


def execute_in(folder: Path, seconds: float = 0) -> Callable[[Job], float]:
    """What a worker does: cell-4 diverges. Says on stdout which cells it starts."""
    records = records_in(folder)

    def execute(job: Job) -> float:
        number = job.params["number"]
        value = math.nan if number == 4 else number / 7
        with records.claim(job.cell) as mine:
            if mine:
                print(job.cell, flush=True)
                time.sleep(seconds)
                records.append([NumberRow(job.cell, k, value + k) for k in range(2)])
        return value

    return execute


def work(folder: Path, storage: str | None, seconds: float = 0) -> None:
    run_jobs(JOBS, execute_in(folder, seconds), records_in(folder), "numbers", Sharing(storage))


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
