"""`ddm-released`: what the scripts compute that the authors of DDM have released (Malakshan et al., 2024).

    for class c = 1 .. C:    A <- (A + sum over n layers of  lambda (M_c + G_c)) / n,    L <- L + A + DM_c

M is half the squared distance of channel means and deviations of the batch-averaged ReLU output, averaged over
channels, G the squared distance of Gram matrices, lambda 10000. The accumulator A is divided within the loop over
classes and never reset. So a class's loss is added again with every later class, divided by n once more each time: with
three layers its style loss counts 1.5 times if it comes early, once if it is the last. How much a class's style counts
depends on its place, so classes are coupled: a memory of all classes is not a set of memories of each.

The scripts never sum all four terms of the paper. This is their style matching without diversity: both M and G, where
they run only one of the two beside DM. `ours` and the presets beside it are readings of the paper.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from condensers.core.recipe import Recipe
from condensers.core.statistics import gram
from condensers.core.terms import Statistics, Term, mean_activation
from condensers.methods.dm import MEAN_MATCH


@dataclass(frozen=True)
class Accumulated(Term):
    """A term averaged over layers and accumulated from class to class; its distance gives a number for each class."""

    couples_classes = True

    def value(self, real: Statistics, synthetic: Statistics) -> Float[Tensor, ""]:
        """The weighted sum of the distances of all classes, each as often as the accumulator adds it."""
        own = self._layers(synthetic)
        by_class = sum(self.distance(r, s) for r, s in zip(self._layers(real), own, strict=True)) / len(own)
        shares = float(len(own)) ** -torch.arange(len(by_class), device=by_class.device)
        return self.weight * (by_class * shares.cumsum(0).flip(0)).sum()


def moments_by_class(real: Float[Tensor, "C ch h w"], synthetic: Float[Tensor, "C ch h w"]) -> Float[Tensor, "C"]:
    """Half the squared distance of both moments of a class's mean map, averaged over channels."""
    return (_moments(real) - _moments(synthetic)).square().sum(1).mean(1) / 2


def correlations_by_class(real: Float[Tensor, "C ch ch"], synthetic: Float[Tensor, "C ch ch"]) -> Float[Tensor, "C"]:
    """Squared distance of a class's Gram matrices."""
    return (real - synthetic).square().sum((1, 2))


def _moments(maps: Float[Tensor, "C ch h w"]) -> Float[Tensor, "C 2 ch"]:
    """Mean and deviation over space; the variance is unbiased, in contrast to every other reading here."""
    variance, mean = torch.var_mean(maps.flatten(2), dim=2)
    return torch.stack((mean, (variance + 1e-5).sqrt()), dim=1)


LAMBDA = 10_000.0
CONDENSERS = (
    Recipe(
        "ddm-released",
        (
            Accumulated(mean_activation, moments_by_class, LAMBDA, tap="act", layers="mean"),
            Accumulated(gram, correlations_by_class, LAMBDA, tap="act", layers="mean"),
            MEAN_MATCH,
        ),
        description="DM and style matching, as the authors' released scripts compute it",
        paper="Malakshan et al., Decomposed Distribution Matching in Dataset Condensation, 2024",
    ),
)
