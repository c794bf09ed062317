"""DSDM: diversified semantic distribution matching (Li et al., ACM MM 2024).

    L = sum over classes of  || m_t - m_s ||^2  +  50 / d || K_t - K_s ||^2  +  0.2 / d || h - m_s ||^2

in the embedding of networks trained on the real images: m are class means (prototypes), K unbiased covariances
`[d, d]`, and h is a moving average of prototypes, h <- 0.99 h + 0.01 m, because networks differ between iterations.
Each stored image is a mosaic of four (factor 2), and pixels are kept between black and white. 10,000 iterations, 256
real images, a rate of 0.1 M / 10 for pixels from 0 to 1. The weights are those of the public code.

Departures: h follows the prototype of the real images, as the paper's text has it ("historical integrated prototypes");
the code lets it follow the synthetic one, and adds the term after 2,000 iterations. A pool of two networks instead of
ten, each trained for 20 epochs without CutMix. The base schedule's augmentation. One step for all classes where the
code steps after each. Cost: the pool, recorded as hidden training; covariances are compared by products of images,
never built.
"""

from jaxtyping import Float
from torch import Tensor

from condensers.core.optimizers import SGD
from condensers.core.pixels import Factor
from condensers.core.pools import Pretrained
from condensers.core.recipe import Recipe
from condensers.core.terms import Term, every_image, mean_activation, squared
from condensers.methods.dm import MEAN_MATCH


def covariance_distance(real: Float[Tensor, "C B d"], synthetic: Float[Tensor, "C M d"]) -> Float[Tensor, ""]:
    """Squared distance of unbiased covariances, summed over classes and divided by the number of features."""
    t, s = (_deviations(side) for side in (real, synthetic))
    # || A^T A - B^T B ||^2 by products of images, of which there are fewer than features.
    products = (x @ y.transpose(1, 2) for x, y in ((t, t), (s, s), (t, s)))
    within_real, within_synthetic, across = (product.square().sum() for product in products)
    return (within_real + within_synthetic - 2 * across) / real.shape[2]


def squared_per_feature(real: Float[Tensor, "C d"], synthetic: Float[Tensor, "C d"]) -> Float[Tensor, ""]:
    """Squared distance, summed over classes and averaged over features."""
    return squared(real, synthetic) / real.shape[1]


def _deviations(x: Tensor) -> Tensor:
    """Deviations from the mean, scaled so that their products add up to the covariance; 0 for a single image."""
    return (x - x.mean(1, keepdim=True)) / max(1, x.shape[1] - 1) ** 0.5


COVARIANCE = Term(every_image, covariance_distance, weight=50.0)
PROTOTYPE = Term(mean_activation, squared_per_feature, weight=0.2, decay=0.99)
CONDENSERS = (
    Recipe(
        "dsdm",
        (MEAN_MATCH, COVARIANCE, PROTOTYPE),
        networks=Pretrained(nearest=1.0),
        pixels=Factor(2),
        optimizer=SGD(lr=0.01, per_image=True, unit_pixels=True),
        iterations=10_000,
        description="means, covariances and a moving mean in trained networks; each stored image decodes to four",
        paper="Li et al., Diversified Semantic Distribution Matching for Dataset Distillation, ACM MM 2024",
    ),
)
