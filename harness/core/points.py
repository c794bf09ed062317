"""Points of a grid: memories of one size, condensed on one network, and what they are scored with.

What `harness.table` and `harness.ablate` share: all condensers of a point run in lockstep, and each memory is a cell.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

from condensers import registry
from condensers.condense import Group
from condensers.core.sampling import check_enough
from harness.core.cells import Cell, run_cells, unfinished, work_of
from harness.core.estimates import Part, print_estimate
from harness.core.memories import Plan
from harness.core.progress import say
from harness.core.queue import Sharing
from harness.core.records import Records
from harness.core.schema import ScoreRow
from harness.core.scoring import Scoring, described, network_seeds, rows_of, work_of_networks
from harness.core.seeds import config_key, seed_of
from harness.core.settings import Setup
from harness.core.stored import Stored
from harness.core.studies import ACCURACY
from scenarios.datasets import Dataset
from search_spaces.registry import build


@dataclass(frozen=True)
class Point:
    """Everything that one number of a grid is about, except the condenser.

    Attributes:
        plans: plans of the memories, one for each replicate; each has all condensers of the point.
        scoring: what the memories are scored with.
        condensed_on: the network that memories are made with.
        ipc: stored images per class.
    """

    plans: tuple[Plan, ...]
    scoring: Scoring
    condensed_on: str
    ipc: int

    @property
    def dataset(self) -> Dataset:
        """The data set of the point."""
        return self.scoring.dataset

    @property
    def names(self) -> tuple[str, ...]:
        """The condensers of the point."""
        return self.plans[0].names


def plan_of(setup: Setup, names: tuple[str, ...], ipc: int, replicate: int) -> Plan:
    """Memories of all classes by the condensers of these names, as `harness.condense` plans them."""
    flags, dataset = setup.flags, setup.dataset
    return Plan(
        names=names,
        dataset=dataset,
        groups=(Group(tuple(range(dataset.classes)), ipc),),
        schedule=setup.schedule(),
        seed=seed_of(dataset.identity, flags.seed, "memory", replicate),
        device=setup.device,
        precision=flags.precision,
        store=flags.store,
        store_selections="indices",
        folder=flags.out / "memories",
        label=f"{dataset.identity}-ipc{ipc}-replicate{replicate}",
    )


def check_points(points: Sequence[Point]) -> None:
    """Raise ValueError for mistakes that would otherwise only show after hours of work."""
    for point in points:
        condensers = [registry.condenser(name) for name in point.names]
        for condenser in condensers:
            condenser.check(point.plans[0].schedule)
        for network in {point.condensed_on, point.scoring.network}:
            build(network, point.dataset.classes, point.dataset.shape)
        decoded = max(condenser.decoded for condenser in condensers)
        check_enough(point.dataset.train.labels.bincount().tolist(), point.ipc, decoded, point.dataset.name)


def cell_key(point: Point, replicate: int, name: str) -> str:
    """The key of the cell of one condenser and replicate."""
    plan, scoring = point.plans[replicate], point.scoring
    seeds = network_seeds(scoring, plan.seed)
    return config_key({"memory": plan.key(name), "network seeds": seeds, **described(scoring)})


def run(points: Sequence[Point], records: Records[ScoreRow], study: str, sharing: Sharing) -> None:
    """Run every cell that is not in the records, sharing the folder with other processes that do the same.

    Args:
        points: the points of the grid.
        records: where rows are written.
        study: a name for the cells, as in `run_cells`.
        sharing: who does the work.
    """
    run_cells(cells(points, records), records, study, sharing, _mean_accuracy)


def print_left(points: Sequence[Point], records: Records[ScoreRow]) -> None:
    """What `--dry-run` prints."""
    by_dataset: dict[str, list[Point]] = {}
    for point in points:
        by_dataset.setdefault(point.dataset.checksum, []).append(point)
    parts = [(own, unfinished(cells(own, records), records)) for own in by_dataset.values()]
    keys = {cell.key for _, left in parts for cell in left}
    # A memory whose scores are all recorded is not made again.
    plans = [
        plan
        for point in points
        for replicate, plan in enumerate(point.plans)
        if any(cell_key(point, replicate, name) in keys for name in point.names)
    ]
    missing = {plan.path(name) for plan in plans for name in plan.missing()}
    say(f"memories   {len(missing)} to condense")
    first = points[0].scoring
    say(f"scores     {len(keys)} cells of {first.networks} networks")
    print_estimate([_part(own, left) for own, left in parts], first.device)


def _part(points: Sequence[Point], left: Sequence[Cell]) -> Part:
    """The work that is left on the points of one data set."""
    networks = sorted({name for point in points for name in (point.condensed_on, point.scoring.network)})
    return Part(work_of(left), networks, points[0].dataset, points[0].scoring.training)


def cells(points: Sequence[Point], records: Records[ScoreRow]) -> list[Cell]:
    """The cells of all points, replicate by replicate: a run that is stopped has scored as many memories at each point.

    A memory and its scores may be the same at several points, for example if a paper's schedule rounds two lengths to
    the same iterations; they are then one cell.
    """
    replicates = range(len(points[0].plans))
    shared = [[plan.shared() for plan in point.plans] for point in points]
    every = [
        replace(_cell(point, replicate, name, records), shared=own[replicate])
        for replicate in replicates
        for point, own in zip(points, shared, strict=True)
        for name in point.names
    ]
    return list({cell.key: cell for cell in every}.values())


def _mean_accuracy(rows: Sequence[ScoreRow]) -> float:
    return fmean(row.value for row in rows)


def _cell(point: Point, replicate: int, name: str, records: Records[ScoreRow]) -> Cell:
    key, dataset, scoring = cell_key(point, replicate, name), point.dataset, point.scoring
    shown = {
        "dataset": dataset.name,
        "condenser": name,
        "ipc": point.ipc,
        "replicate": replicate,
        "network": scoring.network,
    }
    images = point.ipc * dataset.classes * registry.condenser(name).decoded
    make = partial(_make, point, replicate, name, key, records)
    return Cell(key, shown, make, work_of_networks(scoring, images), ACCURACY)


def _make(point: Point, replicate: int, name: str, key: str, records: Records[ScoreRow]) -> list[ScoreRow] | None:
    """The rows of a cell, whose memory is made first if need be; None while another process makes it."""
    plan, scoring = point.plans[replicate], point.scoring
    if not plan.make(records.claim, {"memory_replicate": replicate, "experiment_seed": scoring.seed}):
        return None
    return rows_of(scoring, Stored(plan.path(name), plan.load(name)), key)
