"""Cells spread over processes, GPUs and machines: an Optuna storage is the queue, the records are the truth.

    python -m harness.continual --workers 3                                       three processes on this machine
    python -m harness.continual --storage postgresql+psycopg://USER@HOST/NAME     one of many, wherever it is started

The storage says who takes which cell next, gives back what a dead worker had, and shows in `optuna-dashboard` how far
a run is. It may be lost at any time: the study is rebuilt from the records. All workers of a run share its output
folder, also across machines: rows, claims and the queue's lock are files there, so its file system must lock files
across these machines.
"""

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass

import optuna
import sqlalchemy
from optuna.distributions import CategoricalDistribution
from optuna.exceptions import ExperimentalWarning, StorageInternalError, UpdateFinishedTrialError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from harness.core import storage as storages
from harness.core.records import PAUSE, Records
from harness.core.seeds import config_key
from harness.core.workers import further_workers

HEARTBEAT = "HARNESS_HEARTBEAT"  # environment: seconds between two signs of life of a worker, 10 if it is not set
ATTEMPTS = 3  # at connecting, while other processes may be making the same tables
GRACE = 3  # heartbeats that a worker may miss before its trial is given to another


@dataclass(frozen=True)
class Job:
    """What a worker takes at a time.

    Attributes:
        cell: key in the records, and the job's name in the study.
        params: what a dashboard shows of it.
        also: keys of further cells that belong to it. Taking a job is slow while thousands wait, so short cells are
            best taken several at a time.
    """

    cell: str
    params: Mapping[str, str | int | float]
    also: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[str, ...]:
        """The keys of all its cells."""
        return self.cell, *self.also

    def done(self, finished: AbstractSet[str]) -> bool:
        """Whether all its cells are among the finished ones."""
        return finished >= set(self.cells)


def run_jobs(
    jobs: Sequence[Job],
    execute: Callable[[Job], float],
    records: Records,
    study: str,
    storage: str | None,
    workers: int,
) -> None:
    """Return when the cells of every job are in the records, whichever process put it there.

    Args:
        jobs: the cells, in the order in which they are taken.
        execute: does the work of each cell under `records.claim` and appends its rows. Returns the number that a
            dashboard shows, or nan. For finished cells it does nothing else; it may do nothing while another live
            process has the cell, or makes what the cell needs, and is called again later.
        records: where the cells end up.
        study: what the jobs are; the study's name is this and a hash of the jobs.
        storage: URL of a database that every worker reaches. None: `queue.db` beside the records, or, with one worker,
            no queue at all.
        workers: processes on this machine, this one included.

    Raises:
        ValueError: the storage is no database, its driver is missing or it cannot be used; `workers` is below 1, or
            above 1 where there is no command line to repeat.
    """
    check(storage, workers)
    if storages.asked(storage) is None and workers == 1:
        return _run_here(jobs, execute, records)
    url = storages.url_of(storage, records.path.parent)
    with storages.one_line_errors(url):
        queue = _Queue(jobs, execute, records, study, url)
        if not _unfinished(jobs, records):
            return None
        with further_workers(workers, storages.text(url), records.path.parent / "workers") as say_dead:
            while _unfinished(jobs, records):
                say_dead()
                if not queue.take():
                    time.sleep(PAUSE)
    return None


