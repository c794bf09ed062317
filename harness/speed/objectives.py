"""The objectives of the plain loops, from the papers' equations; in float64 tests compare the core with them.

A term compares what a network makes of one class's real and synthetic images; an objective is a weighted sum of terms,
summed over classes. Any dtype, any device. Nothing here comes from `condensers`, not even the papers' constants: else a
mistake there would be here as well, and no test would find it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Activations:
    """What a network makes of images of one class.

    Attributes:
        embedding: before the classifier, `[n, d]`.
        act: ReLU outputs of every block, `[n, ch, h, w]` each; empty where no term reads them.
    """

    embedding: Float[Tensor, "n d"]
    act: list[Tensor]


Term = Callable[[Activations, Activations], Tensor]  # real and synthetic images of one class to a scalar


@dataclass(frozen=True)
class Objective:
    """A weighted sum of terms.

    Attributes:
        terms: with their weights.
        maps: whether a term reads more than the embedding.
    """

    terms: Mapping[Term, float]
    maps: bool = True

    def __call__(self, real: Activations, synthetic: Activations) -> Float[Tensor, ""]:
        """The loss of one class."""
        return sum(weight * term(real, synthetic) for term, weight in self.terms.items())


def mean_match(real: Activations, synthetic: Activations) -> Float[Tensor, ""]:
    """DM (Zhao and Bilen, 2023): the squared distance of mean embeddings."""
    return (real.embedding.mean(0) - synthetic.embedding.mean(0)).square().sum()


def moments(real: Activations, synthetic: Activations) -> Float[Tensor, ""]:
    """DDM, Eq. 4 in the default reading: `moment_distance` of ReLU outputs, averaged over layers."""
    return sum(map(moment_distance, real.act, synthetic.act)) / len(real.act)


def correlations(real: Activations, synthetic: Activations) -> Float[Tensor, ""]:
    """DDM, Eq. 6 without its quarter: `gram_distance` of ReLU outputs, averaged over layers."""
    return sum(map(gram_distance, real.act, synthetic.act)) / len(real.act)


def crowding(real: Activations, synthetic: Activations) -> Float[Tensor, ""]:
    """DDM, Eq. 8 and 9, averaged over images: minus the diversity among the nearest fifth; no real image takes part."""
    return -diversity(synthetic.embedding, max(1, round(0.2 * len(synthetic.embedding))))


OBJECTIVES = {
    "dm": Objective({mean_match: 1.0}, maps=False),
    # DDM (Malakshan et al., 2024): lambda 5000 and alpha 1, beta 10.
    "ours": Objective({moments: 5000.0, correlations: 5000.0, crowding: 10.0, mean_match: 1.0}),
}


def moment_distance(real: Float[Tensor, "n ch h w"], synthetic: Float[Tensor, "m ch h w"]) -> Float[Tensor, ""]:
    """Half the squared distances of mean and deviation, which are taken per image and averaged over images.

    The distances are averaged over channels.
    """
    return sum((r - s).square().mean() for r, s in zip(_moments(real), _moments(synthetic), strict=True)) / 2


def _moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    flat = maps.flatten(2)
    mean = flat.mean(2)
    # Half the time of `torch.var` on a CPU (measured at 256 images of 128 channels, 32x32).
    variance = (flat.square().mean(2) - mean.square()).clamp_min(0)
    return mean.mean(0), (variance + 1e-5).sqrt().mean(0)


def gram_distance(real: Float[Tensor, "n ch h w"], synthetic: Float[Tensor, "m ch h w"]) -> Float[Tensor, ""]:
    """The squared distance of Gram matrices, `F F^T / (ch h w)` averaged over images."""
    return (_gram(real) - _gram(synthetic)).square().sum()


def _gram(maps: Tensor) -> Tensor:
    flat = maps.flatten(2)
    return torch.bmm(flat, flat.transpose(1, 2)).mean(0) / maps[0].numel()


def diversity(features: Float[Tensor, "n d"], neighbours: int) -> Float[Tensor, ""]:
    """Mean KL divergence of an image's softmax from the softmax of its nearest images' mean; 0 for a single image."""
    if len(features) == 1:
        return features.sum() * 0
    with torch.no_grad():
        apart = torch.cdist(features, features).fill_diagonal_(float("inf"))
        nearest = apart.topk(neighbours, largest=False).indices
    log_p, log_q = F.log_softmax(features, dim=1), F.log_softmax(features[nearest].mean(1), dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(1).mean()
