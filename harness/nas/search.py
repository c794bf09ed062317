"""Searches that do not train every architecture: trials suggested one after another, most of them stopped early.

A search is one study of Optuna's over the axes of a space, on one proxy: by tree-structured Parzen estimators, by
evolution, or at random. The first two prune: a network whose validation accuracy is below the median of earlier ones
at the same epoch is stopped. Test images play no part. A search is one cell of `search.csv`: its trials appear
together, or it is run anew. Replicate r trains the networks that replicate r of a survey would, and its samplers share
their first trials, so that they are compared in pairs.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import optuna
import pandas as pd
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from condensers.device.training import accuracy, train
from harness.core.devices import name_of
from harness.core.progress import bar, say
from harness.core.queue import Job, open_study, run_jobs, url_of
from harness.core.records import PROVENANCE, Records, provenance
from harness.core.seeds import key_of, seed_of
from harness.nas import tables
from harness.nas.candidates import cells, config_of, has_converged, make_memories, new_network, proxies
from harness.nas.proxies import Proxy, of_whole
from harness.nas.survey import Survey
from search_spaces.spaces import Architecture

# Rows are trials. `seconds` are those of the trial; `best` is the architecture that the search would end with now.
COLUMNS = (
    "cell",
    "dataset",
    "dataset_checksum",
    "validation",
    "space",
    "proxy",
    "memory_checksum",
    "config",
    "recipe",
    "epochs",
    "sampler",
    "search_replicate",
    "trial",
    "architecture",
    "status",
    "validation_accuracy",
    "epochs_trained",
    "seconds",
    "best",
    *PROVENANCE,
)
STARTUP = 10  # random trials before a sampler learns from them
UNPRUNED = 5  # complete trials before one is pruned
REPORTS = 5  # looks at the validation accuracy in a network's training, the last one included
TOURNAMENT = 5


class AgingEvolution(optuna.samplers.RandomSampler):
    """Regularised evolution: the best of a few of the last STARTUP trials, with one axis changed at random.

    Pruned trials live, too, and rank below complete ones. Source: Real et al., "Regularized Evolution for Image
    Classifier Architecture Search" (2019).
    """

    def __init__(self, axes: dict[str, tuple], seed: int) -> None:
        super().__init__(seed)
        self.distributions = {axis: CategoricalDistribution(values) for axis, values in axes.items()}
        self.changing = [axis for axis, values in axes.items() if len(values) > 1]
        self.chance = random.Random(seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All axes."""
        return dict(self.distributions)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, str | int]:
        """A child; nothing, which makes the trial a random one, while there are too few to choose a parent from."""
        finished = [each for each in study.get_trials(deepcopy=False) if each.state.is_finished()]
        if len(finished) < STARTUP:
            return {}
        parent = max(self.chance.sample(finished[-STARTUP:], TOURNAMENT), key=_fitness)
        axis = self.chance.choice(self.changing)
        others = [value for value in self.distributions[axis].choices if value != parent.params[axis]]
        return parent.params | {axis: self.chance.choice(others)}


def _fitness(trial: FrozenTrial) -> tuple[bool, float]:
    value = trial.value  # of a pruned trial, its last report
    return trial.state == TrialState.COMPLETE, -math.inf if value is None else value


@dataclass(frozen=True)
class Method:
    """How a search chooses its trials; all of it, `says` included, is part of a search's key."""

    sampler: Callable[[dict[str, tuple], int], optuna.samplers.BaseSampler]
    prunes: bool
    says: str


PRUNING = f"median pruning after {UNPRUNED}, {REPORTS} reports"
METHODS = {
    "tpe": Method(
        lambda axes, seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP),
        prunes=True,
        says=f"tree-structured Parzen estimators after {STARTUP}, {PRUNING}",
    ),
    "evolution": Method(
        AgingEvolution, prunes=True, says=f"aging evolution of {STARTUP}, best of {TOURNAMENT}, {PRUNING}"
    ),
    "random": Method(lambda axes, seed: optuna.samplers.RandomSampler(seed), prunes=False, says="uniform, no pruning"),
}


@dataclass(frozen=True)
class Search:
    """One search: a cell."""

    proxy: Proxy
    sampler: str
    replicate: int
    trials: int
    config: str
    key: str


