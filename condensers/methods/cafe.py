"""CAFE: learning to condense dataset by aligning features (Wang et al., CVPR 2022).

    L = sum over layers and classes of w_l || mean F_l(T_c) - mean F_l(S_c) ||^2
        + 2.56 sum over classes of mean of -log softmax_k(<f(t), mean f(S_k)>)_c,    t in T_c

F are the ReLU outputs of every block, with w = 0.1, and 1 for the last, and the embedding f, with w = 2. The second
term classifies real images by the class centers of the synthetic ones; 2.56 is 0.01, summed over the 256 real images
of each class. Networks are trained on the memory. Pixel rate 0.1. `cafe-dsa` augments both sides. 20,000 iterations:
the code matches on 2,000 networks one after another, on each for ten iterations at least.

All numbers are those of the public code (which matches the embedding twice, each time with weight 1). Departures: its
loop is dynamic: it matches on a network until the network's accuracy on real images stops changing, then trains the
network until it changes again. Here a pool of ten networks is used: every iteration trains one of them for an epoch,
and each is renewed after ten epochs. So real labels enter by the objective alone, not by networks or schedule. Networks
are trained with the evaluation's momentum and weight decay, where the code has neither. Memories start from real
images, not from noise; the pixel rate does not fall. The second term couples classes, as does the training. Cost: as DM
with its feature maps, and an epoch on the memory in every iteration, recorded as hidden training.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from condensers.core.optimizers import SGD
from condensers.core.pools import OnSynthetic
from condensers.core.recipe import Recipe
from condensers.core.terms import Term, coupling, every_image, mean_activation, squared


@coupling
def discrimination(real: Float[Tensor, "C B d"], synthetic: Float[Tensor, "C M d"]) -> Float[Tensor, ""]:
    """Cross-entropy of real images by products with synthetic centers: averaged over images, summed over classes."""
    classes, images = real.shape[:2]
    products = real.flatten(0, 1) @ synthetic.mean(1).T
    labels = torch.arange(classes, device=real.device).repeat_interleave(images)
    return F.cross_entropy(products, labels, reduction="sum") / images


OBJECTIVE = (
    Term(mean_activation, squared, 0.1, tap="act", blocks="inner"),
    Term(mean_activation, squared, 1.0, tap="act", blocks="last"),
    Term(mean_activation, squared, 2.0),
    Term(every_image, discrimination, 2.56),
)


def _cafe(name: str, augments: bool, description: str) -> Recipe:
    return Recipe(
        name,
        OBJECTIVE,
        networks=OnSynthetic(),
        optimizer=SGD(lr=0.1),
        iterations=20_000,
        augments=augments,
        description=description,
        paper="Wang et al., CAFE: Learning to Condense Dataset by Aligning Features, CVPR 2022",
    )


CONDENSERS = (
    _cafe("cafe", False, "means of every layer, and real images told apart by synthetic centers; no augmentation"),
    _cafe("cafe-dsa", True, "the same, both sides augmented alike"),
)
