"""The trials of a search: rows are the truth, and a study of Optuna follows them.

A trial has a row for each look at its memory: at rungs of the condensation, and at its end. The study suggests trials
and says which of them to prune. It may be lost at any time: it is rebuilt from the rows.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from harness.core.checks import check_words, damage
from harness.core.records import Records
from harness.core.rows import RungRow
from harness.core.studies import open_storage, open_study, quiet

OBJECTIVE = "validation accuracy"
CONDENSER = "condenser"  # the attribute of a trial that names it
STATUS = ("complete", "pruned", "diverged")
STARTUP = 10  # random trials before the sampler learns from them
UNPRUNED = 5  # complete trials before one is pruned
SAMPLER = f"multivariate tree-structured Parzen estimators after {STARTUP}, median pruning after {UNPRUNED}"


@dataclass(frozen=True)
class Trial:
    """A finished trial: the rows of its looks, in their order, and what was chosen."""

    rows: tuple[RungRow, ...]
    parameters: dict[str, str | float]

    @property
    def name(self) -> str:
        """The condenser."""
        return self.rows[0].condenser

    @property
    def rungs(self) -> list[RungRow]:
        """The looks before the end."""
        return [row for row in self.rows if row.iteration < row.iterations]

    @property
    def status(self) -> str:
        """One of STATUS."""
        return self.rows[0].status

    @property
    def accuracy(self) -> float:
        """At the last look; nan if the memory diverged."""
        return self.rows[-1].accuracy


def finished(records: Records[RungRow], search: str) -> dict[str, Trial]:
    """The trials of a search in the records, by condenser, in their order.

    Raises:
        ValueError: the file is damaged.
    """
    check_words(records.read(), "status", STATUS, records.path)
    found: dict[str, list[RungRow]] = {}
    for row in records.rows():
        if row.search == search:
            found.setdefault(row.condenser, []).append(row)
    return {name: Trial(tuple(rows), _parameters(rows[0], records)) for name, rows in found.items()}


def best(trials: Sequence[Trial]) -> Trial | None:
    """The first of the complete trials with the best accuracy."""
    complete = [trial for trial in trials if trial.status == "complete"]
    return max(complete, key=lambda trial: trial.accuracy, default=None)


def open_trials(
    name: str, url: sqlalchemy.URL, distributions: dict[str, BaseDistribution], known: Sequence[Trial]
) -> optuna.Study:
    """The study of that name in line with the records.

    What a killed run was at has failed, and what it had recorded without telling the study is added. Only one process
    may have the study.
    """
    # No heartbeats: they are for trials that go from one worker to another, and these stay with one process.
    study = open_study(name, open_storage(url, heartbeat=False), OBJECTIVE)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED)
    for left in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(left.number, state=TrialState.FAIL)
    shown = {trial.user_attrs.get(CONDENSER) for trial in ended(study)}
    study.add_trials([_frozen(trial, distributions) for trial in known if trial.name not in shown])
    return study


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """The trials of a study that are over and have not failed."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def suggest(
    study: optuna.Study, size: int, seed: int, distributions: dict[str, BaseDistribution]
) -> list[optuna.Trial]:
    """So many trials at once; the same ones for the same seed and the same finished trials."""
    with quiet():
        # Waiting trials count as bad ones, so that a batch is not all of one kind.
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP, multivariate=True, constant_liar=True, seed=seed % 2**32
        )
        return [study.ask(distributions) for _ in range(size)]


def tell(study: optuna.Study, asked: optuna.Trial, trial: Trial, reported: bool) -> None:
    """What became of a trial that was asked for; with what it was at the rungs, unless that is reported already."""
    asked.set_user_attr(CONDENSER, trial.name)
    for row in () if reported else trial.rungs:
        report(asked, row)
    if trial.status == "pruned":
        study.tell(asked, state=TrialState.PRUNED)
    else:
        study.tell(asked, _value(trial.accuracy))


def report(asked: optuna.Trial, row: RungRow) -> None:
    """What a look at a trial has shown."""
    asked.report(_value(row.accuracy), row.iteration)


def _value(accuracy: float) -> float:
    """For Optuna, which counts a trial with nan as failed and learns nothing from it."""
    return -math.inf if math.isnan(accuracy) else accuracy


def _frozen(trial: Trial, distributions: dict[str, BaseDistribution]) -> FrozenTrial:
    looks = {row.iteration: _value(row.accuracy) for row in trial.rungs}
    return optuna.create_trial(
        state=TrialState.PRUNED if trial.status == "pruned" else TrialState.COMPLETE,
        value=_value(trial.accuracy),
        params=trial.parameters,
        distributions=distributions,
        user_attrs={CONDENSER: trial.name},
        intermediate_values=looks,
    )


def _parameters(row: RungRow, records: Records[RungRow]) -> dict[str, str | float]:
    try:
        return json.loads(row.parameters)
    except ValueError as error:
        raise damage(records.path, row.cell, f"holds parameters that are no JSON: {error}") from error
