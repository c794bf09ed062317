"""What a memory took to make, recorded with it: time, counted work, peak memory and hidden training."""

import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from condensers.core.loop import Loop
from condensers.core.recipe import Iterative, Selection
from condensers.device.images import LabelledImages
from search_spaces.forward import forward_pass

TRAINING = 3  # forward passes that training on an image costs: forward, gradients of activations and of weights


@dataclass(frozen=True)
class Cost:
    """The cost of one memory.

    Attributes:
        seconds: wall-clock time of the whole lockstep run that made it.
        recipes: how many ran in lockstep and shared the work on real images.
        flop: floating-point operations of the networks' convolutions and matrix products, counted as if this memory
            were made alone. A coupled recipe counts two passes over its synthetic images, though one is enough where
            all fit into one chunk.
        peak_bytes: peak memory so far; CUDA: allocated on the device, CPU: resident memory of the process.
        hidden_images: images that went through networks forward and back to train them, before and while matching.
    """

    seconds: float = 0.0
    recipes: int = 1
    flop: float = 0.0
    peak_bytes: int = 0
    hidden_images: int = 0


def cost_of(loop: Loop, recipe: Iterative, seconds: float) -> Cost:
    """The cost so far of the memory of one recipe in a lockstep run."""
    source, schedule = loop.pools.source, loop.schedule
    one = forward_pass(schedule.network, loop.network.classifier.out_features, source.shape).flops
    synthetic = loop.sides[recipe.name].ipc * recipe.decoded
    passes = recipe.real_passes * loop.batch + recipe.synthetic_passes * synthetic
    images = len(loop.classes) * loop.iteration * passes
    hidden = loop.networks.hidden_images
    flop = float(one) * (images + TRAINING * hidden)
    return Cost(seconds, len(loop.recipes), flop, peak_bytes(loop.device), hidden)


def cost_of_selection(selection: Selection, source: LabelledImages, images: int, network: str, seconds: float) -> Cost:
    """The cost of a selection from that many real images."""
    one = forward_pass(network, int(source.labels.max()) + 1, source.shape).flops
    hidden = selection.epochs * images
    flop = float(one) * (selection.passes * images + TRAINING * hidden)
    return Cost(seconds, 1, flop, peak_bytes(source.images.device), hidden)


def total(found: Sequence[dict[str, float]], at_once: bool = False) -> dict[str, float]:
    """The cost of parts that were made one after another, or by several processes at once."""
    parts = [Cost(**cost) for cost in found]
    return asdict(
        Cost(
            seconds=(max if at_once else sum)(part.seconds for part in parts),
            recipes=max(part.recipes for part in parts),
            flop=sum(part.flop for part in parts),
            peak_bytes=max(part.peak_bytes for part in parts),
            hidden_images=sum(part.hidden_images for part in parts),
        )
    )


def peak_bytes(device: torch.device) -> int:
    """Most memory so far: allocated on a CUDA device, resident in this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
