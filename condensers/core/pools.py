"""Networks that are trained while a recipe is matched on them, or before: on the memory itself, or on real images.

Each kind is a `Networks` that a recipe asks for, followed by its `NetworkSource` (`condensers.core.networks`).
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from condensers.core.by_ipc import ByIPC, at_ipc
from condensers.core.networks import Images, Networks, Run, TrainsOn
from condensers.device import draws
from condensers.device.training import Training, train


class Pool:
    """Weights of several networks side by side, `[size, parameters]`, on the device.

    Args:
        run: the run that draws networks from the pool.
        size: networks in the pool.
        name: names its random draws.
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
        """Train a member on labelled images; `names` distinguish its draws from those of other trainings."""
        _fill(self.learner, self.weights[member])
        pixels, labels = images
        train(self.learner, pixels, labels, training, draws.key_of(self.run.seed, self.name, *names, member))
        self.hidden_images += len(labels) * training.epochs
        self._store(member)

    def pick(self, at: Int64[Tensor, "1"], count: int | Int64[Tensor, "1"]) -> Int64[Tensor, "1"]:
        """The index of a random one of the first `count` members, drawn on the device."""
        number = draws.uniform(self.run.key_at(at), 1)[0]
        return (number * count).long()

    def load(self, at: Int64[Tensor, "1"]) -> None:
        """Fill the network with a random member."""
        _fill(self.run.network, self.weights.index_select(0, self.pick(at, self.size))[0])

    def state(self) -> dict[str, Tensor]:
        """All weights."""
        return {"weights": self.weights, "hidden_images": torch.tensor(self.hidden_images)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a `state`. Weights are written in place, because a captured step keeps reading the same tensor."""
        weights, hidden = tensors["weights"].to(self.weights.device).view(self.weights.shape), tensors["hidden_images"]
        self.weights.copy_(weights)
        self.hidden_images = int(hidden)

    def _store(self, member: int) -> None:
        # Not torch's parameters_to_vector, which cannot read weights that lie channels last.
        self.weights[member].copy_(torch.cat([p.detach().reshape(-1) for p in self.learner.parameters()]))


@dataclass(frozen=True)
class OnSynthetic(Networks):
    """A pool of networks that are trained on the memory itself while it is made (the pool of FRePo, with hard labels).

    Each iteration trains one member, in turn, on the memory for `epochs` epochs. After `most` turns a member is drawn
    anew. Members are renewed at different times, so that the pool always holds both little and much trained ones.

    Attributes:
        size: networks in the pool.
        epochs: of training in one turn.
        most: turns until a member is renewed.
    """

    size: int = 10
    epochs: int = 1
    most: int = 10
    trains_on: ClassVar[TrainsOn] = "synthetic"

    def begin(self, run: Run) -> "SyntheticSource":
        """The source for one run."""
        return SyntheticSource(run, self)

    def hidden(self, iterations: int, ipc: int, memory: int, real: int) -> int:
        """The memory's images for `epochs` epochs in every iteration."""
        return iterations * self.epochs * memory


class SyntheticSource(Pool):
    """The pool of `OnSynthetic`."""

    def __init__(self, run: Run, asked: OnSynthetic) -> None:
        super().__init__(run, asked.size, "trained on the memory")
        self.asked = asked

    def advance(self, iteration: int, memory: Callable[[], Images]) -> None:
        """Train the member whose turn it is, after renewing it if it has had `most` turns."""
        turn, member = divmod(iteration, self.size)
        # Members begin at different ages, so that they are not all renewed at once.
        age = turn + member * self.asked.most // self.size
        if turn and age % self.asked.most == 0:
            self.renew(member, age // self.asked.most)
        self.train(member, memory(), replace(self.run.training, epochs=self.asked.epochs), "turn", turn)


@dataclass(frozen=True)
class Alternating(Networks):
    """One network that is trained on the memory between steps of the pixels (the outer and inner loops of DC).

    After `outer` steps of the pixels it is drawn anew; between two steps it is trained for `inner` epochs.

    Attributes:
        outer: steps of the pixels on one network, one number or by images per class.
        inner: epochs of training between two steps, one number or by images per class.
        momentum: of this training, whose rate is 0.01 and weight decay 0. Without momentum, as in DC, by default.
    """

    outer: int | ByIPC[int] = ((1, 1), (2, 10), (20, 20), (50, 50))
    inner: int | ByIPC[int] = ((1, 1), (2, 50), (20, 25), (50, 10))
    momentum: float = 0.0
    trains_on: ClassVar[TrainsOn] = "synthetic"

    def begin(self, run: Run) -> "AlternatingSource":
        """The source for one run."""
        return AlternatingSource(run, self)

    def hidden(self, iterations: int, ipc: int, memory: int, real: int) -> int:
        """The memory's images for `inner` epochs in every iteration but those that begin with a new network."""
        networks = -(-iterations // at_ipc(self.outer, ipc))
        return (iterations - networks) * at_ipc(self.inner, ipc) * memory


class AlternatingSource(Pool):
    """The network of `Alternating`: a pool of one."""

    def __init__(self, run: Run, asked: Alternating) -> None:
        super().__init__(run, 1, "alternating")
        self.outer, self.inner = at_ipc(asked.outer, run.ipc), at_ipc(asked.inner, run.ipc)
        self.training = replace(run.training, epochs=1, momentum=asked.momentum, weight_decay=0.0)

    def advance(self, iteration: int, memory: Callable[[], Images]) -> None:
        """Draw a new network after every `outer` iterations, else train the current one."""
        generation, age = divmod(iteration, self.outer)
        if age == 0:
            self.renew(0, generation)
            return
        images = memory()
        # One training per epoch, because a training of several epochs would lower its rate halfway.
        for epoch in range(self.inner):
            self.train(0, images, self.training, "inner", iteration, epoch)


@dataclass(frozen=True)
class PartlyTrained(Networks):
    """A new network every iteration, trained on the memory for a random number of epochs (the start of RaT-BPTT).

    Attributes:
        most: highest number of epochs; all numbers from 0 to this are equally likely.
    """

    most: int = 30
    trains_on: ClassVar[TrainsOn] = "synthetic"

    def begin(self, run: Run) -> "PartlyTrainedSource":
        """The source for one run."""
        return PartlyTrainedSource(run, self)

    def hidden(self, iterations: int, ipc: int, memory: int, real: int) -> int:
        """The expected number: how many epochs there are is random."""
        return round(iterations * self.most / 2 * memory)


class PartlyTrainedSource(Pool):
    """The network of `PartlyTrained`: a pool of one."""

    def __init__(self, run: Run, asked: PartlyTrained) -> None:
        super().__init__(run, 1, "partly trained")
        self.asked = asked

    def advance(self, iteration: int, memory: Callable[[], Images]) -> None:
        """Draw the network, and train it."""
        self.renew(0, iteration)
        number = draws.host_uniform(draws.key_of(self.run.seed, self.name, "epochs", iteration))
        images = memory()
        for epoch in range(int(number * (self.asked.most + 1))):
            self.train(0, images, replace(self.run.training, epochs=1), "start", iteration, epoch)


@dataclass(frozen=True)
class Queue(Networks):
    """A queue of networks in the middle of their training on real images (IDM, Zhao et al., 2023).

    It begins with `start` networks. Every `every` iterations a fresh one joins, and takes the place of the oldest when
    the queue is full. In each iteration `trained` different ones make `steps` steps on real minibatches.

    Raises:
        ValueError: fewer networks at the start than are trained in an iteration, or more than the queue holds.
    """

    size: int = 100
    start: int = 4
    every: int = 30
    trained: int = 2
    steps: int = 10
    trains_on: ClassVar[TrainsOn] = "real"

    def __post_init__(self) -> None:
        if not self.trained <= self.start <= self.size:
            raise ValueError(f"a queue of {self.size} starts with {self.start}: give {self.trained} to {self.size}")

    def begin(self, run: Run) -> "QueueSource":
        """The source for one run."""
        return QueueSource(run, self)

    def hidden(self, iterations: int, ipc: int, memory: int, real: int) -> int:
        """The minibatches of `trained` networks, `steps` each, in every iteration."""
        return iterations * self.trained * min(self.steps * Training.batch, real)


class QueueSource(Pool):
    """The queue of `Queue`: a ring buffer of weights."""

    def __init__(self, run: Run, asked: Queue) -> None:
        super().__init__(run, asked.size, "queue")
        self.asked = asked

    def advance(self, iteration: int, memory: Callable[[], Images]) -> None:
        """Renew the oldest network when it is time, then train some of the networks for some steps."""
        later, waits = divmod(iteration, self.asked.every)
        newest = self.asked.start - 1 + later
        if waits == 0:
            self.renew(newest % self.size, newest // self.size)
        idle = list(range(min(newest + 1, self.size)))
        for number in range(self.asked.trained):
            key = draws.key_of(self.run.seed, "queue turn", iteration, number)
            member = idle.pop(int(draws.host_uniform(key) * len(idle)))
            images = self._some_real(key)
            self.train(member, images, replace(self.run.training, epochs=1), "turn", iteration, number)

    def load(self, at: Int64[Tensor, "1"]) -> None:
        """Fill the network with a random one of those that have joined so far."""
        joined = (at // self.asked.every + self.asked.start).clamp_max(self.size)
        _fill(self.run.network, self.weights.index_select(0, self.pick(at, joined))[0])

    def _some_real(self, key: int) -> Images:
        source = self.run.source
        chosen = draws.permutation(key, len(source), source.labels.device)[: self._images()]
        return source.normalise(source.images[chosen]), source.labels[chosen]

    def _images(self) -> int:
        return self.asked.steps * self.run.training.batch


@dataclass(frozen=True)
class Pretrained(Networks):
    """A pool of networks trained on the real images beforehand; each draw lies between initial and trained weights.

    Attributes:
        size: networks in the pool.
        epochs: of training each of them on all real images.
        nearest: least share of the way from initial to trained weights in a draw; 1 for trained networks alone.
    """

    size: int = 2
    epochs: int = 20
    nearest: float = 0.0
    trains_on: ClassVar[TrainsOn] = "real"

    def begin(self, run: Run) -> "PretrainedSource":
        """The source for one run; networks are trained before its first iteration."""
        return PretrainedSource(run, self)

    def hidden(self, iterations: int, ipc: int, memory: int, real: int) -> int:
        """All real images for `epochs` epochs of every network."""
        return self.size * self.epochs * real


class PretrainedSource(Pool):
    """The pool of `Pretrained`: initial weights first, trained ones behind them."""

    def __init__(self, run: Run, asked: Pretrained) -> None:
        super().__init__(run, 2 * asked.size, "pre-trained")
        self.asked = asked

    def advance(self, iteration: int, memory: Callable[[], Images]) -> None:
        """Train all networks before the first iteration; a resumed run has them already."""
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
