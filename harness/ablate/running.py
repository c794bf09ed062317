"""The trials of a search: suggested, condensed in lockstep, looked at and pruned, recorded, and told to the study."""

import itertools
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from statistics import fmean

import optuna

from condensers import registry
from condensers.condense import condense, race
from condensers.memory import Memory
from harness.ablate.search import Search
from harness.ablate.trials import Trial, ended, open_trials, report, suggest, tell
from harness.core import storage as storages
from harness.core.progress import bar, say
from harness.core.records import PAUSE
from harness.core.rows import RungRow
from harness.core.scoring import accuracies
from harness.core.seeds import seed_of


def run(search: Search) -> None:
    """Return when all trials are in the records; only one process at a time works at a search."""
    while len(search.finished()) < search.trials:
        with search.records.claim(search.key) as mine:
            if mine:
                return _run(search)
        time.sleep(PAUSE)
    return None


def _run(search: Search) -> None:
    url = storages.url_of(search.storage, search.out)
    with storages.one_line_errors(url), bar(search.trials, "search", "trials") as shown:
        name = f"ablate-{search.point.dataset.identity}-{search.key}-{search.records.folder_id()}"
        study = open_trials(name, url, search.space.distributions, list(search.finished().values()))
        while (done := len(ended(study))) < search.trials:
            shown.update(done - shown.n)
            _run_batch(search, study, min(search.batch, search.trials - done), done)


def _run_batch(search: Search, study: optuna.Study, size: int, done: int) -> None:
    known = search.finished()
    if search.start not in known:
        # The starting recipe is a trial, too, so that no search ends with a worse one.
        study.enqueue_trial(search.space.start)
    seed = seed_of(search.point.dataset.identity, search.seed, "ablate", "search", done)
    asked = suggest(study, size, seed, search.space.distributions)
    names = [search.space.name(one.params) for one in asked]
    fresh = {name: one for name, one in zip(names, asked, strict=True) if name not in known}
    if fresh:
        search.records.append(Batch(search, fresh, _unused(known, len(fresh))).rows())
        known = search.finished()
    for name, one in zip(names, asked, strict=True):
        tell(study, one, known[name], reported=fresh.get(name) is one)


def _unused(known: Mapping[str, Trial], count: int) -> list[int]:
    """The `count` smallest numbers that no trial has: a trial's rows may have been deleted, to run it again."""
    used = {trial.number for trial in known.values()}
    return list(islice((number for number in itertools.count() if number not in used), count))


class Batch:
    """Trials that are condensed in lockstep.

    Args:
        search: the search that the trials belong to.
        asked: trials by the names of their condensers.
        numbers: their numbers in the search.
    """

    def __init__(self, search: Search, asked: Mapping[str, optuna.Trial], numbers: Sequence[int]) -> None:
        self.search, self.asked = search, asked
        self.numbers = dict(zip(asked, numbers, strict=True))
        self.plan, self.scoring = search.plan_of(list(asked)), search.point.scoring
        self.looks: dict[str, list[RungRow]] = {name: [] for name in asked}
        self.status = dict.fromkeys(asked, "complete")

    def rows(self) -> list[RungRow]:
        """Condense and score all trials; return their rows, trial after trial."""
        recipes = [registry.condenser(name) for name in self.asked]
        match = partial(race, self.search.rungs, self._keep)
        plan, train = self.plan, self.plan.dataset.train.to(self.plan.device)
        with bar(self.search.iterations, f"{len(recipes)} trials in lockstep") as shown:
            made = condense(recipes, train, plan.groups, plan.schedule, plan.seed, None, shown.update, match)
        for name, memory in made.items():
            if self.status[name] == "complete":
                self._finish(name, memory)
        return [replace(row, status=self.status[name]) for name, rows in self.looks.items() for row in rows]

    def _keep(self, standing: Mapping[str, Memory]) -> list[str]:
        """Look at every memory at a rung; return the names of the trials that go on."""
        for name, memory in standing.items():
            self._look(name, memory, memory.metadata["iterations"], networks=1)
            report(self.asked[name], self.looks[name][-1])
        # Optuna's median is over complete trials only, so the others of the batch do not count.
        for name in standing:
            if self.status[name] == "complete" and self.asked[name].should_prune():
                self.status[name] = "pruned"
        return [name for name in standing if self.status[name] == "complete"]

    def _finish(self, name: str, memory: Memory) -> None:
        """Save the memory, and score it as saved, because saving may round its pixels."""
        if memory.images.isfinite().all():
            self.plan.save(name, memory, {"memory_replicate": 0, "experiment_seed": self.scoring.seed})
            memory = self.plan.load(name)
        self._look(name, memory, self.search.iterations, self.scoring.networks)
        say(f"{name}: {100 * self.looks[name][-1].accuracy:.1f} %".replace("nan %", "diverged"))

    def _look(self, name: str, memory: Memory, iteration: int, networks: int) -> None:
        started, accuracy = time.perf_counter(), math.nan
        if memory.images.isfinite().all():
            accuracy = fmean(accuracies(replace(self.scoring, networks=networks), memory))
        else:
            self.status[name] = "diverged"
        seconds = time.perf_counter() - started
        self.looks[name].append(self._row(name, memory, iteration, networks, accuracy, seconds))

    def _row(
        self, name: str, memory: Memory, iteration: int, networks: int, accuracy: float, seconds: float
    ) -> RungRow:
        search, scoring = self.search, self.scoring
        return RungRow(
            cell=search.course.cell(name),
            search=search.key,
            dataset=scoring.dataset.name,
            dataset_checksum=scoring.dataset.checksum,
            validation=search.held_out,
            trial=self.numbers[name],
            condenser=name,
            parameters=json.dumps(self.asked[name].params, sort_keys=True),
            ipc_stored=search.point.ipc,
            condensed_on=search.point.condensed_on,
            network=scoring.network,
            status=self.status[name],
            iteration=iteration,
            iterations=search.iterations,
            networks=networks,
            accuracy=accuracy,
            seconds=seconds,
            protocol=scoring.protocol,
            origin=scoring.origin,
            memory_checksum=memory.checksum,
        )
