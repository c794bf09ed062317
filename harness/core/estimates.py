"""What `--dry-run` prints: counted work, and its time on this device, as estimated from a few timed steps."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.optimize import nnls

from condensers.core.cost import TRAINING
from condensers.device.networks import new_network
from condensers.device.training import Training, train
from harness.core.progress import say
from harness.core.work import NONE, Work
from scenarios.datasets import Dataset
from search_spaces.forward import forward_pass

ALIVE = 3  # memory of a chunk, in sizes of its activations: values, gradients, and the workspace of a layer
CALIBRATION_SECONDS = 1.0  # for forward, and as many for forward and back; all networks together


@dataclass(frozen=True)
class Part:
    """Work on one data set.

    Attributes:
        work: everything that is left to do on it.
        networks: a few of the networks that do the work, the largest among them. They are timed on random images.
        dataset: that the work is about.
        training: how these networks are trained.
    """

    work: Work
    networks: Sequence[str]
    dataset: Dataset
    training: Training


def print_estimate(parts: Sequence[Part], device: torch.device) -> None:
    """Print images, FLOP, and the memory and time that work is expected to take, part after part.

    Args:
        parts: one or more. Networks are timed on images of their own part, because images of another may not fit them.
        device: on which the work will be done.
    """
    work, most = sum((part.work for part in parts), NONE), max(map(_bytes, parts))
    networks = {name for part in parts for name in part.networks}
    say(f"images     {work.forward:,} forward, {work.trained:,} forward and back")
    say(f"work       {work.flop:.3g} FLOP")
    say(f"memory     about {most / 1e9:.2g} GB beside torch itself")
    time_taken = duration(sum(_seconds(part, device) for part in parts)) if work.flop else "none"
    say(f"time       about {time_taken} on {device}, by a few steps of {len(networks)} of the networks")


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _bytes(part: Part) -> int:
    """Memory for the data set, and for what goes through a network at once."""
    dataset = part.dataset
    largest = max(forward_pass(name, dataset.classes, dataset.shape).activation_bytes for name in part.networks)
    return dataset.train.images.nbytes + dataset.test.images.nbytes + ALIVE * largest * part.training.chunk


def _seconds(part: Part, device: torch.device) -> float:
    """Expected seconds of a part, from a time per image and a time per FLOP that are fitted to timed steps."""
    work, networks, dataset = part.work, part.networks, part.dataset
    if not work.flop:
        return 0.0
    flops = np.array([forward_pass(name, dataset.classes, dataset.shape).flops for name in networks], dtype=float)
    share = CALIBRATION_SECONDS / len(networks)
    forward, back = np.array([_per_image(name, dataset, part.training, device, share) for name in networks]).T
    seconds = _fitted(flops, forward) @ (work.forward, work.forward_flop)
    return float(seconds + _fitted(TRAINING * flops, back) @ (work.trained, work.trained_flop))


def _fitted(flops: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Seconds per image and per FLOP, neither below zero."""
    fitted, _ = nnls(np.stack([np.ones_like(flops), flops], axis=1), seconds)
    return fitted


def _per_image(
    name: str, dataset: Dataset, training: Training, device: torch.device, seconds: float
) -> tuple[float, float]:
    """Seconds that an image takes forward, and forward and back, measured on a chunk of random images."""
    network = new_network(name, dataset.classes, dataset.shape, device, key=0)
    size = min(training.chunk, training.batch)
    images = torch.randn(size, *dataset.shape, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(size, dtype=torch.long, device=device)
    step = replace(training, epochs=1, batch=size)

    @torch.no_grad()
    def forward() -> None:
        network.eval()(images)

    def back() -> None:
        train(network, images, labels, step, seed=0)

    return _timed(forward, seconds, device) / size, _timed(back, seconds, device) / size


def _timed(step: Callable[[], None], seconds: float, device: torch.device) -> float:
    """Mean seconds of a step, measured for about `seconds` after one step to warm up."""
    wait = (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else lambda: None
    step()
    wait()
    started, done = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds or not done:
        step()
        wait()
        done += 1
    return elapsed / done