def run_searches(
    survey: Survey, samplers: Sequence[str], trials: int, replicates: int, storage: str | None, workers: int
) -> set[str]:
    """Run every search that is not in the records; the keys of all.

    Args:
        survey: proxies, space and training. The whole set is not trained on.
        samplers: keys of METHODS.
        trials: of each search.
        replicates: searches per proxy and sampler.
        storage: as for `harness.core.queue.run_jobs`; if there is one, it shows the studies, too.
        workers: likewise.

    Raises:
        ValueError: no whole-set accuracy is known, or a storage that cannot be used.
    """
    known = whole_accuracies(survey)
    url = url_of(storage, survey.out) if storage or workers > 1 else None
    records = records_of(survey)
    left = records.finished()
    make_memories(survey)
    every = {search.key: search for search in searches(survey, samplers, trials, replicates)}
    say(f"{len(every)} searches of {trials} trials, {len(every.keys() - left)} of them to be run")
    say(f"whole-set accuracies of {len(known)} of the {len(survey.space)} architectures are known")
    with bar(len(every), "searching", unit="search") as shown:

        def execute(job: Job) -> float:
            value = _execute(survey, records, every[job.cell], url)
            shown.update(len(every.keys() & records.finished()) - shown.n)
            return value

        jobs = [Job(search.key, _params(search)) for search in every.values()]
        run_jobs(jobs, execute, records, f"searches-{survey.dataset.identity}", storage, workers)
    return set(every)


def records_of(survey: Survey) -> Records:
    """The CSV of the searches."""
    return Records(survey.out / "search.csv", COLUMNS)


def whole_accuracies(survey: Survey) -> pd.Series:
    """Test accuracy of the first whole-set network by architecture name, as far as any table knows it.

    Zero for a network that diverged.

    Raises:
        ValueError: none is known.
    """
    whole = of_whole(survey.on_device.train, survey.whole, survey.recipe)
    names = {cell.key: cell.architecture.name for cell in cells(survey, [whole]) if cell.replicate == 0}
    sources = [source.read() for source in (survey.table, tables.published(survey.dataset.identity), survey.records)]
    rows = pd.concat([source[source["cell"].isin(names)] for source in sources if len(source)] or sources[:1])
    if rows.empty:
        raise ValueError(
            f"no table has whole-set accuracies of {survey.space.name} as {survey.recipe} trains it, so no search can "
            "be judged: run the same command without --search first, or give --whole-table"
        )
    # Tables may hold the same cell; they agree on it.
    return rows.drop_duplicates("cell").set_index("architecture")["test_accuracy"].astype(float).fillna(0.0)


def searches(survey: Survey, samplers: Sequence[str], trials: int, replicates: int) -> list[Search]:
    """The cells, so that samplers can be compared as early as possible: replicate by replicate."""
    sources = {source.name: source for source in proxies(survey)}
    return [
        Search(sources[name], sampler, replicate, trials, config, _key(survey, config, sampler, replicate, trials))
        for name in survey.proxies
        for config in (key_of(config_of(survey, sources[name])),)
        for replicate in range(replicates)
        for sampler in dict.fromkeys(samplers)
    ]


def _key(survey: Survey, config: str, sampler: str, replicate: int, trials: int) -> str:
    own = {"space": survey.space.name, "sampler": sampler, "method": METHODS[sampler].says}
    return key_of(own | {"config": config, "search": replicate, "trials": trials})


def _params(search: Search) -> dict[str, str | int]:
    return {"proxy": search.proxy.name, "sampler": search.sampler, "search": search.replicate}


def _execute(survey: Survey, records: Records, search: Search, storage: sqlalchemy.URL | None) -> float:
    """Run the search unless it is in the records; its best validation accuracy, nan if it has none."""
    with records.claim(search.key) as mine:
        if mine:
            records.append(_run(survey, search, storage))
    rows = records.read()
    complete = (rows["cell"] == search.key) & (rows["status"] == "complete")
    return float(rows.loc[complete, "validation_accuracy"].max())


def _run(survey: Survey, search: Search, storage: sqlalchemy.URL | None) -> list[dict[str, object]]:
    """The rows of a search. It runs in memory, where no database takes its time; the storage gets finished trials."""
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
    name = "-".join(map(str, ("search", survey.dataset.identity, *_params(search).values(), search.key)))
    shows = [] if storage is None else [_show_in(storage, name)]
    trials.warm_up()
    study.optimize(trials, n_trials=search.trials, callbacks=shows)
    origin = provenance(name_of(survey.device), survey.precision)
    return [_described(survey, search) | row | origin for row in trials.rows]


