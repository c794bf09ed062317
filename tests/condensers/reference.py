"""What holds the core to the plain loops of `harness.speed`, in float64.

The plain loops share no arithmetic with the core. Here stands what only tests need: an iteration's draws, named once
more; the network, layer by layer; terms that no plain loop is timed with; and each condenser's name beside its terms.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from condensers.device import draws
from harness.speed import objectives, plain
from search_spaces.registry import build

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


def drawn(source, classes, schedule, seed, number, every=1):
    """An iteration's draws; networks stay for `every` iterations."""
    key, key_of_network = (draws.fold(draws.key_of(seed, "iterations"), at) for at in (number, number // every))
    network = build(schedule.network, int(source.labels.max()) + 1, source.shape)
    draws.draw_network(network, draws.fold(key_of_network, 0))
    smallest = int(source.labels.bincount().min())
    batch = min(schedule.real_batch, smallest)
    real, numbers = [], []
    for label in classes:
        members = [position for position, other in enumerate(source.labels.tolist()) if other == label]
        order = _uniform(draws.fold(draws.fold(key, 1), label), len(members))
        chosen = [member for _, member in sorted(zip(order, members, strict=True), key=lambda pair: pair[0])][:batch]
        real.append(torch.stack([normalised(source, position) for position in chosen]))
        numbers.append(_uniform(draws.fold(draws.fold(key, 2), label), 4))
    together = "-BN" in schedule.network
    own = draws.fold(key, 3)
    return Iteration(network.double(), list(classes), real, numbers, schedule.augmentation, together, own)


def _uniform(key, n):
    return [((draws.fold(key, i) % 2**64) >> 40) / 2**24 for i in range(n)]


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


def activations_of_classes(iteration, sets):
    """One pass per class, except where the network's norm mixes images: then one batch of all classes."""
    sets = [augmented(x, iteration.strategy, n) for x, n in zip(sets, iteration.numbers, strict=True)]
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


# Readings of DDM's terms that no plain loop is timed with.


def mm_paper(real, synthetic):
    """Equation 4 with the variance, after each block, summed."""

    def moments(maps):
        flat = maps.flatten(2)
        return torch.stack((flat.mean(2), flat.var(2, correction=0))).mean(1)

    return sum(((moments(r) - moments(s)) ** 2).sum() / 2 for r, s in zip(real.block, synthetic.block, strict=True))


def mm_code(real, synthetic):
    """Moments of the average map."""
    pairs = zip(real.act, synthetic.act, strict=True)
    return sum(objectives.moment_distance(r.mean(0)[None], s.mean(0)[None]) for r, s in pairs) / len(real.act)


def cm_paper(real, synthetic):
    """Equation 6, after each block, summed."""
    return sum(map(objectives.gram_distance, real.block, synthetic.block)) / 4


def icd_paper(real, synthetic):
    """Equation 8, summed over images."""
    return len(synthetic.embedding) * objectives.crowding(real, synthetic)


def icd_code(real, synthetic):
    """Two neighbours at any number of images."""
    return -objectives.diversity(synthetic.embedding, min(2, len(synthetic.embedding) - 1))


# DDM's released scripts.


def carried_over(distance):
    """Their loop over classes: what is left of the classes before is added to, divided and counted again."""

    def term(real, synthetic):
        total = carried = 0
        for r, s in zip(real, synthetic, strict=True):
            for maps_r, maps_s in zip(r.act, s.act, strict=True):
                carried = carried + distance(maps_r, maps_s)
            carried = carried / len(r.act)
            total = total + carried
        return total

    return term


def mm_released(real, synthetic):
    """Moments of the average map, with the unbiased variance."""
    (r_var, r_mean), (s_var, s_mean) = (torch.var_mean(maps.mean(0), dim=(1, 2)) for maps in (real, synthetic))
    apart = ((r_mean - s_mean) ** 2).mean() + (((r_var + 1e-5).sqrt() - (s_var + 1e-5).sqrt()) ** 2).mean()
    return apart / 2


# Terms of other methods.


def mmd(real, synthetic):
    """M3D: the biased squared MMD of embeddings, kernel by kernel, from the distance of every pair."""
    x, n = torch.cat((real.embedding, synthetic.embedding)), len(real.embedding)
    distance = ((x[:, None] - x[None]) ** 2).sum(2)
    width = distance.detach().sum() / (len(x) * (len(x) - 1))
    total = 0
    for power in (-2, -1, 0, 1, 2):
        kernel = torch.exp(-distance / (width * 2.0**power))
        total = total + kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()
    return total


def attention(power):
    """DataDAM: image by image, in every block but the last."""

    def mean_map(maps):
        found = [(image.abs() ** power).sum(0) for image in maps]
        return sum(one / (one**2).sum().sqrt() for one in found) / len(found)

    def term(real, synthetic):
        pairs = list(zip(real.act, synthetic.act, strict=True))[:-1]
        return sum(((mean_map(r) - mean_map(s)) ** 2).sum() for r, s in pairs)

    return over_classes(term)


@cache
def _normal(key, n):
    """Box and Muller: a number from the first half gives the radius, one from the second the angle."""
    numbers = _uniform(key, n)
    pairs = list(zip(numbers[: n // 2], numbers[n // 2 :], strict=True))
    return [
        math.sqrt(-2 * math.log(1 - first)) * part(2 * math.pi * second)
        for part in (math.cos, math.sin)
        for first, second in pairs
    ]


def characteristic(real, synthetic):
    """NCFM's discrepancy as printed, by amplitude and phase, each weighted by a half, at 1024 frequencies."""
    size = real.embedding.shape[1]
    frequencies = torch.tensor(_normal(real.key, 1024 * size), dtype=torch.float64).view(1024, size)
    phi_r, phi_s = (
        torch.exp(1j * (x.embedding / x.embedding.norm(dim=1, keepdim=True)) @ (frequencies.T + 0j)).mean(0)
        for x in (real, synthetic)
    )
    amplitude = (phi_r.abs() - phi_s.abs()) ** 2
    phase = 2 * phi_r.abs() * phi_s.abs() * (1 - torch.cos(phi_r.angle() - phi_s.angle()))
    return ((amplitude + phase) / 2).sqrt().mean()


def hyperbolic(radius):
    """HDD: each feature by the exponential map, from which `radius` is reached at most; centroids; their distance."""

    def product(x, y):
        return (x[1:] * y[1:]).sum() - x[0] * y[0]

    def centroid(features):
        points = []
        for feature in features:
            length = feature.norm()
            reached = length.clamp(max=radius)
            points.append(torch.cat((torch.cosh(reached)[None], torch.sinh(reached) * feature / length)))
        mean = sum(points) / len(points)
        return mean / (-product(mean, mean)).sqrt()

    def term(real, synthetic):
        return torch.acosh(-product(centroid(real.embedding), centroid(synthetic.embedding)))

    return over_classes(term)


def covariance(real, synthetic):
    """DSDM: unbiased covariances of the embedding, over the number of features; that of one image is 0."""

    def of(features):
        centred = features - features.mean(0)
        return centred.T @ centred / max(1, len(features) - 1)

    return ((of(real.embedding) - of(synthetic.embedding)) ** 2).sum() / real.embedding.shape[1]


def prototype(real, synthetic):
    """DSDM: at the start a moving prototype is the prototype."""
    return objectives.mean_match(real, synthetic) / real.embedding.shape[1]


def cross_entropy(real, synthetic):
    """IDM: of the synthetic images under their class."""
    return -torch.log(torch.softmax(synthetic.logits, 1)[:, synthetic.label]).mean()


def local_covariance(real, synthetic):
    """IID: of the last maps, centred by their mean map, image by image."""

    def of(maps):
        centred = (maps - maps.mean(0)).flatten(2)
        return sum(image @ image.T for image in centred) / len(maps)

    return ((of(real.block[-1]) - of(synthetic.block[-1])) ** 2).sum()


def spread(real, synthetic):
    """IID: squared distances from the mean of the class."""
    return sum(((one - synthetic.embedding.mean(0)) ** 2).sum() for one in synthetic.embedding)


def over_classes(term):
    def summed(real, synthetic):
        return sum(term(r, s) for r, s in zip(real, synthetic, strict=True))

    return summed


def ridge(real, synthetic):
    """A readout of the embedding."""
    return _readout(*([x.embedding for x in side] for side in (real, synthetic)))


def blocks(real, synthetic):
    """The mean of readouts of every block, whose maps are averaged to 4 x 4 cells if they are larger."""
    sides = [[[_cells(maps) for maps in x.block] for x in side] for side in (real, synthetic)]
    layers = [_readout(*layer) for layer in zip(*(zip(*side, strict=True) for side in sides), strict=True)]
    return sum(layers) / len(layers)


def _cells(maps):
    cells = min(4, maps.shape[-1])
    return maps.unflatten(3, (cells, -1)).unflatten(2, (cells, -1)).mean((3, 5)).flatten(1)


def _readout(real, synthetic):
    """A = (K_SS + r tr(K_SS)/n I)^-1 Y_S; mean squared error of K_TS A on real images, times C^2."""
    classes, size = len(real), real[0].shape[1]
    center = torch.cat(real).mean(0)
    t, s = ((torch.cat(side) - center) / math.sqrt(size) for side in (real, synthetic))
    y_t, y_s = (
        torch.cat([(torch.arange(classes) == label).double().expand(len(x), -1) for label, x in enumerate(side)])
        - 1 / classes
        for side in (real, synthetic)
    )
    kernel = s @ s.T
    inverse = torch.linalg.inv(kernel + 0.1 * kernel.trace() / len(s) * torch.eye(len(s), dtype=s.dtype))
    return ((t @ s.T @ inverse @ y_s - y_t) ** 2).mean() * classes**2


# Condensers by name.


@dataclass(frozen=True)
class Preset:
    """Terms over all classes with their weights; mosaics of factor x factor images; iterations that a network stays."""

    terms: Mapping[Callable[[list, list], Tensor], float]
    factor: int = 1
    every: int = 1


TERMS = {
    "mean match": over_classes(objectives.mean_match),
    "mm-paper": over_classes(mm_paper),
    "mm-code": over_classes(mm_code),
    "mm-default": over_classes(objectives.moments),
    "cm-paper": over_classes(cm_paper),
    "cm-code": over_classes(objectives.correlations),
    "icd-paper": over_classes(icd_paper),
    "icd-code": over_classes(icd_code),
    "icd-default": over_classes(objectives.crowding),
    "mm-released": carried_over(mm_released),
    "cm-released": carried_over(objectives.gram_distance),
    "mmd": over_classes(mmd),
    "attention-4": attention(4),
    "attention-1": attention(1),
    "characteristic": over_classes(characteristic),
    "hyperbolic": hyperbolic(10.0),
    "hyperbolic-capped": hyperbolic(2.0),
    "covariance": over_classes(covariance),
    "prototype": over_classes(prototype),
    "labels": over_classes(cross_entropy),
    "local covariance": over_classes(local_covariance),
    "spread": over_classes(spread),
    "ridge": ridge,
    "blocks": blocks,
}


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
    "dm+mm": _sum({"mm-default": 5000, "mean match": 1}),
    "dm+cm": _sum({"cm-code": 5000, "mean match": 1}),
    "dm+sm": _sum({"mm-default": 5000, "cm-code": 5000, "mean match": 1}),
    "dm+icd": _sum({"icd-default": 10, "mean match": 1}),
    "dm+ridge": _sum({"ridge": 45, "mean match": 1}),
    "dm+blocks": _sum({"blocks": 76, "mean match": 1}),
    "m3d": _sum({"mmd": 1}, factor=2, every=5),
    "m3d-f1": _sum({"mmd": 1}, every=5),
}


def loss_and_gradient(preset, iteration, pixels):
    """At the stored `pixels` [C, M, ch, h, w]."""
    leaves = [images.detach().double().requires_grad_() for images in pixels]
    with torch.no_grad():
        real = activations_of_classes(iteration, iteration.real)
    synthetic = activations_of_classes(iteration, [decoded(images, preset.factor) for images in leaves])
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
