"""IID: exploiting inter-sample and inter-feature relations in dataset distillation (Deng et al., CVPR 2024).

    L = L_base  +  0.01 sum over classes of || K_t - K_s ||^2  +  0.05 sum over s of || g(s) - mean g ||^2

K is the covariance of local features: with the last feature map of an image as F, `[ch, h * w]`, and the mean map of
its side as M, K = mean of (F - M) (F - M)^T, `[ch, ch]` (covariance matching). g is the embedding of a network trained
on the real images, the mean is over the class, and the term pulls its images together (class centralisation): the
opposite of DDM's diversity. The base is DM (`iid`) or IDM (`iid-idm`), on its own networks and with its own schedule.

Departures: g has the architecture of the networks that are matched on, where the paper trains ResNet-18s; a pool of two
such networks after 20 epochs, where the code picks among 1,000 after 40 (arguments of `Pretrained`). On IDM
the code weighs the two terms 0.03 and 0.01; here they weigh the same on both bases. Cost: one more forward and backward
pass of the synthetic images, and the pool, recorded as hidden training.
"""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from condensers.core.judged import Judged
from condensers.core.pools import Pretrained
from condensers.core.recipe import Recipe
from condensers.core.statistics import gram
from condensers.core.terms import JUDGE, Term, every_image, mean_activation, of_synthetic_images, squared
from condensers.methods.dm import DM
from condensers.methods.idm import IDM

# Of one side: mean Gram matrices `[C, ch, ch]`, divided by ch * h * w, and mean maps `[C, ch, h, w]`.
GramAndMean = tuple[Tensor, Tensor]


def local_covariance_distance(real: GramAndMean, synthetic: GramAndMean) -> Float[Tensor, ""]:
    """Squared distance between the covariances of local features, summed over classes."""
    return squared(_covariance(*real), _covariance(*synthetic))


@of_synthetic_images
def spread(real: Tensor, synthetic: Float[Tensor, "C M d"]) -> Float[Tensor, ""]:
    """Squared distance of images from the mean of their class, summed over all; real images play no part."""
    return (synthetic - synthetic.mean(1, keepdim=True)).square().sum()


def _covariance(products: Float[Tensor, "C ch ch"], mean: Float[Tensor, "C ch h w"]) -> Float[Tensor, "C ch ch"]:
    maps = mean.flatten(2)
    return products * mean[0].numel() - maps @ maps.transpose(1, 2)


JUDGES = Pretrained(nearest=1.0)
LOCAL = Term((gram, mean_activation), local_covariance_distance, 0.01, tap="block", blocks="last")
CENTRAL = Term(every_image, spread, 0.05, tap=JUDGE)


def _iid(name: str, base: Recipe, description: str) -> Recipe:
    return replace(
        base,
        name=name,
        terms=(*base.terms, LOCAL, CENTRAL),
        networks=Judged(base.networks, JUDGES),
        description=description,
        paper="Deng et al., Exploiting Inter-Sample and Inter-Feature Relations in Dataset Distillation, CVPR 2024",
    )


CONDENSERS = (
    _iid("iid", DM, "DM, covariances of local features, and class centralisation by trained networks"),
    _iid("iid-idm", IDM, "the same on IDM; each stored image decodes to four"),
)
