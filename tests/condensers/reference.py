"""One matching iteration written out plainly: the oracle that the fast path is held to.

Class by class, layer by layer, image by image, in float64, from the papers' equations. It shares with the code under
test the drawn numbers, named here once more, and the layers of the network; nothing else.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from condensers.device import draws
from search_spaces.registry import build

# Augmentation: each operation takes images [n, ch, side, side] and three numbers in [0, 1).


def flip(images, r, *_):
    return images.flip(3) if r < 0.5 else images


def crop(images, across, down, _):
    side = images.shape[-1]
    reach = int(side * 0.125 + 0.5)
    left, top = (int(number * (2 * reach + 1)) for number in (across, down))
    return F.pad(images, (reach, reach, reach, reach))[:, :, top : top + side, left : left + side]


def cutout(images, down, across, _):
    side = images.shape[-1]
    size = int(side * 0.5 + 0.5)
    places = side + 1 - size % 2
    top, left = (int(number * places) - size // 2 for number in (down, across))
    kept = images.clone()
    kept[:, :, max(top, 0) : top + size, max(left, 0) : left + size] = 0
    return kept


def color(images, brightness, saturation, contrast):
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * (saturation * 2)
    level = torch.stack([image.mean() for image in images]).view(-1, 1, 1, 1)
    return level + (images - level) * (contrast + 0.5)


def scale(images, across, down, _):
    x, y = _grid(images.shape[-1])
    factors = [1 / 1.2 + number * (1.2 - 1 / 1.2) for number in (across, down)]
    return _sample(images, x * factors[0], y * factors[1])


def rotate(images, r, *_):
    x, y = _grid(images.shape[-1])
    angle = (2 * r - 1) * math.pi / 12
    cos, sin = math.cos(angle), math.sin(angle)
    return _sample(images, cos * x - sin * y, sin * x + cos * y)


def _grid(side):
    line = torch.linspace(-1, 1, side, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return x, y


def _sample(images, x, y):
    grid = torch.stack([x, y], dim=2).expand(len(images), -1, -1, -1)
    return F.grid_sample(images, grid.to(images.dtype), mode="bilinear", padding_mode="zeros", align_corners=True)


OPERATIONS = {"color": color, "crop": crop, "cutout": cutout, "flip": flip, "scale": scale, "rotate": rotate}


def augmented(images, strategy, numbers):
    """The first of four numbers chooses one of the operations, the others are its strengths."""
    if not strategy:
        return images
    names = strategy.split("_")
    return OPERATIONS[names[int(numbers[0] * len(names))]](images, *numbers[1:])


# What is drawn in an iteration.


@dataclass
class Iteration:
    """The network, and for each class its real images [B, ch, h, w] and its four augmentation numbers."""

    network: torch.nn.Module
    real: list
    numbers: list
    strategy: str
    together: bool


def drawn(source, classes, schedule, seed, number):
    key = draws.fold(draws.key_of(seed, "iterations"), number)
    network = build(schedule.network, int(source.labels.max()) + 1, source.shape)
    draws.draw_network(network, draws.fold(key, 0))
    smallest = int(source.labels.bincount().min())
    batch = min(schedule.real_batch, smallest)
    real, numbers = [], []
    for label in classes:
        members = [position for position, other in enumerate(source.labels.tolist()) if other == label]
        order = _uniform(draws.fold(draws.fold(key, 1), label), len(members))
        chosen = [member for _, member in sorted(zip(order, members, strict=True), key=lambda pair: pair[0])][:batch]
        real.append(torch.stack([_normalised(source, position) for position in chosen]))
        numbers.append(_uniform(draws.fold(draws.fold(key, 2), label), 4))
    return Iteration(network.double(), real, numbers, schedule.augmentation, "-BN" in schedule.network)


def _uniform(key, n):
    return [((draws.fold(key, i) % 2**64) >> 40) / 2**24 for i in range(n)]


def _normalised(source, position):
    mean, std = (torch.tensor(x, dtype=torch.float64).view(-1, 1, 1) for x in (source.mean, source.std))
    return (source.images[position].double() / 255 - mean) / std


# What a network makes of the images of a class.


@dataclass
class Activations:
    """Embeddings [n, d]; ReLU outputs and block outputs [n, ch, h, w], a list over blocks."""

    embedding: torch.Tensor
    act: list
    block: list


def activations(network, images):
    act, block = [], []
    for layer in network.blocks:
        act.append(layer.activation(layer.norm(layer.conv(images))))
        images = layer.pool(act[-1])
        block.append(images)
    return Activations(images.flatten(1), act, block)


def activations_of_classes(iteration, sets):
    """One pass per class, except where the network's norm mixes images: then one batch of all classes."""
    sets = [augmented(x, iteration.strategy, n) for x, n in zip(sets, iteration.numbers, strict=True)]
    if not iteration.together:
        return [activations(iteration.network, images) for images in sets]
    whole, sizes = activations(iteration.network, torch.cat(sets)), [len(images) for images in sets]
    layers = [[x.split(sizes) for x in tap] for tap in (whole.act, whole.block)]
    return [
        Activations(embedding, *([x[i] for x in tap] for tap in layers))
        for i, embedding in enumerate(whole.embedding.split(sizes))
    ]


