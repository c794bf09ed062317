"""HDD: hyperbolic dataset distillation (Li et al., NeurIPS 2025), on DM.

    L = 20 sum over classes of d(m_t, m_s),    d(x, y) = arcosh(-<x, y>),    <x, y> = -x_0 y_0 + x_1 y_1 + ... + x_d y_d

Embeddings f go to the hyperboloid <x, x> = -1 by the exponential map at its origin, x = (cosh r, sinh r f / ||f||),
r = ||f||. The centroid of a class is m = a / sqrt(-<a, a>), a the mean of its points. By this formula, which
is also the code's, points far from the origin weigh more in m (by cosh r); the authors say that points near it do,
which stand higher in the hierarchy. The distance is not squared. DM's schedule and pixel rate.

The factor 20 and the curvature -1 are those of the public code, which also cuts r off at 10. An embedding of a random
network is longer than that (18 at width 64 and 25 at width 128, on CIFAR-10). So all points lie on one sphere, no image
weighs more than another, and only directions are matched. `Hyperboloid(radius)` says where the cut is. In float64, as
cosh needs it. Departure: the paper's pruning of the real images is left out. HDD on IDM (factor 100) is not here.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from condensers.core.recipe import Recipe
from condensers.core.terms import Term


@dataclass(frozen=True)
class Hyperboloid:
    """Features as points of the hyperboloid, averaged over the set in the space around it.

    Attributes:
        radius: largest distance of a point from the origin; longer features are cut to it.
    """

    radius: float = 10.0

    def __call__(self, x: Tensor) -> Float64[Tensor, "C n"]:
        """Features `[C, B, d]` to the mean of their points; the first of n = d + 1 coordinates is time."""
        x = x.double()
        length = x.square().sum(2, keepdim=True).clamp_min(1e-8).sqrt()
        reached = length.clamp_max(self.radius)
        return torch.cat((reached.cosh(), reached.sinh() * x / length), dim=2).mean(1)


def geodesic(real: Float64[Tensor, "C n"], synthetic: Float64[Tensor, "C n"]) -> Float64[Tensor, ""]:
    """Distance on the hyperboloid between the centroids of both sides, summed over classes."""
    apart = _centroid(real) - _centroid(synthetic)
    # Equal to arcosh(-<x, y>), which loses digits where both are close. 1e-15, because the root is steep at 0.
    return 2 * torch.asinh(_lorentz(apart).clamp_min(1e-15).sqrt() / 2).sum()


def _centroid(mean: Tensor) -> Tensor:
    # A mean of points of the hyperboloid has 1 at least, which rounding hides where they are far from the origin.
    return mean / (-_lorentz(mean)).clamp_min(1.0).sqrt()[:, None]


def _lorentz(x: Tensor) -> Tensor:
    return x[:, 1:].square().sum(1) - x[:, 0].square()


CENTROIDS = Term(Hyperboloid(), geodesic, weight=20.0)
CONDENSERS = (
    Recipe(
        "hdd",
        (CENTROIDS,),
        description="class centroids on a hyperboloid",
        paper="Li et al., Hyperbolic Dataset Distillation, NeurIPS 2025",
    ),
)
