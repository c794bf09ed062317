"""A cell is the unit of work, and every command runs its cells here: finished cells are skipped, the others are
claimed, run and recorded, by all processes that share the output folder.

A new command is flags, cells and a report: it makes a `Cell` for each thing to do, gives them to `run_cells`, and
reports what is in the records.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby

from harness.core.progress import bar
from harness.core.queue import UNSHARED, Job, Sharing, Value, run_jobs
from harness.core.records import Records
from harness.core.schema import AnyRow, Row
from harness.core.studies import ONE_BOARD, Board
from harness.core.work import NONE, Work


@dataclass(frozen=True)
class Cell:
    """A unit of work: its rows appear together or not at all.

    Attributes:
        key: hash of all that decides its rows.
        shown: the choices that a dashboard shows for the cell. Consecutive cells of one board with equal choices form a
            job, which one worker takes.
        make: makes the cell's rows; returns None while another live process makes something that the cell needs.
        work: counted work of making the rows.
        board: the study of a dashboard that the cell belongs to.
        about: what else a dashboard shows of the cell.
        shared: work that the first of several cells does for all of them, such as condensing memories, by its name.
    """

    key: str
    shown: Mapping[str, Value]
    make: Callable[[], Sequence[Row] | None]
    work: Work = NONE
    board: Board = ONE_BOARD
    about: Mapping[str, Value] = field(default_factory=dict)
    shared: Mapping[str, Work] = field(default_factory=dict)


def work_of(cells: Iterable[Cell]) -> Work:
    """The work of these cells together; work that several of them share counts once."""
    cells = list(cells)
    shared = {name: work for cell in cells for name, work in cell.shared.items()}
    return sum((*(cell.work for cell in cells), *shared.values()), NONE)


def run_cells(
    cells: Sequence[Cell],
    records: Records[AnyRow],
    study: str,
    sharing: Sharing = UNSHARED,
    number: Callable[[Sequence[AnyRow]], float] = lambda rows: math.nan,
) -> None:
    """Return when every cell is in the records, whichever process put it there.

    Shows progress and the time left by counted work, because one cell may take an hour and another a second.

    Args:
        cells: in the order in which they are taken.
        records: where their rows are written.
        study: a name for these cells, shown by the bar and part of the names of the queue's studies.
        sharing: who does the work.
        number: from the rows of one job's cells to the number that a dashboard shows for the job; nan for none.

    Raises:
        ValueError: as `run_jobs`, or whatever making a cell's rows raises.
    """
    by_key = {cell.key: cell for cell in cells}
    left = by_key.keys() - records.finished()

    def effort(keys: Collection[str]) -> float:
        # One more GFLOP per cell hardly changes counted work; cells whose work is not counted then weigh the same.
        return len(keys) + work_of(by_key[key] for key in keys).gflop

    with bar(effort(left), study, f"0 of {len(left)} cells", counts=False) as shown:

        def execute(job: Job) -> float:
            with _together(job, records) as mine:
                for key in job.cells if mine else ():
                    _run(by_key[key], records)
                    finished = left & records.finished()  # by other workers, too
                    shown.stand(effort(finished), f"{len(finished)} of {len(left)} cells")
            rows = records.rows(set(job.cells))
            return number(rows) if rows else math.nan

        run_jobs(_jobs(list(by_key.values())), execute, records, study, sharing)


def unfinished(cells: Sequence[Cell], records: Records) -> list[Cell]:
    """The cells that are not in the records."""
    finished = records.finished()
    return [cell for cell in cells if cell.key not in finished]


def _jobs(cells: Sequence[Cell]) -> list[Job]:
    jobs = []
    for (board, shown), together in groupby(cells, lambda cell: (cell.board, cell.shown)):
        first, *also = together
        jobs.append(Job(first.key, shown, tuple(cell.key for cell in also), board, first.about))
    return jobs


@contextmanager
def _together(job: Job, records: Records) -> Iterator[bool]:
    """Claim all cells of a job at once: one run may make the rows of all of them, and two processes must not repeat it.

    Yields:
        True if the cells are this process's to run; False if another live process works on them.
    """
    if job.also:
        with records.claim(f"together-{job.cell}") as mine:
            yield mine
    else:
        yield True


def _run(cell: Cell, records: Records) -> None:
    """Run the cell unless it is finished, or another live process makes it or something that it needs."""
    if cell.key in records.finished():
        return
    with records.claim(cell.key) as mine:
        rows = cell.make() if mine else None
        if rows is not None:
            records.append(rows)
