"""The trials of a search: rows are the truth, and a study of Optuna follows them.

A trial has a row for each look at its memory: at rungs of the condensation, and at its end. The study suggests trials
and says which of them to prune. The study may be lost at any time: it is rebuilt from the rows.
"""

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from harness.core.checks import check_words, damage
from harness.core.records import Records
from harness.core.rows import RungRow
from harness.core.seeds import config_key
from harness.core.studies import STARTUP, UNPRUNED, open_storage, open_study, quiet

OBJECTIVE = "validation accuracy"
CONDENSER = "condenser"  # the user attribute of an Optuna trial that holds its condenser's name
STATUS = ("complete", "pruned", "diverged")
Parameters = dict[str, str | float]
SAMPLER = f"multivariate tree-structured Parzen estimators after {STARTUP}, median pruning after {UNPRUNED}"


@dataclass(frozen=True)
class Trial:
    """A finished trial: the rows of its looks, in their order, and what was chosen."""

    rows: tuple[RungRow, ...]
    parameters: Parameters

    @property
    def name(self) -> str:
        """The name of the condenser."""
        return self.rows[0].condenser

    @property
    def number(self) -> int:
        """Number of the trial in its search, from 0."""
        return self.rows[0].trial

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
        """The accuracy at the last look; nan if the memory diverged."""
        return self.rows[-1].accuracy


@dataclass(frozen=True)
class Course:
    """What every trial of a search goes through, and so what its rows must say.

    Attributes:
        search: key of the search.
        looks: iterations after which a memory is looked at; the last of them is the end.
        networks: how many are trained on a memory at the end; at the looks before it is one.
        parameters: names of what is chosen.
        name: from parameters to the name of their condenser.
    """

    search: str
    looks: Sequence[int]
    networks: int
    parameters: Collection[str]
    name: Callable[[Mapping[str, str | float]], str]

    def cell(self, condenser: str) -> str:
        """Key of the trial of a condenser."""
        return config_key({"search": self.search, "condenser": condenser})


def finished(records: Records[RungRow], course: Course) -> dict[str, Trial]:
    """The trials of a search in the records, by condenser, in order of their numbers.

    Raises:
        ValueError: the file is damaged: a trial lacks rows that it must have, or has others.
    """
    check_words(records.read(), "status", STATUS, records.path)
    found: dict[str, list[RungRow]] = {}
    for row in records.rows():
        if row.search == course.search:
            found.setdefault(row.cell, []).append(row)
    trials = sorted((_trial(rows, course, records) for rows in found.values()), key=lambda trial: trial.number)
    for one, other in pairwise(trials):
        if one.number == other.number:
            raise damage(records.path, other.rows[0].cell, f"is trial {one.number}, as cell {one.rows[0].cell} is")
    return {trial.name: trial for trial in trials}


def best(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial with the best accuracy, the first of several equals; None if no trial is complete."""
    complete = [trial for trial in trials if trial.status == "complete"]
    return max(complete, key=lambda trial: trial.accuracy, default=None)


def open_trials(
    name: str, url: sqlalchemy.URL, distributions: dict[str, BaseDistribution], known: Sequence[Trial]
) -> optuna.Study:
    """The study of that name, brought in line with the records.

    Trials that a killed run was working on are marked as failed, and trials that it recorded without telling the study
    are added. A study that knows of trials whose rows were deleted is made anew. Only one process may use the study, so
    its name must identify the output folder: processes of one folder work at a search one at a time, but processes of
    other folders may share the storage.
    """
    # No heartbeats: they are for trials that go from one worker to another, and these stay with one process.
    storage, names = open_storage(url, heartbeat=False), {trial.name for trial in known}
    study = open_study(name, storage, OBJECTIVE)
    if not _shown(study) <= names:
        optuna.delete_study(study_name=name, storage=storage)
        study = open_study(name, storage, OBJECTIVE)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED)
    for left in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
        study.tell(left.number, state=TrialState.FAIL)
    shown = _shown(study)
    study.add_trials([_frozen(trial, distributions) for trial in known if trial.name not in shown])
    return study


def _shown(study: optuna.Study) -> set[str]:
    """The condensers of the trials that a study knows of."""
    return {trial.user_attrs.get(CONDENSER, "") for trial in ended(study)}


def ended(study: optuna.Study) -> list[FrozenTrial]:
    """The trials of a study that are over and have not failed."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def suggest(
    study: optuna.Study, size: int, seed: int, distributions: dict[str, BaseDistribution]
) -> list[optuna.Trial]:
    """Ask for `size` trials at once; the same ones for the same seed and the same finished trials."""
    with quiet():
        # constant_liar: trials without a result count as bad ones, so that the trials of a batch differ.
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP, multivariate=True, constant_liar=True, seed=seed % 2**32
        )
        return [study.ask(distributions) for _ in range(size)]