# Terms: activations of every class, real and synthetic, to a number.


def over_classes(term):
    def summed(real, synthetic):
        return sum(term(r, s) for r, s in zip(real, synthetic, strict=True))

    return summed


@over_classes
def mean_match(real, synthetic):
    """DM."""
    return sum((r - s) ** 2 for r, s in zip(real.embedding.mean(0), synthetic.embedding.mean(0), strict=True))


def _average_moments(maps, second):
    """Mean and second moment of each channel of each image, averaged over the images."""
    means = [image.flatten(1).mean(1) for image in maps]
    seconds = [second(image.flatten(1).var(1, correction=0)) for image in maps]
    return sum(means) / len(maps), sum(seconds) / len(maps)


def _deviation(variance):
    return (variance + 1e-5).sqrt()


@over_classes
def mm_paper(real, synthetic):
    """Equation 4 with the variance, after each block."""
    total = 0
    for r, s in zip(real.block, synthetic.block, strict=True):
        (mean_r, var_r), (mean_s, var_s) = (_average_moments(x, lambda variance: variance) for x in (r, s))
        total = total + ((mean_s - mean_r) ** 2).sum() / 2 + ((var_s - var_r) ** 2).sum() / 2
    return total


@over_classes
def mm_code(real, synthetic):
    """Moments of the average map, ReLU outputs, means over channels and layers."""
    total = 0
    for r, s in zip(real.act, synthetic.act, strict=True):
        (mean_r, std_r), (mean_s, std_s) = (_average_moments([x.mean(0)], _deviation) for x in (r, s))
        total = total + ((mean_s - mean_r) ** 2).mean() / 2 + ((std_s - std_r) ** 2).mean() / 2
    return total / len(real.act)


@over_classes
def mm_default(real, synthetic):
    """As `mm_code`, moments of each image averaged over images."""
    total = 0
    for r, s in zip(real.act, synthetic.act, strict=True):
        (mean_r, std_r), (mean_s, std_s) = (_average_moments(x, _deviation) for x in (r, s))
        total = total + ((mean_s - mean_r) ** 2).mean() / 2 + ((std_s - std_r) ** 2).mean() / 2
    return total / len(real.act)


def _mean_gram(maps):
    grams = [image.flatten(1) @ image.flatten(1).T for image in maps]
    return sum(grams) / len(grams)


@over_classes
def cm_paper(real, synthetic):
    """Equation 6."""
    total = 0
    for r, s in zip(real.block, synthetic.block, strict=True):
        _, n, h, w = r.shape
        total = total + ((_mean_gram(s) - _mean_gram(r)) ** 2).sum() / (4 * (h * w) ** 2 * n**2)
    return total


