"""What holds the core to the plain loops of `harness.speed`, in float64.

The plain loops share no arithmetic with the core. Here stands what only tests need: an iteration's draws, named once
more; the network, layer by layer; and each condenser's name beside its terms (`reference_terms`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from condensers.device import draws
from harness.speed import objectives, plain
from search_spaces.registry import build

from .reference_terms import TERMS, over_classes, uniform

# What is drawn in an iteration.


@dataclass
class Iteration:
    """The network, for each class its real images [B, ch, h, w] and its augmentation numbers, and the key of terms."""

    network: torch.nn.Module
    classes: list
    real: list
    numbers: list
    strategy: str
    together: bool
    key: int


def drawn(source, classes, schedule, seed, number, every=1, alike=False):
    """An iteration's draws; networks stay for `every` iterations; classes are augmented `alike`, or each on its own."""
    key, key_of_network = (draws.fold(draws.key_of(seed, "iterations"), at) for at in (number, number // every))
    network = build(schedule.network, int(source.labels.max()) + 1, source.shape)
    draws.draw_network(network, draws.fold(key_of_network, 0))
    smallest = int(source.labels.bincount().min())
    batch = min(schedule.real_batch, smallest)
    real, numbers = [], []
    for label in classes:
        members = [position for position, other in enumerate(source.labels.tolist()) if other == label]
        order = uniform(draws.fold(draws.fold(key, 1), label), len(members))
        chosen = [member for _, member in sorted(zip(order, members, strict=True), key=lambda pair: pair[0])][:batch]
        real.append(torch.stack([normalised(source, position) for position in chosen]))
        numbers.append(uniform(draws.fold(draws.fold(key, 2), 0 if alike else label), 4))
    together = "-BN" in schedule.network
    own = draws.fold(key, 3)
    return Iteration(network.double(), list(classes), real, numbers, schedule.augmentation, together, own)


def normalised(source, position):
    mean, std = (torch.tensor(x, dtype=torch.float64).view(-1, 1, 1) for x in (source.mean, source.std))
    return (source.images[position].double() / 255 - mean) / std


def draw(strategy, numbers, dtype=torch.float64):
    """A class's draw for the plain loops: the first of four numbers chooses an operation, the others are strengths."""
    names = strategy.split("_")
    return names[int(numbers[0] * len(names))], torch.tensor([numbers[1:]], dtype=dtype)


def augmented(images, strategy, numbers):
    return plain.augmented(images, draw(strategy, numbers, images.dtype))


# What a network makes of the images of a class.


@dataclass(frozen=True)
class Activations(objectives.Activations):
    """Also block outputs [n, ch, h, w], a list over blocks; logits [n, K], the class, and the key of terms."""

    block: list
    logits: Tensor
    label: int
    key: int


def activations(network, images, label=0, key=0):
    act, block = [], []
    for layer in network.blocks:
        act.append(layer.activation(layer.norm(layer.conv(images))))
        images = layer.pool(act[-1])
        block.append(images)
    embedding = images.flatten(1)
    return Activations(embedding, act, block, network.classifier(embedding), label, key)


def siamese(iteration, sets):
    """Activations of images that are augmented alike, as those of the other side are: class by class."""
    sets = [augmented(images, iteration.strategy, n) for images, n in zip(sets, iteration.numbers, strict=True)]
    return activations_of_classes(iteration, sets)


def of_views(iteration, sets, views):
    """Activations of so many copies of every image, each augmented on its own; with flips half as many, mirrored."""
    mirrored = "flip" in iteration.strategy
    copies = [images.repeat_interleave(views // (1 + mirrored), 0) for images in sets]
    named = zip(iteration.classes, copies, strict=True)
    sets = [torch.cat([_view(iteration, label, *one) for one in enumerate(images)]) for label, images in named]
    return activations_of_classes(iteration, [torch.cat((x, x.flip(-1))) for x in sets] if mirrored else sets)


def _view(iteration, label, at, image):
    return augmented(image[None], iteration.strategy, uniform(draws.fold(draws.fold(iteration.key, label), at), 4))


def activations_of_classes(iteration, sets):
    """One pass per class, except where the network's norm mixes images: then one batch of all classes."""
    named = list(zip(iteration.classes, sets, strict=True))
    if not iteration.together:
        return [activations(iteration.network, images, label, iteration.key) for label, images in named]
    whole, sizes = activations(iteration.network, torch.cat(sets)), [len(images) for images in sets]
    layers = [[x.split(sizes) for x in tap] for tap in (whole.act, whole.block)]
    vectors = zip(iteration.classes, whole.embedding.split(sizes), whole.logits.split(sizes), strict=True)
    return [
        Activations(embedding, *([x[i] for x in tap] for tap in layers), logits, label, iteration.key)
        for i, (label, embedding, logits) in enumerate(vectors)
    ]


# Condensers by name.


@dataclass(frozen=True)
class Preset:
    """Terms over all classes with their weights, and how they are matched.

    Mosaics are of factor x factor images, a network stays for `every` iterations, and classes may be augmented `alike`,
    or synthetic images alone, in so many `views`.
    """

    terms: Mapping[Callable[[list, list], Tensor], float]
    factor: int = 1
    every: int = 1
    alike: bool = False
    views: int = 0


def _sum(weights, **how):
    return Preset({TERMS[name]: weight for name, weight in weights.items()}, **how)


PRESETS = {name: Preset({over_classes(objective): 1}) for name, objective in objectives.OBJECTIVES.items()} | {
    "ddm-paper": _sum({"mm-paper": 5000, "cm-paper": 5000, "icd-paper": 10, "mean match": 1}),
    "ddm-code": _sum({"mm-code": 5000, "cm-code": 5000, "icd-code": 10, "mean match": 1}),
    "ddm-released": _sum({"mm-released": 10000, "cm-released": 10000, "mean match": 1}),
    "datadam": _sum({"attention-4": 100, "mean match": 1}),
    "datadam-code": _sum({"attention-1": 100, "mean match": 1}),
    "cf": _sum({"characteristic": 300}),
    "hdd": _sum({"hyperbolic": 20}),
    "dsdm": _sum({"mean match": 1, "covariance": 50, "prototype": 0.2}, factor=2),
    "idm": _sum({"mean match": 1, "labels": 0.5}, factor=2),
    "iid": _sum({"mean match": 1, "local covariance": 0.01, "spread": 0.05}),
    "iid-idm": _sum({"mean match": 1, "labels": 0.5, "local covariance": 0.01, "spread": 0.05}, factor=2),
    "cafe": _sum({"inner maps": 0.1, "last map": 1, "mean match": 2, "discrimination": 2.56}),
    "dm+mm": _sum({"mm-default": 5000, "mean match": 1}),
    "dm+cm": _sum({"cm-code": 5000, "mean match": 1}),
    "dm+sm": _sum({"mm-default": 5000, "cm-code": 5000, "mean match": 1}),
    "dm+icd": _sum({"icd-default": 10, "mean match": 1}),
    "dm+mm-paper": _sum({"mm-paper": 5000, "mean match": 1}),
    "dm+mm-code": _sum({"mm-code": 5000, "mean match": 1}),
    "dm+cm-paper": _sum({"cm-paper": 5000, "mean match": 1}),
    "dm+icd-paper": _sum({"icd-paper": 10, "mean match": 1}),
    "dm+icd-code": _sum({"icd-code": 10, "mean match": 1}),
    "dm+ridge": _sum({"ridge": 45, "mean match": 1}),
    "dm+blocks": _sum({"blocks": 76, "mean match": 1}),
    "readout": _sum({"blocks": 76, "mean match": 1}),
    "blockwise": _sum({"blocks": 76, "means of blocks": 8}, alike=True),
    "readout-views": _sum({"blocks-entropy": 18, "mean match": 1}, views=32),
    "dm+blocks-entropy": _sum({"blocks-entropy": 18, "mean match": 1}),
    "dm+whiten": _sum({"whitened": 0.25, "mean match": 1}),
    "m3d": _sum({"mmd": 1}, factor=2, every=5),
    "m3d-f1": _sum({"mmd": 1}, every=5),
}


def loss_and_gradient(preset, iteration, pixels):
    """At the stored `pixels` [C, M, ch, h, w]."""
    leaves = [images.detach().double().requires_grad_() for images in pixels]
    images = [decoded(stored, preset.factor) for stored in leaves]
    with torch.no_grad():
        real = activations_of_classes(iteration, iteration.real) if preset.views else siamese(iteration, iteration.real)
    synthetic = of_views(iteration, images, preset.views) if preset.views else siamese(iteration, images)
    loss = sum(weight * term(real, synthetic) for term, weight in preset.terms.items())
    return loss.detach(), torch.stack(torch.autograd.grad(loss, leaves))


def decoded(mosaics, factor):
    """Every tile of every mosaic, row by row, brought to full size."""
    side = mosaics.shape[-1]
    small, corners = side // factor, range(0, side, side // factor)
    enlarge = _bilinear(small, side)
    tiles = [image[:, y : y + small, x : x + small] for image in mosaics for y in corners for x in corners]
    return torch.stack([enlarge @ tile @ enlarge.T for tile in tiles])


def _bilinear(small, side):
    """A line's weights `[side, small]`: pixels are areas, whose centres are matched, and the edge goes on outside."""
    at = ((torch.arange(side, dtype=torch.float64) + 0.5) * small / side - 0.5).clamp(0, small - 1)
    return (1 - (at[:, None] - torch.arange(small)).abs()).clamp_min(0)