def tell(study: optuna.Study, asked: optuna.Trial, trial: Trial, reported: bool) -> None:
    """Tell the study the result of a trial that it suggested, and the looks at rungs unless `reported` already."""
    asked.set_user_attr(CONDENSER, trial.name)
    for row in () if reported else trial.rungs:
        report(asked, row)
    if trial.status == "pruned":
        study.tell(asked, state=TrialState.PRUNED)
    else:
        study.tell(asked, _value(trial.accuracy))


def report(asked: optuna.Trial, row: RungRow) -> None:
    """Report the accuracy at one look to the study."""
    asked.report(_value(row.accuracy), row.iteration)


def _value(accuracy: float) -> float:
    """The accuracy, or -inf for nan: Optuna counts a trial with nan as failed and learns nothing from it."""
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


def _trial(rows: Sequence[RungRow], course: Course, records: Records[RungRow]) -> Trial:
    trial = Trial(tuple(rows), _parameters(rows[0], records))
    for fault, found in _faults(trial, course):
        if found:
            raise damage(records.path, rows[0].cell, fault)
    return trial


def _faults(trial: Trial, course: Course) -> Iterator[tuple[str, bool]]:
    """What can be wrong with the rows of a trial, and whether it is."""
    rows, count = trial.rows, len(trial.rows)
    yield "has rows that differ in more than what was seen at each look", len(set(map(_unseen, rows))) > 1
    yield "is not that of its condenser", rows[0].cell != course.cell(trial.name)
    yield "holds parameters that are not those of its condenser", not _is_named(trial, course)
    looks = list(course.looks[:count])
    said = f"has looks after {_listed(row.iteration for row in rows)} iterations, not after {_listed(looks)}"
    yield said, [row.iteration for row in rows] != looks
    whole, lost = count == len(course.looks), math.isnan(trial.accuracy)
    expected = [1] * (count - 1) + [course.networks if whole else 1]
    yield "has other numbers of networks than this search trains", [row.networks for row in rows] != expected
    yield "has no accuracy before its end", any(math.isnan(row.accuracy) for row in rows[:-1])
    ends = "diverged" if lost else "complete" if whole else "pruned"
    yield f"is said to be {trial.status}, and its rows are those of a trial that is {ends}", trial.status != ends


def _unseen(row: RungRow) -> RungRow:
    """A row without what differs from look to look."""
    return replace(row, iteration=0, networks=0, accuracy=0.0, seconds=0.0, memory_checksum="")


def _is_named(trial: Trial, course: Course) -> bool:
    try:
        return set(trial.parameters) == set(course.parameters) and course.name(trial.parameters) == trial.name
    except (KeyError, TypeError, ValueError, OverflowError):
        return False


def _listed(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))


def _parameters(row: RungRow, records: Records[RungRow]) -> Parameters:
    try:
        found = json.loads(row.parameters)
    except (ValueError, RecursionError) as error:
        raise damage(records.path, row.cell, f"holds parameters that are no JSON: {error}") from error
    if not isinstance(found, dict):
        raise damage(records.path, row.cell, "holds parameters that are no table")
    return found
