"""Searches that do not train every architecture: trials suggested one after another, most of them stopped early.

A search is one study of Optuna's over the axes of a space, on one proxy: by tree-structured Parzen estimators, by
evolution, or at random. The first two prune: a network whose validation accuracy is below the median of earlier ones
at the same epoch is stopped. Test images play no part. A search is one cell of `search.csv`: its trials appear
together, or it is run anew. Replicate r trains the networks that replicate r of a survey would. All samplers begin a
replicate with the same random trials, so that they can be compared in pairs.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from statistics import fmean

import optuna
import pandas as pd
import sqlalchemy
import torch
from optuna.trial import FrozenTrial

from condensers.device.training import accuracy, train
from harness.core.cells import Cell, run_cells, unfinished
from harness.core.checks import check_counted, check_numbers, check_words, damage
from harness.core.devices import name_of
from harness.core.progress import bar, say
from harness.core.records import Records, origin_of
from harness.core.rows import NetworkRow, TrialRow
from harness.core.schema import Provenance
from harness.core.seeds import config_key, seed_of
from harness.core.studies import UNPRUNED, Board, open_storage, open_study
from harness.core.work import Work
from harness.nas import tables
from harness.nas.candidates import (
    VALIDATION,
    about,
    candidates,
    config_of,
    has_converged,
    make_memories,
    proxies,
)
from harness.nas.proxies import Proxy, of_whole
from harness.nas.samplers import METHODS, REPORTS
from harness.nas.survey import Survey
from search_spaces.spaces import BUILT_IN, Architecture


@dataclass(frozen=True)
class Search:
    """One search: what a cell of `search.csv` is about."""

    proxy: Proxy
    sampler: str
    replicate: int
    trials: int
    config: str
    key: str


def run_searches(survey: Survey, samplers: Sequence[str], trials: int, replicates: int) -> set[str]:
    """Run every search that is not in the records; if the work is queued, its database shows finished trials, too.

    Args:
        survey: proxies, space and training. The whole set is not trained on.
        samplers: keys of METHODS.
        trials: how many each search has.
        replicates: searches per proxy and sampler.

    Returns:
        The keys of all searches.

    Raises:
        ValueError: a storage that cannot be used, or records that are damaged.
    """
    records = records_of(survey)
    url = survey.sharing.url(survey.out)
    make_memories(survey)
    every = cells(survey, searches(survey, samplers, trials, replicates), url)
    check(survey, {cell.key: trials for cell in every})
    say(f"{len(every)} searches of {trials} trials, {len(unfinished(every, records))} of them to be run")
    run_cells(every, records, f"searches-{survey.dataset.identity}", survey.sharing, _best_accuracy)
    return {cell.key for cell in every}


def records_of(survey: Survey) -> Records[TrialRow]:
    """The CSV of the searches."""
    return Records(survey.out / "search.csv", TrialRow)


def check(survey: Survey, trials: Mapping[str, int]) -> None:
    """Raise ValueError unless the rows of all searches in the records are whole and possible.

    Args:
        survey: what is searched.
        trials: how many each search has, by the key of its cell.
    """
    rows, where = records_of(survey).read(), records_of(survey).path
    check_words(rows, "status", ("complete", "pruned", "diverged", "repeated"), where)
    lost = rows["status"].isin(("diverged", "repeated")) & rows["validation_accuracy"].isna()
    check_numbers(rows, TrialRow, ("validation_accuracy",), where, unmeasured=lost)
    check_counted(rows, "trial", trials, where)
    own = rows[rows["cell"].isin(trials)]
    check_words(own, "architecture", {one.name for one in survey.space}, where)
    for cell, search in own.groupby("cell"):
        _check_choice(search.sort_values("trial"), cell, where)


def _check_choice(search: pd.DataFrame, cell: object, where: Path) -> None:
    """Raise ValueError unless `best` of each trial is the most accurate complete one so far, the first if some tie."""
    best, most = "", -math.inf
    for trial in search.itertuples():
        if trial.status == "complete" and trial.validation_accuracy > most:
            best, most = trial.architecture, trial.validation_accuracy
        if trial.best != best:
            raise damage(where, cell, f"ends trial {trial.trial} with {trial.best!r} as the best, not with {best!r}")


def whole_networks(survey: Survey) -> list[NetworkRow]:
    """The networks of the space that were trained on the whole set as the survey would, as far as any table has them.

    Several tables may hold the same network; if their rows differ, the first table counts.
    """
    whole = of_whole(survey.on_device.train, survey.whole, survey.whole_name)
    keys = {one.key for one in candidates(survey, [whole])}
    sources = (survey.table, tables.published(survey.dataset.identity), survey.records)
    rows = [row for source in sources for row in source.rows(keys)]
    return list({row.cell: row for row in reversed(rows)}.values())


def whole_accuracies(survey: Survey) -> pd.Series:
    """Test accuracy of the first whole-set network by architecture name, where it is known.

    Zero for a network that diverged.
    """
    known = {row.architecture: row.test_accuracy for row in whole_networks(survey) if row.network_replicate == 0}
    return pd.Series(known, dtype=float).fillna(0.0)


def cells(survey: Survey, every: Sequence[Search], storage: sqlalchemy.URL | None = None) -> list[Cell]:
    """The cells of searches; the storage, if there is one, shows their studies."""
    return [
        Cell(
            one.key,
            _params(one),
            partial(_run, survey, one, storage),
            _work(survey, one),
            Board(one.proxy.name, VALIDATION),
        )
        for one in every
    ]


def _work(survey: Survey, one: Search) -> Work:
    return work_of(survey, one.proxy.training.epochs * one.proxy.images, one.trials)


def work_of(survey: Survey, images: int, trials: int) -> Work:
    """The most that a search takes: trials of an average architecture, none of them stopped early or tried before."""
    macs = fmean(one.macs(survey.dataset.shape, survey.dataset.classes) for one in survey.space)
    return Work.of(2 * macs, forward=trials * len(survey.dataset.test), trained=trials * images)


def searches(survey: Survey, samplers: Sequence[str], trials: int, replicates: int) -> list[Search]:
    """The searches, replicate by replicate, so that samplers can be compared as early as possible."""
    sources = {source.name: source for source in proxies(survey)}
    return [
        Search(sources[name], sampler, replicate, trials, config, _key(survey, config, sampler, replicate, trials))
        for name in survey.proxies
        for config in (config_key(config_of(survey, sources[name])),)
        for replicate in range(replicates)
        for sampler in dict.fromkeys(samplers)
    ]


def _key(survey: Survey, config: str, sampler: str, replicate: int, trials: int) -> str:
    own = {"space": survey.space.name, "sampler": sampler, "method": METHODS[sampler].says}
    # A plugin may change what is in its space; what is in those of this project follows from their names.
    own |= {} if survey.space in BUILT_IN else {"axes": survey.space.axes}
    return config_key(own | {"config": config, "search": replicate, "trials": trials})


def _params(search: Search) -> dict[str, str | int]:
    return {"sampler": search.sampler, "search": search.replicate}


def _best_accuracy(rows: Sequence[TrialRow]) -> float:
    return max((row.validation_accuracy for row in rows if row.status == "complete"), default=math.nan)


def _run(survey: Survey, search: Search, storage: sqlalchemy.URL | None) -> list[TrialRow]:
    """The rows of a search. Its study is kept in memory, so no database slows it; the storage gets finished trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    method, trials = METHODS[search.sampler], _Trials(survey, search)
    seed = (
        seed_of(survey.dataset.identity, survey.seed, "nas", "search", search.replicate) % 2**32
    )  # as NumPy takes them
    study = optuna.create_study(
        direction="maximize",
        sampler=method.sampler(survey.space.axes, seed),
        pruner=optuna.pruners.MedianPruner(UNPRUNED) if method.prunes else optuna.pruners.NopPruner(),
    )
    shows = [] if storage is None else [_show_in(storage, survey, search)]
    with bar(search.trials, f"{search.sampler} on {search.proxy.name}", "trials", _work(survey, search).gflop) as shown:
        trials.warm_up()
        study.optimize(trials, n_trials=search.trials, callbacks=[*shows, lambda study, trial: shown.update()])
    return trials.rows


