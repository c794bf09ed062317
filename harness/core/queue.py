"""Cells spread over processes, GPUs and machines: an Optuna storage is the queue, the records are the truth.

    python -m harness.continual --workers 3                                       three processes on this machine
    python -m harness.continual --storage postgresql+psycopg://USER@HOST/NAME     one of many, wherever it is started

The storage says who takes which cell next, gives back what a dead worker had, and shows in `optuna-dashboard` how far
a run is. It may be lost at any time: the study is rebuilt from the records. All workers of a run share its output
folder, also across machines: rows, claims and the queue's lock are files there, so its file system must lock files
across these machines.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

import optuna
import sqlalchemy
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

from harness.core import storage as storages
from harness.core.records import PAUSE, Records
from harness.core.seeds import config_key
from harness.core.studies import ONE_BOARD, Board, open_storage, open_study, quiet
from harness.core.workers import further_workers

Value = str | int | float


@dataclass(frozen=True)
class Job:
    """The cells that a worker takes at a time.

    Attributes:
        cell: key in the records, and the job's name in the study.
        params: the choices that a dashboard shows for the job: the parameters of a trial.
        also: keys of further cells of the job. Taking a job is slow while thousands wait, so short cells are best taken
            several at a time.
        board: the study that the job is a trial of.
        about: what else a dashboard shows of the job: the trial's user attributes.
    """

    cell: str
    params: Mapping[str, Value]
    also: tuple[str, ...] = ()
    board: Board = ONE_BOARD
    about: Mapping[str, Value] = field(default_factory=dict)

    @property
    def cells(self) -> tuple[str, ...]:
        """The keys of all its cells."""
        return self.cell, *self.also

    def done(self, finished: AbstractSet[str]) -> bool:
        """Whether all its cells are among the finished ones."""
        return finished >= set(self.cells)


@dataclass(frozen=True)
class Sharing:
    """Who does the work.

    Attributes:
        storage: URL of a database that every worker reaches. None: `queue.db` beside the records, or, with one worker,
            no queue at all.
        workers: processes on this machine, this one included.
    """

    storage: str | None = None
    workers: int = 1

    def check(self) -> None:
        """Raise ValueError, before hours are spent, for what `run_jobs` would refuse."""
        if self.workers < 1:
            raise ValueError(f"--workers is {self.workers}; give at least 1")
        if storage := storages.asked(self.storage):
            storages.connectable(storage)

    def url(self, folder: Path) -> sqlalchemy.URL | None:
        """The database of the queue for results in this folder; None if there is no queue."""
        queued = storages.asked(self.storage) is not None or self.workers > 1
        return storages.url_of(self.storage, folder) if queued else None


UNSHARED = Sharing()


def run_jobs(
    jobs: Sequence[Job],
    execute: Callable[[Job], float],
    records: Records,
    study: str,
    sharing: Sharing,
) -> None:
    """Return when the cells of every job are in the records, whichever process put it there.

    Args:
        jobs: the cells, in the order in which they are taken.
        execute: does the work of each cell under `records.claim` and appends its rows. Returns the number that a
            dashboard shows, or nan. For finished cells it does nothing else; it may do nothing while another live
            process has the cell, or makes what the cell needs, and is called again later.
        records: where the cells end up.
        study: a name for the jobs; a study is called by this name, its board's and a hash of the jobs.
        sharing: who does the work.

    Raises:
        ValueError: the storage is no database, its driver is missing or it cannot be used; `workers` is below 1, or
            above 1 where there is no command line to repeat.
    """
    sharing.check()
    records.sweep()
    url = sharing.url(records.path.parent)
    if url is None:
        return _run_here(jobs, execute, records)
    with storages.one_line_errors(url):
        queue = _Queue(jobs, execute, records, study, url)
        if not _unfinished(jobs, records):
            return None
        with further_workers(sharing.workers, storages.text(url), records.path.parent / "workers") as say_dead:
            while _unfinished(jobs, records):
                say_dead()
                if not queue.take():
                    time.sleep(PAUSE)
    return None


def _run_here(jobs: Sequence[Job], execute: Callable[[Job], float], records: Records) -> None:
    left = _unfinished(jobs, records)
    while left:
        for job in left:
            execute(job)
        if left := _unfinished(jobs, records):
            # Another live process holds what is left.
            time.sleep(PAUSE)


def _unfinished(jobs: Sequence[Job], records: Records) -> list[Job]:
    finished = records.finished()
    return [job for job in jobs if not job.done(finished)]


class _Queue:
    """The jobs as trials of studies. Trials are added, taken and given back only under one lock of the output folder.

    Without the lock two workers can take the same trial from SQLite, which locks no rows, and a worker that is too late
    for the last trial makes Optuna invent another. Both have happened.
    """

    def __init__(
        self, jobs: Sequence[Job], execute: Callable[[Job], float], records: Records, study: str, url: sqlalchemy.URL
    ) -> None:
        self.jobs = {job.cell: job for job in jobs}
        self.execute = execute
        self.records = records
        # Studies are named by a hash of all jobs, so that changed flags never continue the queue of other jobs.
        key = config_key({cell: asdict(job) for cell, job in self.jobs.items()})
        with self.records.lock("queue"):
            storage = open_storage(url)
            self.boards = deque(
                _Board(open_study("-".join(filter(None, (study, board.name, key))), storage, board.objective), own)
                for board, own in _by_board(self.jobs.values()).items()
            )
            for board in self.boards:
                self._filled(board)

    def take(self) -> bool:
        """Do the next waiting job; False if none is waiting at the moment.

        Boards take turns, so that the first jobs of each board are done first. No more boards are asked than necessary,
        because asking is slow while thousands of jobs wait.
        """
        with ExitStack() as alone:
            alone.enter_context(self.records.lock("queue"))
            for board in tuple(self.boards):
                self.boards.rotate(-1)
                if any(trial.state == TrialState.WAITING for trial in self._filled(board)):
                    self._optimize(board, taken=alone.close)
                    return True
        return False

    def _optimize(self, board: "_Board", taken: Callable[[], None]) -> None:
        settled = []

        def objective(trial: optuna.Trial) -> float:
            taken()
            job = self._described(trial, board)
            if job is None:
                settled.append(trial)  # there is no work in it
                raise optuna.TrialPruned
            value = self._execute(job)
            settled.append(trial)
            return value

        try:
            # Not `ask` and `tell`, because Optuna sends no heartbeats between them.
            board.study.optimize(objective, n_trials=1)
        except (AssertionError, ValueError, UpdateFinishedTrialError):
            # Optuna 5 raises these if the trial has ended already: this process slept for so long that others took it
            # for dead, or SQLite, which locks no rows, gave the trial also to a run with another output folder. If this
            # process has done the work, or there was none, nothing is wrong.
            if not settled:
                raise

    def _described(self, trial: optuna.Trial, board: "_Board") -> Job | None:
        """The job of a trial, after writing what it is about into the trial; None if there is no work for us in it."""
        if "cell" not in trial.user_attrs:
            # Optuna invented this trial: a run with another output folder, so without our lock, took the last one.
            return None
        job = self.jobs[trial.user_attrs["cell"]]
        try:
            for name in job.params:
                trial.suggest_categorical(name, board.choices[name])
            # Not written when the job was enqueued: taking a trial reads all waiting trials, with all that they hold.
            for name, told in job.about.items():
                trial.set_user_attr(name, told)
        except UpdateFinishedTrialError:
            # SQLite gave the trial to another run too, which has ended it by now. If our records still lack the cell,
            # it is enqueued again.
            return None
        return job

    def _filled(self, board: "_Board") -> list[FrozenTrial]:
        """The waiting and running trials, after the trials of dead workers were given back.

        If there are none, nobody works on the board, and its study is filled from the records.
        """
        with quiet():
            fail_stale_trials(board.study)
        if trials := board.trials(TrialState.WAITING, TrialState.RUNNING):
            return trials
        self._fill(board)
        return board.trials(TrialState.WAITING, TrialState.RUNNING)

    def _fill(self, board: "_Board") -> None:
        finished = self.records.finished()
        shown = {trial.user_attrs.get("cell") for trial in board.trials(TrialState.COMPLETE)}
        for job in board.jobs:
            if not job.done(finished):
                board.enqueue(job)
            elif job.cell not in shown:
                board.show(job, self._execute(job))

    def _execute(self, job: Job) -> float:
        """Execute a job until its cells are in the records: a live process outside the queue may hold them."""
        value = self.execute(job)
        while _unfinished([job], self.records):
            time.sleep(PAUSE)
            value = self.execute(job)
        # Optuna counts a trial with nan as failed. This one is done but has no number, so it ranks last.
        return -math.inf if math.isnan(value) else float(value)


class _Board:
    """A study and the jobs that are its trials."""

    def __init__(self, study: optuna.Study, jobs: Sequence[Job]) -> None:
        self.study = study
        self.jobs = jobs
        self.choices = _choices(jobs)
        for name, value in _common([job.about for job in jobs]).items():
            study.set_user_attr(name, value)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials in one of the states, in the order of their numbers."""
        return self.study.get_trials(deepcopy=False, states=states)

    def enqueue(self, job: Job) -> None:
        """Add a job as a waiting trial, which a worker can take."""
        self.study.enqueue_trial(dict(job.params), user_attrs={"cell": job.cell})

    def show(self, job: Job, value: float) -> None:
        """Add a job that is done already as a complete trial."""
        distributions = {name: CategoricalDistribution(self.choices[name]) for name in job.params}
        params, attributes = dict(job.params), {**job.about, "cell": job.cell}
        trial = optuna.create_trial(value=value, params=params, distributions=distributions, user_attrs=attributes)
        self.study.add_trial(trial)


def _common(abouts: Sequence[Mapping[str, Value]]) -> dict[str, Value]:
    """The entries that all jobs have in common: attributes of their study."""
    return {name: value for name, value in abouts[0].items() if all(name in a and a[name] == value for a in abouts)}


def _by_board(jobs: Iterable[Job]) -> dict[Board, list[Job]]:
    found: dict[Board, list[Job]] = {}
    for job in jobs:
        found.setdefault(job.board, []).append(job)
    return found


def _choices(jobs: Sequence[Job]) -> dict[str, list[Value]]:
    """All values of each parameter, sorted, because Optuna refuses the same choices in another order."""
    values: dict[str, set[Value]] = {}
    for job in jobs:
        for name, value in job.params.items():
            values.setdefault(name, set()).add(value)
    return {name: sorted(each, key=lambda value: (isinstance(value, str), value)) for name, each in values.items()}
