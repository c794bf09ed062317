"""Measures of a memory against real images, on one network of random weights or on none.

Networks are random, as in DDM's objective, so that no number depends on how a network was trained. DDM's own figures
come from networks that were trained on both sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from condensers.core.activations import Found, concatenate, in_order, merge, read
from condensers.core.recipe import Recipe
from condensers.core.terms import EMBEDDING, Context, every_image, of_each_image

STYLE = "act"  # the tap whose first layer has the style
LEVELS, DISTANCES = 32, (1, 2)  # grey levels; distances in pixels, as in kernels of 3 x 3 and 5 x 5
ANGLES = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
NEIGHBOURS = 0.2  # part of a class's images that count as near, as in DDM


@of_each_image
def style(x: Float[Tensor, "C B ch h w"]) -> Float[Tensor, "C B d"]:
    """Mean and standard deviation of each map of each image: `[C, B, 2 ch]`."""
    variance, mean = torch.var_mean(x, (3, 4), correction=0)
    return torch.cat((mean, variance.sqrt()), 2)


@dataclass(frozen=True)
class Sight:
    """What one network sees of images that are ordered by class.

    Attributes:
        style: of the first layer, `[C, n, 2 ch]`.
        embedding: `[C, n, d]`.
        found: the readings that the objectives need.
    """

    style: Float[Tensor, "C n s"]
    embedding: Float[Tensor, "C n d"]
    found: Found


@torch.no_grad()
def see(
    network: nn.Module, images: Float[Tensor, "C n ch h w"], objectives: Sequence[Recipe], labels: Tensor, chunk: int
) -> Sight:
    """Look at all images of all classes, at most `chunk` at once."""
    reads = {reads for recipe in objectives for term in recipe.terms for reads in term.reads}
    wanted = in_order(reads | {(STYLE, style), (EMBEDDING, every_image)})
    found = concatenate([_class(network, own, wanted, label, chunk) for own, label in zip(images, labels, strict=True)])
    return Sight(found[STYLE, style][0], found[EMBEDDING, every_image][0], found)


def style_gap(memory: Sight, real: Sight) -> float:
    """Distance between mean styles in standard deviations of the real images' styles, averaged over classes."""
    center = real.style.mean(1)
    apart = (memory.style.mean(1) - center).norm(dim=1)
    deviation = (real.style - center[:, None]).square().sum(2).mean(1).sqrt()
    return float((apart / deviation).mean())


def diversity(memory: Sight, real: Sight) -> float:
    """Mean distance from the nearest neighbours in the class, over that among as many real images.

    nan for a single image per class, or if there are fewer real images.
    """
    size = memory.embedding.shape[1]
    if size == 1 or real.embedding.shape[1] < size:
        return float("nan")
    parts = [part for part in real.embedding.split(size, 1) if part.shape[1] == size]
    return float((_near(memory.embedding) / sum(map(_near, parts)) * len(parts)).mean())


def loss(recipe: Recipe, memory: Sight, real: Sight) -> float:
    """The recipe's objective, summed over classes."""
    return float(recipe.at(memory.style.shape[1]).loss(real.found, memory.found))


def texture(images: UInt8[Tensor, "n ch h w"]) -> tuple[float, float]:
    """Dissimilarity and entropy (in bits) of grey-level co-occurrence matrices, averaged over images."""
    # Imported here, because it takes longer than everything else of the command.
    from skimage.feature import graycomatrix, graycoprops

    grey = (images.float().mean(1) * (LEVELS / 256)).to(torch.uint8).numpy()
    matrices = [graycomatrix(one, DISTANCES, ANGLES, LEVELS, symmetric=True, normed=True) for one in grey]
    dissimilarity = [graycoprops(matrix, "dissimilarity").mean() for matrix in matrices]
    return float(np.mean(dissimilarity)), float(np.mean([_entropy(matrix) for matrix in matrices]))


def _class(network: nn.Module, images: Tensor, wanted: list, label: Tensor, chunk: int) -> Found:
    parts, context = images[None].split(chunk, 1), Context(label[None], torch.zeros(1, dtype=torch.int64))
    return merge([read(network, part, wanted, context) for part in parts], [part.shape[1] for part in parts])


def _near(embedding: Float[Tensor, "C n d"]) -> Float[Tensor, "C"]:
    """Mean distance of the images of a class from their nearest neighbours."""
    apart = torch.cdist(embedding, embedding, compute_mode="donot_use_mm_for_euclid_dist")
    count = max(1, round(NEIGHBOURS * embedding.shape[1]))
    # The smallest distance is that of an image from itself.
    return apart.topk(count + 1, dim=2, largest=False).values[:, :, 1:].mean((1, 2))


def _entropy(matrix: np.ndarray) -> float:
    """Entropy in bits of co-occurrences `[levels, levels, distances, angles]`, averaged over distances and angles."""
    logarithm = np.log2(matrix, where=matrix > 0, out=np.zeros_like(matrix))
    return float(-(matrix * logarithm).sum((0, 1)).mean())