def _show_in(storage: sqlalchemy.URL, name: str) -> Callable[[optuna.Study, FrozenTrial], None]:
    """What adds each finished trial to a fresh study of that name: a search that was killed had got somewhere."""
    if (unfinished := open_study(name, storage)).get_trials(deepcopy=False):
        optuna.delete_study(study_name=name, storage=unfinished._storage)
    stored = open_study(name, storage)
    return lambda study, trial: stored.add_trial(trial)


def _described(survey: Survey, search: Search) -> dict[str, object]:
    """The columns that all trials of a search share."""
    return {
        "cell": search.key,
        "dataset": survey.dataset.name,
        "dataset_checksum": survey.dataset.checksum,
        "validation": survey.validation,
        "space": survey.space.name,
        "proxy": search.proxy.name,
        "memory_checksum": search.proxy.memory_checksum,
        "config": search.config,
        "recipe": search.proxy.recipe,
        "epochs": search.proxy.training.epochs,
        "sampler": search.sampler,
        "search_replicate": search.replicate,
        "chunk": search.proxy.training.chunk,
    }


@dataclass(frozen=True)
class _Outcome:
    """What training an architecture came to; `reports` are validation accuracies before the last epoch."""

    status: str
    value: float
    epochs: int
    seconds: float
    reports: dict[int, float]


@dataclass
class _Trials:
    """The objective of a search. Trains each architecture once, and keeps a row of every trial."""

    survey: Survey
    search: Search
    outcomes: dict[Architecture, _Outcome] = field(default_factory=dict)
    rows: list[dict[str, object]] = field(default_factory=list)

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
        if outcome.status == "pruned":
            raise optuna.TrialPruned
        # For Optuna a trial with nan has failed, and nothing is learned from it.
        return -math.inf if math.isnan(outcome.value) else outcome.value

    def warm_up(self) -> None:
        """Train for an epoch in vain: what a process does only once is not the first trial's time."""
        source = self.search.proxy
        training = replace(source.training, epochs=1)
        train(new_network(self.survey, self.survey.architectures[0], seed=0), *source.data, training, seed=0)

    def _train(self, architecture: Architecture, trial: optuna.Trial) -> _Outcome:
        survey, source, done, reports = self.survey, self.search.proxy, [], {}
        training, split = source.training, survey.on_device.test
        rungs = _rungs(training.epochs) if METHODS[self.search.sampler].prunes else ()
        seed = survey.network_seed(architecture, "proxy", source.memory_replicate, self.search.replicate)
        network, (images, labels) = new_network(survey, architecture, seed), source.data

        def after_epoch(epochs: int) -> None:
            done.append(epochs)
            if len(done) not in rungs:
                return
            reports[len(done)] = accuracy(network, split, training.chunk)
            network.train()  # measuring left it in evaluation mode
            trial.report(reports[len(done)], len(done))
            if trial.should_prune():
                raise optuna.TrialPruned

        started = time.perf_counter()
        with suppress(optuna.TrialPruned):
            train(network, images, labels, training, seed, after_epoch)
        if len(done) < training.epochs:
            status, value = "pruned", reports[len(done)]
        elif has_converged(network):
            status, value = "complete", accuracy(network, split, training.chunk)
        else:
            status, value = "diverged", math.nan
        return _Outcome(status, value, len(done), time.perf_counter() - started, reports)

    def _row(self, architecture: Architecture, outcome: _Outcome, repeated: bool) -> dict[str, object]:
        return {
            "trial": len(self.rows),
            "architecture": architecture.name,
            "status": "repeated" if repeated else outcome.status,
            "validation_accuracy": outcome.value,
            "epochs_trained": 0 if repeated else outcome.epochs,
            "seconds": 0.0 if repeated else outcome.seconds,
            "best": self._best(),
        }

    def _best(self) -> str | None:
        """The first of the complete architectures with the best validation accuracy."""
        complete = {each: found.value for each, found in self.outcomes.items() if found.status == "complete"}
        return max(complete, key=lambda architecture: complete[architecture]).name if complete else None


def _rungs(epochs: int) -> frozenset[int]:
    """The epochs after which a network may be stopped, evenly spaced."""
    return frozenset(round(epochs * report / REPORTS) for report in range(1, REPORTS)) - {0, epochs}
