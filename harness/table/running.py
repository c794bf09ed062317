"""The cells of a grid: one for every memory and network that is trained on it."""

from functools import partial
from statistics import fmean

from condensers import registry
from harness.core import memories
from harness.core.cells import Cell, Work, run_cells
from harness.core.devices import name_of
from harness.core.memories import Stored
from harness.core.queue import Board
from harness.core.records import provenance
from harness.core.schema import ScoreRow
from harness.core.scoring import described, network_seeds, rows_of
from harness.core.seeds import config_key
from harness.table.grid import Grid, Point
from search_spaces.forward import forward_pass

ACCURACY = Board(objective="accuracy")


def run(grid: Grid) -> None:
    """Run every cell that is not in the records, sharing the folder with other processes that do the same."""
    run_cells(
        cells(grid),
        grid.records,
        study="table",
        storage=grid.storage,
        workers=grid.workers,
        number=lambda rows: fmean(row.value for row in rows),
    )


def cells(grid: Grid) -> list[Cell]:
    """Replicate by replicate, so that a run that is stopped has the same number of memories everywhere."""
    replicates = range(len(grid.points[0].plans))
    return [_cell(grid, point, r, name) for r in replicates for point in grid.points for name in grid.names]


def key_of(point: Point, replicate: int, name: str) -> str:
    """The key of a cell."""
    plan, scoring = point.plans[replicate], point.scoring
    seeds = network_seeds(scoring, plan.seed)
    return config_key({"memory": plan.key(name), "network seeds": seeds, **described(scoring)})


def _cell(grid: Grid, point: Point, replicate: int, name: str) -> Cell:
    key, dataset, scoring = key_of(point, replicate, name), point.dataset, point.scoring
    shown = {
        "dataset": dataset.name,
        "condenser": name,
        "ipc": point.ipc,
        "replicate": replicate,
        "network": scoring.network,
    }
    images = point.ipc * dataset.classes * registry.condenser(name).decoded
    work = Work.of(
        forward_pass(scoring.network, dataset.classes, dataset.shape).flops,
        forward=scoring.networks * len(dataset.test),
        trained=scoring.networks * scoring.training.epochs * images,
    )
    return Cell(key, shown, partial(_make, grid, point, replicate, name, key), work, ACCURACY)


def _make(grid: Grid, point: Point, replicate: int, name: str, key: str) -> list[ScoreRow] | None:
    """The rows of a cell, whose memory is made first if need be; None while another process makes it."""
    plan = point.plans[replicate]
    origin = provenance(name_of(grid.device), grid.precision) | {"memory_replicate": replicate}
    progress = memories.progress(plan, f"{plan.label}: condensing")
    # Moved only to condense: other cells find their memory made.
    dataset = point.dataset.to(grid.device) if plan.missing() else point.dataset
    if not memories.ensure(plan, dataset, grid.records.claim, progress, origin):
        return None
    return rows_of(point.scoring, Stored(plan.path(name), plan.load(name, point.dataset)), key)