def _show_in(url: sqlalchemy.URL, survey: Survey, search: Search) -> Callable[[optuna.Study, FrozenTrial], None]:
    """A callback that adds finished trials to a new study in the storage; a killed search's study is deleted first.

    The study's name includes the output folder, because another folder may be running the same search on the storage.
    """
    folder = records_of(survey).folder_id()
    own = (survey.dataset.identity, search.proxy.name, search.sampler, search.replicate, search.key, folder)
    name, storage = "-".join(map(str, ("search", *own))), open_storage(url)
    if open_study(name, storage, VALIDATION).get_trials(deepcopy=False):
        optuna.delete_study(study_name=name, storage=storage)
    stored = open_study(name, storage, VALIDATION)
    for key, value in _about(survey, search).items():
        stored.set_user_attr(key, value)
    return lambda study, trial: stored.add_trial(trial)


def _about(survey: Survey, search: Search) -> dict[str, str | int]:
    """What a dashboard shows about a whole search."""
    return {
        "dataset": survey.dataset.name,
        "space": survey.space.name,
        "proxy": search.proxy.name,
        "recipe": search.proxy.training_name,
        "epochs": search.proxy.training.epochs,
        "sampler": METHODS[search.sampler].says,
        "search": search.replicate,
    }


@dataclass(frozen=True)
class _Outcome:
    """The result of training an architecture; `reports` are validation accuracies by epoch, before the last one."""

    status: str
    value: float
    epochs: int
    seconds: float
    reports: dict[int, float]


