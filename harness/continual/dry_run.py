"""What `--dry-run` prints: what is left of an experiment, and what it is expected to take."""

from harness.continual.experiment import Experiment
from harness.continual.report import trained
from harness.continual.stream import cells, learners, memory_plan
from harness.core.cells import unfinished, work_of
from harness.core.estimates import Part, print_estimate
from harness.core.progress import say


def print_left(experiment: Experiment) -> None:
    """Print what is not in the records yet: memories, cells, and what they are expected to take."""
    plans = [memory_plan(experiment, order) for order in range(experiment.orders)]
    left = unfinished(cells(experiment), experiment.records)
    missing = sum(len(plan.missing()) for plan in plans)
    say(f"learners   {', '.join(learner.name for learner in learners(experiment))}")
    say(f"memories   {missing} to condense: {experiment.orders} orders, matched on {experiment.schedule.network}")
    say(f"scores     {len(left)} cells of {experiment.networks} networks, {trained(experiment)}")
    networks = [experiment.schedule.network, experiment.network]
    part = Part(work_of(left), networks, experiment.dataset, experiment.training)
    print_estimate([part], experiment.device)