@over_classes
def cm_code(real, synthetic):
    """Four times equation 6, ReLU outputs, mean over layers."""
    total = 0
    for r, s in zip(real.act, synthetic.act, strict=True):
        _, n, h, w = r.shape
        total = total + ((_mean_gram(s) / (n * h * w) - _mean_gram(r) / (n * h * w)) ** 2).sum()
    return total / len(real.act)


def _divergences(features, k=None):
    """KL of each image's softmax from that of the mean of its k nearest (equations 8 and 9)."""
    if len(features) == 1:
        return features.sum() * torch.zeros(1, dtype=features.dtype)
    k = min(k, len(features) - 1) if k else max(1, round(0.2 * len(features)))
    divergences = []
    for i, x in enumerate(features):
        others = [y for j, y in enumerate(features) if j != i]
        nearest = sorted(others, key=lambda y: float(((x - y).detach() ** 2).sum()))[:k]
        p, q = torch.softmax(x, 0), torch.softmax(sum(nearest) / k, 0)
        divergences.append((p * (p / q).log()).sum())
    return torch.stack(divergences)


@over_classes
def icd_paper(real, synthetic):
    return -_divergences(synthetic.embedding).sum()


@over_classes
def icd_default(real, synthetic):
    return -_divergences(synthetic.embedding).mean()


@over_classes
def icd_code(real, synthetic):
    return -_divergences(synthetic.embedding, k=2).mean()


def ridge(real, synthetic):
    """A = (K_SS + r tr(K_SS)/n I)^-1 Y_S; mean squared error of K_TS A on real images, times C^2."""
    classes, size = len(real), real[0].embedding.shape[1]
    center = torch.cat([r.embedding for r in real]).mean(0)
    t, s = (torch.cat([(x.embedding - center) / math.sqrt(size) for x in side]) for side in (real, synthetic))
    y_t, y_s = (
        torch.cat(
            [(torch.arange(classes) == label).double().expand(len(x.embedding), -1) for label, x in enumerate(side)]
        )
        - 1 / classes
        for side in (real, synthetic)
    )
    kernel = s @ s.T
    inverse = torch.linalg.inv(kernel + 0.1 * kernel.trace() / len(s) * torch.eye(len(s), dtype=s.dtype))
    return ((t @ s.T @ inverse @ y_s - y_t) ** 2).mean() * classes**2


TERMS = {
    "mean match": mean_match,
    "mm-paper": mm_paper,
    "mm-code": mm_code,
    "mm-default": mm_default,
    "cm-paper": cm_paper,
    "cm-code": cm_code,
    "icd-paper": icd_paper,
    "icd-code": icd_code,
    "icd-default": icd_default,
    "ridge": ridge,
}
# lambda 5000 (alpha 1), beta 10.
PRESETS = {
    "dm": {mean_match: 1},
    "ours": {mm_default: 5000, cm_code: 5000, icd_default: 10, mean_match: 1},
    "ddm-paper": {mm_paper: 5000, cm_paper: 5000, icd_paper: 10, mean_match: 1},
    "ddm-code": {mm_code: 5000, cm_code: 5000, icd_code: 10, mean_match: 1},
    "dm+mm": {mm_default: 5000, mean_match: 1},
    "dm+cm": {cm_code: 5000, mean_match: 1},
    "dm+sm": {mm_default: 5000, cm_code: 5000, mean_match: 1},
    "dm+icd": {icd_default: 10, mean_match: 1},
    "dm+ridge": {ridge: 45, mean_match: 1},
}


def loss_and_gradient(objective, iteration, pixels):
    """Of `{term: weight}` at `pixels` [C, M, ch, h, w]."""
    leaves = [images.detach().double().requires_grad_() for images in pixels]
    with torch.no_grad():
        real = activations_of_classes(iteration, iteration.real)
    synthetic = activations_of_classes(iteration, leaves)
    loss = sum(weight * term(real, synthetic) for term, weight in objective.items())
    return loss.detach(), torch.stack(torch.autograd.grad(loss, leaves))