@dataclass
class _Watch:
    """Called after every epoch: at a rung it reports the validation accuracy to the trial, and may stop the training.

    Raises:
        optuna.TrialPruned: the pruner stops the network here.
    """

    trial: optuna.Trial
    network: torch.nn.Module
    measure: Callable[[], float]
    rungs: frozenset[int]
    epochs: int = 0
    reports: dict[int, float] = field(default_factory=dict)

    def __call__(self, _: int) -> None:
        self.epochs += 1
        if self.epochs not in self.rungs:
            return
        self.reports[self.epochs] = self.measure()
        self.network.train()  # measuring leaves it in evaluation mode
        self.trial.report(self.reports[self.epochs], self.epochs)
        if self.trial.should_prune():
            raise optuna.TrialPruned


@dataclass
class _Trials:
    """The objective of a search. Trains each architecture once, and keeps a row of every trial."""

    survey: Survey
    search: Search
    outcomes: dict[Architecture, _Outcome] = field(default_factory=dict)
    rows: list[TrialRow] = field(default_factory=list)

    def __call__(self, trial: optuna.Trial) -> float:
        axes = self.survey.space.axes.items()
        architecture = Architecture(**{axis: trial.suggest_categorical(axis, values) for axis, values in axes})
        repeated = architecture in self.outcomes
        if repeated:
            for epoch, value in self.outcomes[architecture].reports.items():
                trial.report(value, epoch)
        else:
            self.outcomes[architecture] = self._train(architecture, trial)
        outcome = self.outcomes[architecture]
        self.rows.append(self._row(architecture, outcome, repeated))
        for name, value in about(self.survey, architecture).items():
            trial.set_user_attr(name, value)
        trial.set_user_attr("epochs trained", self.rows[-1].epochs_trained)
        if outcome.status == "pruned":
            raise optuna.TrialPruned
        # Minus infinity, because Optuna counts a trial with nan as failed, and the sampler would learn nothing from it.
        return -math.inf if math.isnan(outcome.value) else outcome.value

    def warm_up(self) -> None:
        """Train an epoch for nothing, so that one-time costs of the process are not in the first trial's time."""
        proxy = self.search.proxy
        training = replace(proxy.training, epochs=1)
        train(self.survey.new_network(self.survey.architectures[0], seed=0), *proxy.data, training, seed=0)

    def _train(self, architecture: Architecture, trial: optuna.Trial) -> _Outcome:
        proxy, split = self.search.proxy, self.survey.on_device.test
        seed = self.survey.network_seed(architecture, "proxy", proxy.memory_replicate, self.search.replicate)
        network = self.survey.new_network(architecture, seed)
        measure = partial(accuracy, network, split, proxy.training.chunk)
        rungs = _rungs(proxy.training.epochs) if METHODS[self.search.sampler].prunes else frozenset()
        watch, started = _Watch(trial, network, measure, rungs), time.perf_counter()
        with suppress(optuna.TrialPruned):
            train(network, *proxy.data, proxy.training, seed, watch)
        if watch.epochs < proxy.training.epochs:
            status, value = "pruned", watch.reports[watch.epochs]
        elif has_converged(network):
            status, value = "complete", measure()
        else:
            status, value = "diverged", math.nan
        return _Outcome(status, value, watch.epochs, time.perf_counter() - started, watch.reports)

    def _row(self, architecture: Architecture, outcome: _Outcome, repeated: bool) -> TrialRow:
        survey, search, proxy = self.survey, self.search, self.search.proxy
        return TrialRow(
            cell=search.key,
            dataset=survey.dataset.name,
            dataset_checksum=survey.dataset.checksum,
            validation=survey.validation,
            space=survey.space.name,
            proxy=proxy.name,
            memory_checksum=proxy.memory_checksum,
            config=search.config,
            recipe=proxy.training_name,
            epochs=proxy.training.epochs,
            sampler=search.sampler,
            search_replicate=search.replicate,
            trial=len(self.rows),
            architecture=architecture.name,
            status="repeated" if repeated else outcome.status,
            validation_accuracy=outcome.value,
            epochs_trained=0 if repeated else outcome.epochs,
            seconds=0.0 if repeated else outcome.seconds,
            best=self._best(),
            origin=self.origin,
        )

    @cached_property
    def origin(self) -> Provenance:
        """The device, precision and versions behind the rows."""
        return origin_of(name_of(self.survey.device), self.survey.precision, self.search.proxy.training.chunk)

    def _best(self) -> str | None:
        """The first of the complete architectures with the best validation accuracy."""
        complete = {each: found.value for each, found in self.outcomes.items() if found.status == "complete"}
        return max(complete, key=lambda architecture: complete[architecture]).name if complete else None


def _rungs(epochs: int) -> frozenset[int]:
    """The epochs after which a network may be stopped, evenly spaced."""
    return frozenset(round(epochs * report / REPORTS) for report in range(1, REPORTS)) - {0, epochs}
