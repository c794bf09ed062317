"""IDM: improved distribution matching for dataset condensation (Zhao et al., CVPR 2023).

    L = sum over classes of  || mean f(A(T_c)) - mean f(A(S_c)) ||^2  +  w mean of -log p(c | A(s)),  s in S_c,

f and p of a network from a queue: it holds up to 100 networks in the middle of their training on real images, two of
which make ten steps in every iteration, and every 30 iterations a fresh one joins and the oldest leaves. Each stored
image is cut into four that are enlarged (partition and expand). w is 0.5, from 50 images per class on 0.1 (CIFAR-10;
the public code also has 0.1 for CIFAR-100 at 10, and 50 steps there); 20,000 iterations, pixel rate 0.2, 256 real
images, at one image per class 5,000.

The public code multiplies w by the network's training accuracy in percent, which the paper does not say: its cross-
entropy weighs up to 50. Here w is the paper's. Further departures: networks are trained with the base schedule's
augmentation, where the code uses none, and their momentum starts anew at every turn; at one image per class the code
adds a fresh network every five iterations; one step for all classes, where the code steps after each. Cost: 5,120
images an iteration to train networks, recorded as hidden training.
"""

from jaxtyping import Float
from torch import Tensor

from condensers.core.optimizers import SGD
from condensers.core.pixels import Factor
from condensers.core.pools import Queue
from condensers.core.recipe import Recipe
from condensers.core.terms import LOGITS, Context, Term, contextual, of_synthetic_images
from condensers.methods.dm import MEAN_MATCH


@contextual
def cross_entropy(logits: Float[Tensor, "C B K"], context: Context) -> Float[Tensor, "C"]:
    """The cross-entropy of each class's images under their own label, averaged over the images."""
    own = context.labels[:, None, None].expand(*logits.shape[:2], 1)
    return -logits.log_softmax(2).gather(2, own).mean((1, 2))


@of_synthetic_images
def summed(real: Tensor, synthetic: Float[Tensor, "C"]) -> Float[Tensor, ""]:
    """Summed over classes; real images play no part."""
    return synthetic.sum()


LABELS = Term(cross_entropy, summed, weight=((1, 0.5), (50, 0.1)), tap=LOGITS)
IDM = Recipe(
    "idm",
    (MEAN_MATCH, LABELS),
    networks=Queue(),
    pixels=Factor(2, clamp=False),
    optimizer=SGD(lr=0.2),
    real_batch=((1, 5000), (2, 256)),
    description="DM and cross-entropy on a queue of half-trained networks; each stored image decodes to four",
    paper="Zhao et al., Improved Distribution Matching for Dataset Condensation, CVPR 2023",
)
CONDENSERS = (IDM,)
