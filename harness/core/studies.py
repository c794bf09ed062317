"""The studies of Optuna that a queue works through, and that `optuna-dashboard` shows."""

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from harness.core import storage as storages
from harness.core.patience import LONGEST, patient_methods
from harness.core.progress import MINUTE, say
from harness.core.records import PAUSE

HEARTBEAT = "HARNESS_HEARTBEAT"  # environment: seconds between two signs of life of a worker, 10 if it is not set
ATTEMPTS = 3  # at connecting, while other processes may be making the same tables
STARTUP = 10  # random trials before a sampler learns from them
UNPRUNED = 5  # complete trials before one is pruned
GRACE = 3  # heartbeats that a worker may miss before its trial is given to another


@dataclass(frozen=True)
class Board:
    """Trials that a dashboard shows as one study.

    Attributes:
        name: what the trials have in common, as a part of the study's name; empty for all trials of a run.
        objective: what the number of a trial is. More of it is better.
    """

    name: str = ""
    objective: str = "value"


ONE_BOARD = Board()
ACCURACY = Board(objective="accuracy")


@patient_methods
class _Storage(RDBStorage):
    """Optuna's storage, but it waits for a database that is lost, and sends a heartbeat before a trial is taken.

    Optuna takes the trial first. If its worker is killed before the first heartbeat, the trial is never given back. A
    write that is repeated because the connection was lost before the answer came does no harm: a trial of a finished
    cell does nothing, and a trial that only seems taken is given back when its heartbeats stop.
    """

    _said = -math.inf

    def say_lost(self) -> None:
        """Say that the database is lost, once for all threads that wait for it."""
        if time.monotonic() - self._said > MINUTE:
            self._said = time.monotonic()
            say(f"the database {storages.shown(self.url)} does not answer: trying again for {LONGEST / 60:.0f} minutes")

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set the state as Optuna does, after a heartbeat if the trial starts to run."""
        if state == TrialState.RUNNING and self.get_heartbeat_interval():
            self.record_heartbeat(trial_id)
        return super().set_trial_state_values(trial_id, state, values)


def open_storage(url: sqlalchemy.URL, heartbeat: bool = True) -> RDBStorage:
    """The database behind studies.

    Args:
        url: where the database is.
        heartbeat: whether workers give signs of life, so that the trials of a dead worker are given to another.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    seconds = int(os.environ.get(HEARTBEAT, "10"))
    # Writers to SQLite give up after 5 s by default; servers drop connections that were idle during a long cell.
    patience = {"connect_args": {"timeout": 60}} if url.get_backend_name() == "sqlite" else {"pool_pre_ping": True}
    with quiet():
        return _connected(
            lambda: _Storage(
                storages.text(url),
                engine_kwargs=patience,
                heartbeat_interval=seconds if heartbeat else None,
                grace_period=GRACE * seconds if heartbeat else None,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
            )
        )


def open_study(name: str, storage: RDBStorage, objective: str) -> optuna.Study:
    """The study of that name, made if need be, in which more of the objective is better."""
    # Trials are enqueued or added, and none is sampled, so the cheapest sampler will do.
    sampler = optuna.samplers.RandomSampler()
    study = optuna.create_study(
        storage=storage, study_name=name, sampler=sampler, direction="maximize", load_if_exists=True
    )
    with quiet():
        study.set_metric_names([objective])
    return study


def _connected(connect: Callable[[], RDBStorage]) -> RDBStorage:
    """Connect, and try again if it fails: another process may be making the tables, which no lock of ours covers."""
    for _ in range(ATTEMPTS - 1):
        with suppress(SQLAlchemyError, StorageInternalError):
            return connect()
        time.sleep(PAUSE)
    return connect()


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the warnings that heartbeats (since Optuna 2.6) and names of objectives (since 3.2) are experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
