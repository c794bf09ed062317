"""What is measured against what: the plain loops, the core, and convolutions alone, each built from a few values.

Images are random: how long they take does not depend on what they show, so no data set is needed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product

import torch
from torch import nn

from condensers import registry
from condensers.core.matching import Matching
from condensers.core.recipe import Recipe, Schedule
from condensers.device.images import LabelledImages
from condensers.device.threads import Lanes
from condensers.device.training import Training, train_all
from condensers.methods import ddm
from harness.core.devices import keep_freed_memory, set_precision
from harness.speed import plain
from harness.speed.measuring import flop_of
from harness.speed.objectives import OBJECTIVES
from search_spaces.registry import build

AS_IT_COMES = "default"  # precision: torch's defaults, with which convolutions on CUDA may use TF32
READINGS = "eight readings"  # stands for dm and eight readings of ours in lockstep
STRATEGY = "color_crop_cutout_flip_scale_rotate"
SEED = 0


@dataclass(frozen=True)
class Shape:
    """The size of a data set's training images."""

    classes: int
    channels: int
    side: int
    per_class: int

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, self.side, self.side


SHAPES = {
    "digits": Shape(10, 1, 8, 135),
    "cifar10": Shape(10, 3, 32, 5000),
    "cifar100": Shape(100, 3, 32, 500),
    "tinyimagenet": Shape(200, 3, 64, 500),
}


@dataclass(frozen=True)
class Contestant:
    """One side of a measurement; all fields are plain values, so that it can be sent to a process of its own.

    Attributes:
        label: its name in records.
        kind: what it runs, a key of KINDS.
        method: a recipe's name, or READINGS; unused where networks are trained.
        shape: of the images.
        classes: how many classes are worked on.
        ipc: synthetic images per class.
        network: name of the networks.
        real_batch: real images per class and iteration.
        chunk: images that the core puts through a network at once.
        precision: of the arithmetic, or AS_IT_COMES.
        device: as torch names it.
        epochs: of a step that trains networks; 0 for a step that condenses.
        networks: how many are trained side by side.
        keep_memory: whether its process keeps freed memory, as those of our commands do and published loops do not.
    """

    label: str
    kind: str
    method: str
    shape: Shape
    classes: int
    ipc: int
    network: str
    real_batch: int
    chunk: int
    precision: str
    device: str
    epochs: int = 0
    networks: int = 1
    keep_memory: bool = True

    def build(self) -> Callable[[], object]:
        """The step that is timed. Raises ValueError for a network, precision or method that is not there."""
        if self.keep_memory:
            keep_freed_memory()
        if self.precision != AS_IT_COMES:
            set_precision(self.precision, torch.device(self.device))
        return KINDS[self.kind](self)

    @property
    def batch(self) -> int:
        """Real images per class and iteration: no more than a class has."""
        return min(self.real_batch, self.shape.per_class)

    @property
    def units(self) -> int:
        """What a step counts for: one iteration, or the images that went through the networks trained."""
        return self.networks * self.epochs * self.classes * self.ipc or 1

    @property
    def real_dtype(self) -> str:
        """Arithmetic of the real images' branch."""
        return "bfloat16" if self.precision == "bf16" else "float32"

    @property
    def training(self) -> Training:
        """How memories are evaluated, for the epochs of a step."""
        return Training(epochs=self.epochs, augmentation=STRATEGY, chunk=self.chunk)


def recipes_of(method: str) -> list[Recipe]:
    """The recipes that run in lockstep under that name. Raises ValueError for what is no matching recipe."""
    if method == READINGS:
        presets = (ddm.DEFAULT, ddm.PAPER)
        readings = [ddm.Reading(a.mm, b.cm, c.icd) for a, b, c in product(presets, repeat=3)]
        ours = [Recipe(f"ours-{place}", reading.objective) for place, reading in enumerate(readings)]
        return [registry.condenser("dm"), *ours]
    recipe = registry.condenser(method)
    if not recipe.makes_pixels:
        raise ValueError(f"{method} has no iterations whose speed could be measured: choose dm or ours")
    return [recipe]


def random_images(shape: Shape, device: str) -> LabelledImages:
    """A training set of noise."""
    generator = torch.Generator().manual_seed(SEED)
    labels = torch.arange(shape.classes).repeat_interleave(shape.per_class)
    images = torch.randint(0, 256, (len(labels), *shape.image), generator=generator, dtype=torch.uint8)
    spread = (0.5,) * shape.channels
    return LabelledImages(images, labels, spread, spread).to(device)


@cache
def flop_per_step(one: Contestant) -> int | None:
    """Operations that a step needs, the same for every competitor; None for lockstep, where it is not counted."""
    if one.method == READINGS:
        return None
    return _COUNTS[one.kind](one)


