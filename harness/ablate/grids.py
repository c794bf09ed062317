"""The grids of an ablation: which of their variants fit the network, and the one point that all variants are at."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from condensers import registry
from condensers.core.grids import Grid
from condensers.core.recipe import Condenser
from harness.ablate.flags import Ablate
from harness.core.flags import refuse
from harness.core.points import Point, check_points, plan_of
from harness.core.progress import say
from harness.core.queue import Sharing
from harness.core.records import Records
from harness.core.schema import ScoreRow
from harness.core.scoring import scoring_of
from harness.core.settings import Setup, announced, place_of
from scenarios.datasets import Dataset, load
from search_spaces.forward import depth

SEARCHES_ONLY = ("condenser", "trials", "batch")
SHARE = 5  # the validation split takes one part in so many of the smallest class
DEFAULT = ("components",)


@dataclass(frozen=True)
class Ablation:
    """Grids with every default resolved.

    Attributes:
        grids: each with only the variants whose blocks the network has; these are names of condensers.
        point: memories and scoring of all variants.
        tested: whether they are scored on the test set.
    """

    grids: tuple[Grid, ...]
    point: Point
    tested: bool
    out: Path
    sharing: Sharing

    @property
    def names(self) -> tuple[str, ...]:
        """All variants, each once."""
        return self.point.names

    @cached_property
    def records(self) -> Records[ScoreRow]:
        """The CSV of the ablation."""
        return Records(self.out / "results.csv", ScoreRow)


def prepare(config: Ablate) -> Ablation:
    """Resolve every default and check every name. Raises ValueError for whatever a user can get wrong."""
    refuse(config, SEARCHES_ONLY, "is for a --search: give one, or leave it out")
    grids = [registry.grid(name) for name in dict.fromkeys(config.grid or DEFAULT)]
    device, protocol = place_of(config)
    setup = Setup(config, protocol, device, split_of(config))
    blocks = depth(setup.matched_network, setup.dataset.classes, setup.dataset.shape)
    grids = [fitting(grid, blocks) for grid in grids]
    names = tuple(dict.fromkeys(name for grid in grids for name in grid.variants.values()))
    point = point_of(setup, names, config.memories)
    check_points([point])
    sharing = Sharing(config.storage, config.workers)
    sharing.check()
    say(announced(setup.label, device))
    return Ablation(tuple(grids), point, config.test, config.out, sharing)


def split_of(config: Ablate) -> Dataset:
    """The data set, whose test images are held-out training images unless --test is given.

    Raises:
        ValueError: no such data set, more held-out images than there are, or both a split and the test set asked for.
    """
    dataset = load(config.dataset, config.data_root, config.resolution)
    if config.test and config.validation:
        raise ValueError("--test and --validation exclude each other: leave one of them out")
    smallest = int(dataset.train.labels.bincount().min())
    return dataset if config.test else dataset.hold_out(config.validation or max(1, smallest // SHARE))


def fitting(grid: Grid, blocks: int) -> Grid:
    """The grid with its variants as names of condensers, without those that read a block that the network lacks.

    Raises:
        ValueError: fewer than two are left.
    """
    made = registry.variants(grid)
    kept = {label: one.name for label, one in made.items() if _deepest(one) <= blocks}
    if grid.reference not in kept or len(kept) < 2:
        raise ValueError(f"the grid {grid.name} needs a network of more than {blocks} blocks: take a deeper --network")
    if left_out := [label for label in made if label not in kept]:
        say(f"grid {grid.name}: without {', '.join(left_out)}, for the network has {blocks} blocks")
    return replace(grid, variants=kept)


def _deepest(condenser: Condenser) -> int:
    return max(term.deepest for term in condenser.terms) if condenser.takes_terms else 0


def point_of(setup: Setup, names: tuple[str, ...], memories: int) -> Point:
    """The point with so many `memories` of each of these condensers, and with what they are scored with."""
    ipc = setup.flags.ipc or setup.protocol.memory_per_class
    plans = [plan_of(setup, names, ipc, replicate) for replicate in range(memories)]
    return Point(tuple(plans), scoring_of(setup), setup.matched_network, ipc)
