"""BPTT: pixels follow the loss on real images back through a short window of training (after RaT-BPTT).

    min_S  L(T; theta_K),    theta_k+1 = theta_k - lr v_k+1,  v_k+1 = m v_k + grad L(A_k(S); theta_k),

theta_0 a new random network that has been trained on S for a random number of epochs, so that the window of K steps
lies anywhere in a training; L the cross-entropy, A_k one augmentation a step. Source: Feng, Vedantam and Kempe,
"Embarrassingly Simple Dataset Distillation", ICLR 2024, whose window is random in place and truncated.

Labels are hard and no network is trained on real images. It is the ceiling of the strict league, because it optimises
what a memory is judged by. Departures: a window of 10 steps after at most 30 epochs, where the authors' command for
CIFAR-10 has 60 of at most 200 steps; these steps are SGD at the evaluation's rate and momentum (0.01, 0.9) without
weight decay, where theirs are Adam at 0.001, and each is on the whole memory; in the start every epoch begins without
velocity; pixels start from real images and follow Adam at 0.03, not 0.001; 256 real images of each class, not 5,000 of
all, and they are not augmented; no ZCA; labels are not learned. Cost: eight passes a step and image of the memory, and
the device holds the activations of all steps of the window at once.
"""

from condensers.core.optimizers import Adam
from condensers.core.pools import PartlyTrained
from condensers.core.unrolling import UnrolledRecipe

CONDENSERS = (
    UnrolledRecipe(
        "bptt",
        networks=PartlyTrained(),
        optimizer=Adam(0.03),
        description="real images' loss, back through a window of training on the memory",
        paper="Feng, Vedantam and Kempe, Embarrassingly Simple Dataset Distillation, ICLR 2024",
    ),
)