def _plain_condensing(one: Contestant) -> Callable[[], object]:
    source = random_images(one.shape, one.device)
    return plain.Condensing(source, one.ipc, one.method, one.network, one.real_batch, STRATEGY, SEED).step


def _core_condensing(one: Contestant) -> Callable[[], object]:
    schedule = Schedule(
        real_batch=one.real_batch,
        network=one.network,
        augmentation=STRATEGY,
        chunk=one.chunk,
        real_dtype=one.real_dtype,
    )
    source = random_images(one.shape, one.device)
    return Matching(source, range(one.classes), one.ipc, recipes_of(one.method), schedule, SEED).step


def _plain_training(one: Contestant) -> Callable[[], object]:
    images, labels = _memory(one, "cpu")
    network = plain.network_of(one.network, one.shape.classes, one.shape.image).to(one.device)
    return lambda: plain.train(network, images, labels, one.training, SEED)


def _core_training(one: Contestant) -> Callable[[], object]:
    images, labels = _memory(one, one.device)
    networks = [build(one.network, one.shape.classes, one.shape.image) for _ in range(one.networks)]
    networks = [network.to(device=one.device, memory_format=torch.channels_last) for network in networks]
    return lambda: train_all(networks, images, labels, one.training, range(SEED, SEED + one.networks))


def _memory(one: Contestant, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(SEED)
    labels = torch.arange(one.classes).repeat_interleave(one.ipc)
    return torch.randn(len(labels), *one.shape.image, generator=generator).to(device), labels.to(device)


def _convolutions(one: Contestant) -> Callable[[], object]:
    """The convolutions of an iteration's real images, forward only, in the core's chunks, layout and threads."""
    # The convolutions are an upper bound on speed, so cuDNN searches for its fastest algorithms.
    torch.backends.cudnn.benchmark = True
    form = {"device": one.device, "dtype": getattr(torch, one.real_dtype), "memory_format": torch.channels_last}
    # All chunks use the same maps, because only the arithmetic is measured.
    ready = [(layer.to(**form), torch.randn(shape).to(**form)) for layer, shape in _convolution_inputs(one)]
    whole, rest = divmod(one.classes * one.batch, one.chunk)
    lanes = Lanes(torch.device(one.device))

    @torch.no_grad()
    def convolve(images: int) -> None:
        for layer, maps in ready:
            layer(maps[:images])

    return lambda: lanes.map(convolve, [one.chunk] * whole + [rest] * (rest > 0))


def _convolution_inputs(one: Contestant) -> list[tuple[nn.Conv2d, tuple[int, ...]]]:
    """Every convolution of the network with the shape of a chunk's maps before it."""
    network = build(one.network, one.shape.classes, one.shape.image)
    found: list[tuple[nn.Conv2d, tuple[int, ...]]] = []
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda layer, inputs, _: found.append((layer, tuple(inputs[0].shape[1:]))))
    with torch.no_grad():
        network(torch.zeros(1, *one.shape.image))
    images = min(one.chunk, one.classes * one.batch)
    return [(layer, (images, *shape)) for layer, shape in found]


def _condensing_flop(one: Contestant) -> int:
    """Operations of an iteration, counted on one class of the plain loop, which computes the same as the core."""
    with torch.device("meta"):
        network = plain.network_of(one.network, one.shape.classes, one.shape.image).requires_grad_(False)
        real, own = torch.empty(one.batch, *one.shape.image), torch.empty(one.ipc, *one.shape.image)
        nothing = ("", torch.empty(1, 3))
    single = [(real, own.requires_grad_(), nothing)]
    return one.classes * flop_of(lambda: plain.iteration_loss(network, OBJECTIVES[one.method], single).backward())


def _training_flop(one: Contestant) -> int:
    with torch.device("meta"):
        network = plain.network_of(one.network, one.shape.classes, one.shape.image)
        image = torch.empty(1, *one.shape.image)
    return one.units * flop_of(lambda: network(image).sum().backward())


def _convolution_flop(one: Contestant) -> int:
    with torch.device("meta"):
        network = build(one.network, one.shape.classes, one.shape.image)
        image = torch.empty(1, *one.shape.image)
    with torch.no_grad():
        # Without the classifier, which is no convolution and not part of the embedding.
        return one.classes * one.batch * flop_of(lambda: network.features(image))


KINDS: dict[str, Callable[[Contestant], Callable[[], object]]] = {
    "plain condensing": _plain_condensing,
    "condensing": _core_condensing,
    "plain training": _plain_training,
    "training": _core_training,
    "convolutions": _convolutions,
}
_COUNTS: dict[str, Callable[[Contestant], int]] = {
    "plain condensing": _condensing_flop,
    "condensing": _condensing_flop,
    "plain training": _training_flop,
    "training": _training_flop,
    "convolutions": _convolution_flop,
}
