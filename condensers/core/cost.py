"""What a memory took to make, recorded with it: time, counted work, peak memory and hidden training."""

import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch

from condensers.core.matching import Matching
from condensers.core.recipe import Recipe
from condensers.core.terms import JUDGE
from search_spaces.forward import forward_pass

TRAINING = 3  # work in forward passes: forward, gradient of activations, gradient of weights
TO_PIXELS = 2  # work in forward passes: forward, gradient of activations (weights need none)


@dataclass(frozen=True)
class Cost:
    """The cost of one memory.

    Attributes:
        seconds: wall-clock, of the whole lockstep run that it was made in.
        recipes: that were made in this run and shared its real side.
        flop: floating-point operations of convolutions and matrix products in networks, counted, as if it were made
            alone.
        peak_bytes: most memory so far; CUDA: allocated on the device, CPU: resident memory of the process.
        hidden_images: images that went through networks forward and back to train them, before and while matching.
    """

    seconds: float = 0.0
    recipes: int = 1
    flop: float = 0.0
    peak_bytes: int = 0
    hidden_images: int = 0


def cost_of(matching: Matching, recipe: Recipe, seconds: float) -> Cost:
    """What a finished run took for one of its recipes."""
    source, schedule = matching.pools.source, matching.schedule
    one = forward_pass(schedule.network, matching.network.classifier.out_features, source.shape).flops
    synthetic = matching.sides[recipe.name].ipc * recipe.decoded
    # Where classes are coupled, a first pass finds the statistics of all of them.
    passes = TO_PIXELS + recipe.couples_classes
    # A judge is as large as the network that is matched on.
    passes *= 1 + any(term.tap == JUDGE for term in recipe.terms)
    images = len(matching.classes) * schedule.iterations * (matching.batch + passes * synthetic)
    hidden = matching.networks.hidden_images
    flop = float(one) * (images + TRAINING * hidden)
    return Cost(seconds, len(matching.recipes), flop, peak_bytes(matching.device), hidden)


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
