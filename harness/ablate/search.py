"""A search over the weights and readings of a recipe, a batch of trials in one lockstep run at a time.

All trials share the draws of one memory and of its networks, so comparisons are paired, and condensing a batch costs
little more than condensing one of its trials. The run stops at rungs: there one network is trained on each memory,
trials below the median of earlier trials are pruned, and the others go on from their state. A run that is killed loses
the batch at work, whose trials are suggested again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from condensers import registry
from condensers.core.recipe import Condenser
from harness.ablate.flags import Ablate
from harness.ablate.grids import point_of, split_of
from harness.ablate.space import Space, space_of
from harness.ablate.trials import SAMPLER, Course, Trial, finished
from harness.core.flags import refuse
from harness.core.memories import Plan
from harness.core.points import Point, check_points
from harness.core.progress import say
from harness.core.queue import Sharing
from harness.core.records import Records
from harness.core.rows import RungRow
from harness.core.scoring import described
from harness.core.seeds import config_key
from harness.core.settings import Setup, announced, place_of

RUNGS = (0.25, 0.5, 0.75)  # as shares of the iterations


@dataclass(frozen=True)
class Search:
    """A search with every default resolved.

    Attributes:
        space: what the search can choose.
        point: the one memory of the recipe that the search starts from, and what all memories are scored with.
        seed: names the suggestions.
        held_out: training images per class that memories are scored on.
        trials: number of trials after which the search ends.
        batch: number of trials that are condensed in lockstep.
    """

    space: Space
    point: Point
    seed: int
    held_out: int
    trials: int
    batch: int
    out: Path
    storage: str | None

    @cached_property
    def records(self) -> Records[RungRow]:
        """The CSV of the looks at trials."""
        return Records(self.out / "rungs.csv", RungRow)

    @property
    def start(self) -> str:
        """The name of the recipe that the search starts from, as a trial."""
        return self.space.name(self.space.start)

    @property
    def recipe(self) -> Condenser:
        """The recipe that the search starts from; all trials have its schedule and its pixels."""
        return registry.condenser(self.start)

    @property
    def iterations(self) -> int:
        """Iterations of a whole condensation."""
        return self.recipe.schedule(self.point.plans[0].schedule, self.point.ipc).iterations

    @property
    def rungs(self) -> list[int]:
        """Iterations after which trials may be pruned."""
        return sorted({round(share * self.iterations) for share in RUNGS} - {0, self.iterations})

    @cached_property
    def key(self) -> str:
        """Hash of all that decides what a trial comes to, and of how trials are suggested."""
        own = {"start": self.point.plans[0].key(self.start), "space": self.space.describe(), "rungs": self.rungs}
        return config_key(own | {"sampler": SAMPLER, "seed": self.seed, "scoring": described(self.point.scoring)})

    @property
    def course(self) -> Course:
        """What every trial goes through."""
        looks, networks = (*self.rungs, self.iterations), self.point.scoring.networks
        return Course(self.key, looks, networks, tuple(self.space.distributions), self.space.name)

    def plan_of(self, names: Sequence[str]) -> Plan:
        """The plan of the memories of these trials."""
        return replace(self.point.plans[0], names=tuple(names))

    def finished(self) -> dict[str, Trial]:
        """The trials in the records, by condenser. Raises ValueError if they are damaged."""
        return finished(self.records, self.course)


def prepare(config: Ablate) -> Search:
    """Resolve every default and check every name. Raises ValueError for whatever a user can get wrong."""
    _check_flags(config)
    device, protocol = place_of(config)
    dataset = split_of(config)
    space = space_of(config.condenser, config.search, config.ipc or protocol.memory_per_class)
    start = space.name(space.start)
    setup = Setup(config, protocol, device, dataset)
    point = point_of(setup, (start,), memories=1)
    check_points([point])
    # Raises ValueError, before any work, if the longest name that a trial can have is too long for a file.
    replace(point.plans[0], names=(space.longest,))
    Sharing(config.storage).check()
    say(announced(setup.label, device))
    held_out = int(dataset.test.labels.bincount().min())
    return Search(space, point, config.seed, held_out, config.trials, config.batch, config.out, config.storage)


def _check_flags(config: Ablate) -> None:
    if config.grid:
        raise ValueError("--grid and --search exclude each other: leave one of them out")
    if config.test:
        raise ValueError("a search chooses on held-out images: leave out --test, and score what wins on the test set")
    refuse(config, ("memories",), "is for grids, and a search has one memory of each trial: leave it out")
    if config.workers > 1:
        raise ValueError("a search condenses a batch in one process: leave out --workers, and give a larger --batch")
