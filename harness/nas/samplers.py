"""How a search chooses what to try next, and when to stop what it tries."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState

from harness.core.studies import STARTUP, UNPRUNED

REPORTS = 5  # times that a network's validation accuracy is measured, the end of its training included
TOURNAMENT = 5


class AgingEvolution(optuna.samplers.RandomSampler):
    """Regularised evolution: TOURNAMENT of the last STARTUP trials are drawn, and one axis of their best is changed.

    Pruned trials take part, too, and rank below complete ones. Source: Real et al., "Regularized Evolution for Image
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
        """A child's axes; empty while there are too few parents to choose from, so that Optuna draws them at random."""
        finished = [each for each in study.get_trials(deepcopy=False) if each.state.is_finished()]
        if len(finished) < STARTUP:
            return {}
        parent = max(self.chance.sample(finished[-STARTUP:], TOURNAMENT), key=_fitness)
        axis = self.chance.choice(self.changing)
        others = [value for value in self.distributions[axis].choices if value != parent.params[axis]]
        return parent.params | {axis: self.chance.choice(others)}


def _fitness(trial: FrozenTrial) -> tuple[bool, float]:
    value = trial.value  # Optuna's value of a pruned trial is its last report
    return trial.state == TrialState.COMPLETE, -math.inf if value is None else value


@dataclass(frozen=True)
class Method:
    """How a search chooses its trials. `says` describes all of it, because only `says` is part of a search's key."""

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
