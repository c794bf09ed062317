"""Which networks a recipe is matched on: what it asks for, and the source that hands them out while it runs.

A source fills the loop's network with weights in two steps: `advance` works on the host between two steps of the
pixels and may train networks, `load` works on the device within a step, which may be captured as a CUDA graph, so it
decides nothing on the host. All draws are named by seed and iteration, as everywhere in the loop.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from condensers.device import draws
from condensers.device.images import LabelledImages
from condensers.device.training import Training, train
from search_spaces import registry

TrainsOn = Literal["nothing", "real", "synthetic"]
Images = tuple[Float[Tensor, "n ch h w"], Int64[Tensor, "n"]]  # normalised, with labels


@dataclass(frozen=True)
class Run:
    """The run of a loop that a source hands out networks to: all that the source works with.

    Attributes:
        network: the loop's network, on the device that does the work.
        source: real images of the classes that are condensed together.
        training: optimiser and augmentation of trained networks; their epochs are the source's own.
        seed: of the loop.
    """

    network: nn.Module
    source: LabelledImages
    training: Training
    seed: int

    def key_at(self, at: Int64[Tensor, "1"]) -> Int64[Tensor, "1"]:
        """The key that names the network of iteration `at`, which is counted on the device."""
        iteration = draws.keys(draws.key_of(self.seed, "iterations"), at)
        return draws.keys(iteration, torch.zeros_like(at))


@runtime_checkable
class Source(Protocol):
    """Hands out networks while a loop runs.

    Attributes:
        hidden_images: images that have gone through a network forward and back to train it.
    """

    hidden_images: int

    def advance(self, iteration: int, memory: Callable[[], Images]) -> None:
        """Train what is to be trained before that iteration; `memory` gives the decoded images as they stand."""

    def load(self, at: Int64[Tensor, "1"]) -> None:
        """Fill the network for that iteration."""

    def state(self) -> dict[str, Tensor]:
        """What a later run needs to go on from here."""

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a `state`. Raises KeyError or RuntimeError, and changes nothing, if it is not one."""


