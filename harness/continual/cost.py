"""What an experiment will cost, before it starts: counted work, and time measured on a little of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from condensers import registry
from harness.continual.experiment import WHOLE, Experiment
from harness.continual.stream import memory_plan, score_cells, sources
from harness.core.progress import say
from search_spaces.costs import cost
from search_spaces.registry import build

BACKWARD = 3  # a training pass in forward passes: forward, gradient of activations, gradient of weights
CALIBRATION_SECONDS = 1.0


@dataclass(frozen=True)
class Plan:
    """Counts of one whole experiment; finished cells are left out.

    Attributes:
        memories: memory files to make.
        scores: score cells to run.
        forward: images through a network without a gradient.
        trained: images through a network and back.
    """

    memories: int
    scores: int
    forward: int
    trained: int


def plan(experiment: Experiment) -> Plan:
    """Count what is not in the records yet."""
    finished = experiment.records.finished()
    memories = scores = forward = trained = 0
    for order in range(experiment.orders):
        missing = memory_plan(experiment, order).missing()
        memories += len(missing)
        real, synthetic = _condensing(experiment, missing)
        forward, trained = forward + real, trained + synthetic
        for cell in score_cells(experiment, order):
            if cell.key not in finished:
                scores += 1
                images, tested = _training(experiment, cell.condenser, cell.step)
                forward, trained = forward + tested, trained + images
    return Plan(memories, scores, forward, trained)


def print_plan(experiment: Experiment) -> None:
    """Print counts, FLOPs, and the expected memory and time on the experiment's device."""
    counts = plan(experiment)
    flops, activations = cost(experiment.schedule.network, experiment.dataset.classes, experiment.dataset.shape)
    total = flops * (counts.forward + BACKWARD * counts.trained)
    seconds = _seconds(experiment, counts)
    dataset = experiment.dataset.train.images.nbytes + experiment.dataset.test.images.nbytes
    gigabytes = (dataset + 3 * activations * experiment.schedule.chunk) / 1e9
    say(f"sources    {', '.join(sources(experiment))}")
    say(f"memories   {counts.memories} to condense: {experiment.orders} orders, {experiment.schedule.network}")
    say(f"scores     {counts.scores} cells of {experiment.networks} networks, {experiment.training.epochs} epochs")
    say(f"images     {counts.forward:,} forward, {counts.trained:,} forward and back")
    say(f"work       {total:.3g} FLOP ({flops / 1e9:.3g} GFLOP forward per image)")
    say(f"memory     about {gigabytes:.2g} GB beside torch itself")
    say(f"time       about {duration(seconds)} on {experiment.device} (measured on {CALIBRATION_SECONDS:g} s of it)")


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _condensing(experiment: Experiment, missing: list[str]) -> tuple[int, int]:
    """Real images forward, and synthetic images forward and back, of one order."""
    recipes = [name for name in missing if registry.condenser(name).makes_pixels]
    smallest = int(experiment.dataset.train.labels.bincount().min())
    batch = min(experiment.schedule.real_batch, smallest)
    plan = memory_plan(experiment, 0)
    lockstep = len({plan.groups_of(name) for name in recipes})
    synthetic = sum(len(group.classes) * group.ipc for group in plan.groups)
    steps = experiment.schedule.iterations
    return steps * lockstep * batch * experiment.dataset.classes, steps * len(recipes) * synthetic


def _training(experiment: Experiment, name: str, step: int) -> tuple[int, int]:
    """Images trained on and tested on by the networks of one score cell; ours and Avalanche both test."""
    groups = experiment.groups(0)[:step]
    seen = sum(len(group.classes) for group in groups)
    if name == WHOLE:
        epochs, images = experiment.whole.epochs, len(experiment.dataset.train) * seen // experiment.dataset.classes
    else:
        epochs, images = experiment.training.epochs, seen * groups[-1].ipc
    tested = 2 * len(experiment.dataset.test) * seen // experiment.dataset.classes
    return experiment.networks * epochs * images, experiment.networks * tested


def _seconds(experiment: Experiment, counts: Plan) -> float:
    network = build(experiment.schedule.network, experiment.dataset.classes, experiment.dataset.shape)
    network = network.to(device=experiment.device, memory_format=torch.channels_last)
    size = min(experiment.schedule.chunk, max(counts.trained, 1), 1024)
    images = torch.randn(size, *experiment.dataset.shape, device=experiment.device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(size, dtype=torch.long, device=experiment.device)

    @torch.no_grad()
    def forward() -> None:
        network(images)

    def back() -> None:
        F.cross_entropy(network(images), labels).backward()

    return counts.forward / _rate(forward, images) + counts.trained / _rate(back, images)


def _rate(work: Callable[[], None], images: torch.Tensor) -> float:
    """Images per second, warmed up, over half of the calibration time."""
    wait = torch.cuda.synchronize if images.device.type == "cuda" else lambda: None
    work()
    wait()
    started, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < CALIBRATION_SECONDS / 2 or not done:
        work()
        wait()
        done += len(images)
    return done / elapsed if elapsed else float("inf")
