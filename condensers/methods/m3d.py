"""M3D: dataset condensation by minimizing maximum mean discrepancy (Zhang et al., AAAI 2024).

    L = sum over classes of  mean k(t, t') + mean k(s, s') - 2 mean k(t, s),        t = f(A(T_c)), s = f(A(S_c)),

the biased MMD in the feature space of a random network, which matches all moments where DM matches the first. k is a
sum of five Gaussian kernels exp(-d^2 / w), w = 2^-2 .. 2^2 times the mean squared distance between different images of
both sides, through which no gradient flows. 5,000 iterations, a new network every five, 128 real images, and rates of
1, 10 and 20 at 1, 10 and 50 images per class, for pixels from 0 to 1. Each stored image is a mosaic of four (factor 2),
so `m3d` is in the open league; `m3d-f1` stores plain images. Pixels are kept between black and white.

Departures: the base schedule's augmentation and normalisation, as for every method here.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from condensers.core.grids import Grid
from condensers.core.networks import Fresh
from condensers.core.pixels import Factor
from condensers.core.recipe import SGD, Recipe
from condensers.core.terms import Term, every_image


@dataclass(frozen=True)
class GaussianMMD:
    """Biased squared MMD with a sum of Gaussian kernels, summed over classes.

    Attributes:
        kernels: how many; their widths are powers of two around the mean squared distance.
    """

    kernels: int = 5

    def __call__(self, real: Float[Tensor, "C B d"], synthetic: Float[Tensor, "C M d"]) -> Float[Tensor, ""]:
        """Features of both sides to the discrepancy."""
        size = real.shape[1]
        kernel = self._kernel(torch.cat((real, synthetic), dim=1))
        within_real, within_synthetic = kernel[:, :size, :size], kernel[:, size:, size:]
        means = (part.mean((1, 2)) for part in (within_real, within_synthetic, kernel[:, :size, size:]))
        real_mean, synthetic_mean, across = means
        return (real_mean + synthetic_mean - 2 * across).sum()

    def _kernel(self, features: Float[Tensor, "C n d"]) -> Float[Tensor, "C n n"]:
        images = features.shape[1]
        # Centred, because distances from products lose digits far from the origin.
        features = features - features.mean(1, keepdim=True)
        products = features @ features.transpose(1, 2)
        squares = products.diagonal(dim1=1, dim2=2)
        distance = (squares[:, :, None] + squares[:, None, :] - 2 * products).clamp_min(0)
        width = distance.detach().sum((1, 2), keepdim=True) / (images**2 - images)
        powers = range(-(self.kernels // 2), self.kernels - self.kernels // 2)
        return sum(torch.exp(-distance / (width * 2.0**power)) for power in powers)


MMD = Term(every_image, GaussianMMD())
RATES = ((1, 1.0), (10, 10.0), (50, 20.0))


def _m3d(name: str, factor: int, description: str) -> Recipe:
    return Recipe(
        name,
        (MMD,),
        networks=Fresh(every=5),
        pixels=Factor(factor),
        optimizer=SGD(lr=RATES, unit_pixels=True),
        iterations=5000,
        real_batch=128,
        description=description,
        paper="Zhang et al., M3D: Dataset Condensation by Minimizing Maximum Mean Discrepancy, AAAI 2024",
    )


CONDENSERS = (
    _m3d("m3d", 2, "kernel MMD; each stored image decodes to four"),
    _m3d("m3d-f1", 1, "kernel MMD on plain images"),
)
GRIDS = (Grid("m3d-factor", "images along each side of a stored mosaic", {"1": "m3d-f1", "2": "m3d"}, "M3D, Figure 3"),)
