"""Which networks a recipe is matched on: what it asks for, and the source that hands them out while it runs.

A source fills the loop's network with weights in two parts. `advance` works on the host between two steps of the pixels
and may train networks. `load` works on the device within a step; the step may be captured as a CUDA graph, so `load`
decides nothing on the host. All draws are named by seed and iteration, as everywhere in the loop.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from condensers.device import draws
from condensers.device.images import LabelledImages
from condensers.device.training import Training
from search_spaces import registry

TrainsOn = Literal["nothing", "real", "synthetic"]
Images = tuple[Float[Tensor, "n ch h w"], Int64[Tensor, "n"]]  # normalised, with labels


@dataclass(frozen=True)
class Run:
    """What a network source knows of the loop that it works for.

    Attributes:
        network: the loop's network, on the device that does the work.
        source: real images of the classes that are condensed together.
        training: optimiser and augmentation for networks that are trained; each kind of `Networks` sets the epochs.
        seed: of the loop.
        ipc: stored images per class.
    """

    network: nn.Module
    source: LabelledImages
    training: Training
    seed: int
    ipc: int

    def key_at(self, at: Int64[Tensor, "1"]) -> Int64[Tensor, "1"]:
        """The key that names the network of iteration `at`, which is counted on the device."""
        iteration = draws.keys(draws.key_of(self.seed, "iterations"), at)
        return draws.keys(iteration, torch.zeros_like(at))


@runtime_checkable
class NetworkSource(Protocol):
    """Hands out networks while a loop runs.

    Attributes:
        hidden_images: images that have gone through a network forward and back to train it.
    """

    hidden_images: int

    def advance(self, iteration: int, memory: Callable[[], Images]) -> None:
        """Train networks, if any, before that iteration; `memory` gives the decoded images at that moment."""

    def load(self, at: Int64[Tensor, "1"]) -> None:
        """Fill the loop's network with the weights of iteration `at`."""

    def state(self) -> dict[str, Tensor]:
        """What a later run needs to go on from here."""

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a `state`. Raises KeyError or RuntimeError, and changes nothing, if it is not one."""


@runtime_checkable
class Networks(Protocol):
    """The kind of networks that a recipe asks for: a frozen dataclass, because it is part of a memory's key."""

    trains_on: ClassVar[TrainsOn]

    def build(self, name: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """The network that a loop fills, for images of `shape` (channels, height, width): the one of that name.

        Raises ValueError if there is no such network, or if it does not fit the images.
        """
        return registry.build(name, classes, shape)

    def begin(self, run: Run) -> NetworkSource:
        """The source for one run."""

    def hidden(self, iterations: int, ipc: int, memory: int, real: int) -> int:
        """Images that will go through networks to train them, as `hidden_images` counts them.

        Args:
            iterations: of the run.
            ipc: stored images per class.
            memory: decoded images of all classes.
            real: real images of all classes.
        """
        return 0


@dataclass(frozen=True)
class Fresh(Networks):
    """A new random network every `every` iterations (DM: 1, M3D: 5)."""

    every: int = 1
    trains_on: ClassVar[TrainsOn] = "nothing"

    def begin(self, run: Run) -> "FreshSource":
        """The source for one run."""
        return FreshSource(run, self.every)


class FreshSource:
    """Draws every network anew; it keeps nothing."""

    hidden_images = 0

    def __init__(self, run: Run, every: int) -> None:
        self.run, self.every = run, every

    def advance(self, iteration: int, memory: Callable[[], Images]) -> None:
        """Nothing is trained."""

    def load(self, at: Int64[Tensor, "1"]) -> None:
        """Draw the iteration's network, the same one for `every` iterations."""
        draws.draw_network(self.run.network, self.run.key_at(at if self.every == 1 else at // self.every))

    def state(self) -> dict[str, Tensor]:
        """Nothing: a draw is a function of seed and iteration."""
        return {}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Nothing is kept."""
