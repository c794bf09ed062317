"""The terms of all methods, written from their papers: plain loops in float64, which share no arithmetic with the core.

A term takes what a network makes of real and of synthetic images (`reference.Activations`): of one class, or, as those
in TERMS, lists of them for all classes at once.
"""

import math
from dataclasses import replace
from functools import cache

import torch

from condensers.device import draws
from harness.speed import objectives


def uniform(key, n):
    return [((draws.fold(key, i) % 2**64) >> 40) / 2**24 for i in range(n)]


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


def icd_share(share):
    """Another share of the images as neighbours; an image has one fewer than there are."""

    def term(real, synthetic):
        images = len(synthetic.embedding)
        return -objectives.diversity(synthetic.embedding, min(max(1, round(share * images)), images - 1))

    return term


def of_block(number, term):
    """A term that sees one block alone."""

    def seen(side):
        return replace(side, act=[side.act[number - 1]])

    return lambda real, synthetic: term(seen(real), seen(synthetic))


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
    numbers = uniform(key, n)
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


def discrimination(real, synthetic):
    """CAFE: of every real image, by its products with the centers of all classes."""
    centers = torch.stack([x.embedding.mean(0) for x in synthetic])
    return sum(
        sum(-torch.log_softmax(centers @ image, 0)[label] for image in x.embedding) / len(x.embedding)
        for label, x in enumerate(real)
    )


def mean_maps(blocks):
    """CAFE: squared distances of the mean ReLU outputs of some blocks."""

    def term(real, synthetic):
        pairs = list(zip(real.act, synthetic.act, strict=True))[blocks]
        return sum(((r.mean(0) - s.mean(0)) ** 2).sum() for r, s in pairs)

    return over_classes(term)


def over_classes(term):
    def summed(real, synthetic):
        return sum(term(r, s) for r, s in zip(real, synthetic, strict=True))

    return summed


def ridge(real, synthetic):
    """A readout of the embedding."""
    return _readout(*([x.embedding for x in side] for side in (real, synthetic)))


def blocks(error):
    """The mean of readouts of every block, whose maps are averaged to 4 x 4 cells if they are larger."""

    def term(real, synthetic):
        sides = [[[_cells(maps) for maps in x.block] for x in side] for side in (real, synthetic)]
        layers = [_readout(*layer, error) for layer in zip(*(zip(*side, strict=True) for side in sides), strict=True)]
        return sum(layers) / len(layers)

    return term


def means_of_blocks(real, synthetic):
    """The squared distance of mean cells, averaged over blocks."""
    depth = len(real[0].block)
    pairs = [(r.block[at], s.block[at]) for r, s in zip(real, synthetic, strict=True) for at in range(depth)]
    return sum(((_cells(r).mean(0) - _cells(s).mean(0)) ** 2).sum() for r, s in pairs) / depth


def _cells(maps):
    cells = min(4, maps.shape[-1])
    return maps.unflatten(3, (cells, -1)).unflatten(2, (cells, -1)).mean((3, 5)).flatten(1)


def squared_error(predicted, labels):
    """Of one-hot labels less 1/C, averaged over images and classes, times C^2."""
    classes = predicted.shape[1]
    targets = torch.eye(classes, dtype=predicted.dtype)[labels] - 1 / classes
    return ((predicted - targets) ** 2).mean() * classes**2


def entropy_error(predicted, labels):
    """Cross-entropy of ten times the predictions, averaged over images, times C."""
    likely = torch.softmax(10 * predicted, 1)[torch.arange(len(labels)), labels]
    return -likely.log().mean() * predicted.shape[1]


def _readout(real, synthetic, error=squared_error):
    """A = (K_SS + r tr(K_SS)/n I)^-1 Y_S; the error of K_TS A on real images."""
    classes, size = len(real), real[0].shape[1]
    center = torch.cat(real).mean(0)
    t, s = ((torch.cat(side) - center) / math.sqrt(size) for side in (real, synthetic))
    labels_t, labels_s = (
        torch.cat([torch.full((len(x),), label) for label, x in enumerate(side)]) for side in (real, synthetic)
    )
    y_s = torch.eye(classes, dtype=s.dtype)[labels_s] - 1 / classes
    kernel = s @ s.T
    inverse = torch.linalg.inv(kernel + 0.1 * kernel.trace() / len(s) * torch.eye(len(s), dtype=s.dtype))
    return error(t @ s.T @ inverse @ y_s, labels_t)


def whitened(real, synthetic):
    """d_c^T (W + r tr(W)/d I)^-1 d_c, summed over classes; W the covariance of real images within classes."""
    size, images = real[0].embedding.shape[1], sum(len(x.embedding) for x in real)
    within = sum((x.embedding - x.embedding.mean(0)).T @ (x.embedding - x.embedding.mean(0)) for x in real) / images
    inverse = torch.linalg.inv(within + 0.1 * within.trace() / size * torch.eye(size, dtype=within.dtype))
    apart = [r.embedding.mean(0) - s.embedding.mean(0) for r, s in zip(real, synthetic, strict=True)]
    return sum(d @ inverse @ d for d in apart)


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
    "icd-half": over_classes(icd_share(0.5)),
    "icd-all": over_classes(icd_share(1)),
    "mm-block 1": over_classes(of_block(1, objectives.moments)),
    "cm-block 2": over_classes(of_block(2, objectives.correlations)),
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
    "inner maps": mean_maps(slice(-1)),
    "last map": mean_maps(slice(-1, None)),
    "discrimination": discrimination,
    "ridge": ridge,
    "blocks": blocks(squared_error),
    "blocks-entropy": blocks(entropy_error),
    "means of blocks": means_of_blocks,
    "whitened": whitened,
}