def check(storage: str | None, workers: int) -> None:
    """Raise ValueError, before hours are spent, for what `run_jobs` would refuse."""
    if workers < 1:
        raise ValueError(f"--workers is {workers}; give at least 1")
    if storage := storages.asked(storage):
        storages.connectable(storage)


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
    """The jobs as trials of a study. Who has which trial changes under one lock of the output folder only.

    Without the lock two workers can take the same trial from SQLite, which locks no rows, and a worker that is too late
    for the last trial makes Optuna invent another. Both have happened.
    """

    def __init__(
        self, jobs: Sequence[Job], execute: Callable[[Job], float], records: Records, study: str, url: sqlalchemy.URL
    ) -> None:
        self.jobs = {job.cell: job for job in jobs}
        self.choices = _choices(jobs)
        self.execute = execute
        self.records = records
        # Named by a hash of all jobs, so that changed flags never meet the queue of other jobs.
        name = f"{study}-{config_key({cell: asdict(job) for cell, job in self.jobs.items()})}"
        with self.records.lock("queue"):
            self.study = open_study(name, url)
            self._filled()

    def take(self) -> bool:
        """Do the next waiting job; False if none is waiting at the moment."""
        with ExitStack() as alone:
            alone.enter_context(self.records.lock("queue"))
            if not any(trial.state == TrialState.WAITING for trial in self._filled()):
                return False
            self._optimize(taken=alone.close)
        return True

    def _optimize(self, taken: Callable[[], None]) -> None:
        done = []

        def objective(trial: optuna.Trial) -> float:
            taken()
            if "cell" not in trial.user_attrs:
                # Optuna invented this trial: a run with another output folder, so without our lock, took the last one.
                raise optuna.TrialPruned
            job = self.jobs[trial.user_attrs["cell"]]
            for name in job.params:
                trial.suggest_categorical(name, self.choices[name])
            value = self._execute(job)
            done.append(trial)
            return value

        try:
            # Not ask and tell, between which Optuna sends no heartbeats.
            self.study.optimize(objective, n_trials=1)
        except (AssertionError, ValueError, UpdateFinishedTrialError):
            # Optuna 5 raises these if the trial is over already: this process slept for so long that others took it
            # for dead. If the work was done all the same, nothing is wrong.
            if not done:
                raise

    def _filled(self) -> list[FrozenTrial]:
        """The trials that are not over, with what dead workers had given back.

        If there are none, nobody is at work, and the study is filled from the records.
        """
        with _quiet():
            fail_stale_trials(self.study)
        if trials := self._trials(TrialState.WAITING, TrialState.RUNNING):
            return trials
        self._fill()
        return self._trials(TrialState.WAITING, TrialState.RUNNING)

    def _fill(self) -> None:
        finished = self.records.finished()
        shown = {trial.user_attrs["cell"] for trial in self._trials(TrialState.COMPLETE)}
        for job in self.jobs.values():
            if not job.done(finished):
                self.study.enqueue_trial(dict(job.params), user_attrs={"cell": job.cell})
            elif job.cell not in shown:
                self._show(job)

    def _show(self, job: Job) -> None:
        distributions = {name: CategoricalDistribution(self.choices[name]) for name in job.params}
        trial = optuna.create_trial(
            value=self._execute(job),
            params=dict(job.params),
            distributions=distributions,
            user_attrs={"cell": job.cell},
        )
        self.study.add_trial(trial)

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)

    def _execute(self, job: Job) -> float:
        """Execute until its cells are in the records: a live process outside the queue may have them."""
        value = self.execute(job)
        while _unfinished([job], self.records):
            time.sleep(PAUSE)
            value = self.execute(job)
        # Optuna counts a trial with nan as failed. This one is done but has no number, so it ranks last.
        return -math.inf if math.isnan(value) else float(value)


def _choices(jobs: Sequence[Job]) -> dict[str, list[str | int | float]]:
    """All values of each parameter. Sorted, for Optuna refuses the same choices in another order."""
    values: dict[str, set[str | int | float]] = {}
    for job in jobs:
        for name, value in job.params.items():
            values.setdefault(name, set()).add(value)
    return {name: sorted(each, key=lambda value: (isinstance(value, str), value)) for name, each in values.items()}


class _Storage(RDBStorage):
    """Optuna's, but with a heartbeat before a trial is taken.

    Optuna takes the trial first; if its worker is killed in between, a trial without heartbeats is never given back.
    """

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """As Optuna's."""
        if state == TrialState.RUNNING:
            self.record_heartbeat(trial_id)
        return super().set_trial_state_values(trial_id, state, values)


def open_study(name: str, url: sqlalchemy.URL) -> optuna.Study:
    """The study of that name, made if need be; its workers give signs of life."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seconds = int(os.environ.get(HEARTBEAT, "10"))
    # Writers to SQLite give up after 5 s by default; servers drop connections that were idle during a long cell.
    patience = {"connect_args": {"timeout": 60}} if url.get_backend_name() == "sqlite" else {"pool_pre_ping": True}
    with _quiet():
        storage = _patiently(
            lambda: _Storage(
                storages.text(url),
                engine_kwargs=patience,
                heartbeat_interval=seconds,
                grace_period=GRACE * seconds,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
            )
        )
    # All trials are enqueued and none is sampled, so the cheapest sampler will do.
    sampler = optuna.samplers.RandomSampler()
    return optuna.create_study(
        storage=storage, study_name=name, sampler=sampler, direction="maximize", load_if_exists=True
    )


def _patiently(connect: Callable[[], RDBStorage]) -> RDBStorage:
    """Connect, and try again if it fails: another process may be making the tables, which no lock of ours covers."""
    for _ in range(ATTEMPTS - 1):
        with suppress(SQLAlchemyError, StorageInternalError):
            return connect()
        time.sleep(PAUSE)
    return connect()


@contextmanager
def _quiet() -> Iterator[None]:
    # Heartbeats have been experimental since Optuna 2.6.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