@runtime_checkable
class Networks(Protocol):
    """What a recipe asks for: a frozen dataclass, for it is part of a memory's key."""

    trains_on: ClassVar[TrainsOn]

    def build(self, name: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """The network that a loop fills, for images of `shape` (channels, height, width): the one of that name.

        Raises ValueError if there is no such network, or if it does not fit the images.
        """
        return registry.build(name, classes, shape)

    def begin(self, run: Run) -> Source:
        """The source for one run."""


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


class Pool:
    """Weights of several networks side by side, `[size, parameters]`, on the device.

    Args:
        run: that draws from the pool.
        size: networks in the pool.
        name: of its draws.
    """

    def __init__(self, run: Run, size: int, name: str) -> None:
        self.run, self.size, self.name = run, size, name
        self.learner = copy.deepcopy(run.network).requires_grad_(True)
        self.weights = torch.empty(size, sum(p.numel() for p in run.network.parameters()))
        self.weights = self.weights.to(run.source.images.device)
        self.hidden_images = 0
        for member in range(size):
            self.renew(member, 0)

    def renew(self, member: int, generation: int) -> None:
        """Give a member fresh random weights."""
        draws.draw_network(self.learner, draws.key_of(self.run.seed, self.name, "weights", member, generation))
        self._store(member)

    def train(self, member: int, images: Images, training: Training, *names: int | str) -> None:
        """Train a member on labelled images; `names` tell its draws from those of other times."""
        _fill(self.learner, self.weights[member])
        pixels, labels = images
        train(self.learner, pixels, labels, training, draws.key_of(self.run.seed, self.name, *names, member))
        self.hidden_images += len(labels) * training.epochs
        self._store(member)

    def pick(self, at: Int64[Tensor, "1"], count: int | Int64[Tensor, "1"]) -> Int64[Tensor, "1"]:
        """A random one of the first `count` members, chosen on the device."""
        number = draws.uniform(self.run.key_at(at), 1)[0]
        return (number * count).long()

    def load(self, at: Int64[Tensor, "1"]) -> None:
        """Fill the network with a random member."""
        _fill(self.run.network, self.weights.index_select(0, self.pick(at, self.size))[0])

    def state(self) -> dict[str, Tensor]:
        """All weights."""
        return {"weights": self.weights, "hidden_images": torch.tensor(self.hidden_images)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a `state`. Written in place, because a captured step reads this very tensor."""
        weights, hidden = tensors["weights"].to(self.weights.device).view(self.weights.shape), tensors["hidden_images"]
        self.weights.copy_(weights)
        self.hidden_images = int(hidden)

    def _store(self, member: int) -> None:
        # Not torch's parameters_to_vector, which cannot read weights that lie channels last.
        self.weights[member].copy_(torch.cat([p.detach().reshape(-1) for p in self.learner.parameters()]))


@dataclass(frozen=True)
class OnSynthetic(Networks):
    """A pool of networks that are trained on the memory itself while it is made (the pool of FRePo, with hard labels).

    Each iteration trains one member, in turn, on the memory for `epochs` epochs. After `most` turns a member starts
    anew. Members do so at different times, so that the pool always holds little and much trained ones.

    Attributes:
        size: networks in the pool.
        epochs: of a turn.
        most: turns until a member is renewed.
    """

    size: int = 10
    epochs: int = 1
    most: int = 10
    trains_on: ClassVar[TrainsOn] = "synthetic"

    def begin(self, run: Run) -> "SyntheticSource":
        """The source for one run."""
        return SyntheticSource(run, self)


class SyntheticSource(Pool):
    """The pool of `OnSynthetic`."""

    def __init__(self, run: Run, asked: OnSynthetic) -> None:
        super().__init__(run, asked.size, "trained on the memory")
        self.asked = asked

    def advance(self, iteration: int, memory: Callable[[], Images]) -> None:
        """One member's turn."""
        turn, member = divmod(iteration, self.size)
        # Members begin at different ages, so that they are not all renewed at once.
        age = turn + member * self.asked.most // self.size
        if turn and age % self.asked.most == 0:
            self.renew(member, age // self.asked.most)
        self.train(member, memory(), replace(self.run.training, epochs=self.asked.epochs), "turn", turn)


@dataclass(frozen=True)
class Queue(Networks):
    """A queue of networks in the middle of their training on real images (IDM, Zhao et al., 2023).

    Every `every` iterations a fresh network takes the place of the oldest; each iteration `trained` of those in the
    queue make `steps` steps on real minibatches.
    """

    size: int = 100
    every: int = 30
    trained: int = 2
    steps: int = 10
    trains_on: ClassVar[TrainsOn] = "real"

    def begin(self, run: Run) -> "QueueSource":
        """The source for one run."""
        return QueueSource(run, self)


class QueueSource(Pool):
    """The queue of `Queue`: a ring buffer of weights."""

    def __init__(self, run: Run, asked: Queue) -> None:
        super().__init__(run, asked.size, "queue")
        self.asked = asked

    def advance(self, iteration: int, memory: Callable[[], Images]) -> None:
        """Renew the oldest network when it is time, then train some of the networks for some steps."""
        newest, waits = divmod(iteration, self.asked.every)
        if waits == 0:
            self.renew(newest % self.size, newest // self.size)
        for number in range(self.asked.trained):
            key = draws.key_of(self.run.seed, "queue turn", iteration, number)
            member = int(draws.host_uniform(key) * min(newest + 1, self.size))
            images = self._some_real(key)
            self.train(member, images, replace(self.run.training, epochs=1), "turn", iteration, number)

    def load(self, at: Int64[Tensor, "1"]) -> None:
        """Fill the network with a random one of those that have joined so far."""
        joined = (at // self.asked.every + 1).clamp_max(self.size)
        _fill(self.run.network, self.weights.index_select(0, self.pick(at, joined))[0])

    def _some_real(self, key: int) -> Images:
        source = self.run.source
        chosen = draws.permutation(key, len(source), source.labels.device)[: self._images()]
        return source.normalise(source.images[chosen]), source.labels[chosen]

    def _images(self) -> int:
        return self.asked.steps * self.run.training.batch


@dataclass(frozen=True)
class Pretrained(Networks):
    """A pool of networks trained on the real images beforehand; each draw is a point between start and end.

    Attributes:
        size: networks in the pool.
        epochs: of training each of them on all real images.
        nearest: share of the way from start to end that every draw has gone at least; 1 for trained networks alone.
    """

    size: int = 2
    epochs: int = 20
    nearest: float = 0.0
    trains_on: ClassVar[TrainsOn] = "real"

    def begin(self, run: Run) -> "PretrainedSource":
        """The source for one run; networks are trained before its first iteration."""
        return PretrainedSource(run, self)


class PretrainedSource(Pool):
    """The pool of `Pretrained`: initial weights first, trained ones behind them."""

    def __init__(self, run: Run, asked: Pretrained) -> None:
        super().__init__(run, 2 * asked.size, "pre-trained")
        self.asked = asked

    def advance(self, iteration: int, memory: Callable[[], Images]) -> None:
        """Train all, once; a resumed run has them already."""
        if self.hidden_images:
            return
        source = self.run.source
        for member in range(self.asked.size):
            self.weights[self.asked.size + member] = self.weights[member]
            training = replace(self.run.training, epochs=self.asked.epochs)
            self.train(self.asked.size + member, (source.normalise(source.images), source.labels), training, "all")

    def load(self, at: Int64[Tensor, "1"]) -> None:
        """Fill the network with a random point on the line between a random member's initial and trained weights."""
        chosen, share = draws.uniform(self.run.key_at(at), 2)[0].split(1)
        member = (chosen * self.asked.size).long()
        first, last = (self.weights.index_select(0, member + shift)[0] for shift in (0, self.asked.size))
        nearest = self.asked.nearest
        _fill(self.run.network, torch.lerp(first, last, nearest + (1 - nearest) * share))


@torch.no_grad()
def _fill(network: nn.Module, weights: Float[Tensor, "p"]) -> None:
    parameters = list(network.parameters())
    for parameter, part in zip(parameters, weights.split([p.numel() for p in parameters]), strict=True):
        parameter.copy_(part.view(parameter.shape))
