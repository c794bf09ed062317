"""Readouts on trial for the lead recipe: ridge classifiers fitted to one side's features and judged on the other's.

A readout is fitted to the synthetic images and judged on the real ones (`forward`), or the other way round
(`reverse`). The features are those of a fresh random network: its embedding, or the output of every block, pooled. What
is on trial is named in `condensers.registry.TRIALS` and listed nowhere else; what proves its worth on a validation
split moves to a method of its own.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from condensers.core.terms import Term


@dataclass(frozen=True)
class Pooled:
    """The map of every image, averaged to at most `side` x `side` cells and flattened: `[C, B, ch * side^2]`."""

    side: int = 4

    @property
    def __name__(self) -> str:
        return repr(self)

    def __call__(self, x: Float[Tensor, "C B ch h w"]) -> Float[Tensor, "C B d"]:
        """Activations of one layer to features of every image."""
        return F.adaptive_avg_pool2d(x.flatten(0, 1), min(self.side, x.shape[-1])).flatten(1).unflatten(0, x.shape[:2])


@dataclass(frozen=True)
class Readout:
    """Error of a ridge regression of one-hot labels less 1/C, summed over outputs and classes.

    Attributes:
        ridge: share of the kernel's mean eigenvalue that is added to its diagonal.
        loss: squared error of the predictions, or cross-entropy of `scale` times them.
        scale: what predictions are multiplied by before cross-entropy.
        direction: `forward`: fitted to synthetic images, judged on real ones; `reverse`: the other way round.
        unit: whether features are brought to unit length once they are centred.
    """

    ridge: float = 0.1
    loss: Literal["square", "entropy"] = "square"
    scale: float = 10.0
    direction: Literal["forward", "reverse"] = "forward"
    unit: bool = False

    @property
    def __name__(self) -> str:
        return repr(self)

    def __call__(self, real: Float[Tensor, "C B d"], synthetic: Float[Tensor, "C M d"]) -> Float[Tensor, ""]:
        """Features of both sides to the error, averaged over the judged images of a class and summed over classes."""
        fitted, judged = (synthetic, real) if self.direction == "forward" else (real, synthetic)
        center, classes = real.mean((0, 1)), len(real)
        s, t = (self._scaled(x.flatten(0, 1) - center) for x in (fitted, judged))
        targets = torch.eye(classes, device=s.device) - 1 / classes
        readout = _fit(s, targets.repeat_interleave(fitted.shape[1], 0), self.ridge)
        predicted = t @ readout
        labels = torch.arange(classes, device=s.device).repeat_interleave(judged.shape[1])
        if self.loss == "square":
            error = (predicted - targets[labels]).square().sum()
        else:
            error = F.cross_entropy(self.scale * predicted, labels, reduction="sum")
        return error / judged.shape[1]

    def _scaled(self, features: Tensor) -> Tensor:
        return F.normalize(features, dim=1) if self.unit else features / features.shape[1] ** 0.5


def _fit(s: Float[Tensor, "n d"], targets: Float[Tensor, "n C"], ridge: float) -> Float[Tensor, "d C"]:
    """Weights of the ridge regression, by the smaller of its two equal systems."""
    small = s @ s.T if len(s) <= s.shape[1] else s.T @ s
    # The trace of both kernels is the same; the ridge is stated for the mean eigenvalue over images.
    small = small + ridge * small.trace() / len(s) * torch.eye(len(small), device=s.device)
    # Unchecked, for the host would wait; the ridge keeps the matrix regular.
    if len(s) <= s.shape[1]:
        return s.T @ torch.linalg.solve_ex(small, targets).result
    return torch.linalg.solve_ex(small, s.T @ targets).result


def of_blocks(side: int = 4, weight: float = 45.0, **reading: object) -> Term:
    """The term of a readout from every block, averaged over blocks."""
    return Term(Pooled(side), Readout(**reading), weight, tap="block", real="each", layers="mean", separable=False)
