"""BPTT: pixels follow the loss on real images back through a short window of training (after RaT-BPTT).

    min_S  L(T; theta_K),    theta_k+1 = theta_k - lr v_k+1,  v_k+1 = m v_k + grad L(A_k(S); theta_k),

theta_0 a new random network that has been trained on S for a random number of epochs, so that the window of K steps
lies anywhere in a training; L the cross-entropy, A_k one augmentation a step. Source: Feng, Vedantam and Kempe,
"Embarrassingly Simple Dataset Distillation", ICLR 2024, whose window is random in place and truncated.

Hard labels and no network that has seen a real one: the ceiling of the strict league, for it optimises what a memory is
judged by. Departures: labels are not learned, pixels start from real images, the steps have the evaluation's rate and
momentum (0.01, 0.9) but no weight decay, the start loses its velocity between epochs, and each step of the window is on
the whole memory. Cost: eight passes a step and image of the memory, all steps
of the window held in memory at once.
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
