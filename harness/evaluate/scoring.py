"""What `harness.evaluate` does: score the memory files that it is given, and compare them."""

from collections.abc import Sequence
from statistics import fmean

from harness.core.cells import Cell, run_cells, unfinished, work_of
from harness.core.estimates import Part, print_estimate
from harness.core.flags import refuse_bf16
from harness.core.makings import check_apart, check_makings, check_recorded
from harness.core.progress import say
from harness.core.reading import read_all
from harness.core.records import Records
from harness.core.schema import ScoreRow
from harness.core.scoring import Scoring, cell_of, scoring_of, values_of
from harness.core.settings import Setup, place_of
from harness.core.stored import check_held_out, made_from
from harness.evaluate.comparison import Scored, format_table, is_unseeded, table
from harness.evaluate.flags import Evaluate
from scenarios.datasets import load


def score(config: Evaluate) -> None:
    """Score every memory and print one line each. Raises ValueError for whatever a user can get wrong."""
    if not config.memories:
        raise ValueError("no memories given: name at least one file")
    refuse_bf16(config)
    scoring = _scoring_of(config)
    records = Records(config.out / "results.csv", ScoreRow)
    for path in config.memories if config.validation else ():
        check_held_out(path, scoring.dataset, config.validation)
    stored = read_all(config, config.memories, scoring.dataset)
    check_makings(stored)
    cells = [cell_of(scoring, memory) for memory in stored]
    keys = [cell.key for cell in cells]
    check_apart(stored, keys)
    check_recorded(stored, keys, records.read(), records.path)
    if config.dry_run:
        return _print_left(scoring, unfinished(cells, records))
    run_cells(cells, records, "evaluate", number=lambda rows: fmean(row.value for row in rows))
    scored = [Scored(memory, values_of(scoring, cell.key, records)) for memory, cell in zip(stored, cells, strict=True)]
    say(format_table(table(scored), scoring.networks, any(map(is_unseeded, stored))))
    return say(f"rows: {records.path}")


def _print_left(scoring: Scoring, left: Sequence[Cell]) -> None:
    dataset, work = scoring.dataset, work_of(left)
    say(f"memories   {len(left)} to score with {scoring.networks} networks each, {scoring.training.epochs} epochs")
    print_estimate([Part(work, [scoring.network], dataset, scoring.training)], scoring.device)


def _scoring_of(config: Evaluate) -> Scoring:
    device, protocol = place_of(config)
    dataset = load(config.dataset or made_from(config.memories[0]), config.data_root, config.resolution)
    if config.validation:
        dataset = dataset.hold_out(config.validation)
    return scoring_of(Setup(config, protocol, device, dataset))
