"""DC and DSA: gradient matching (Zhao, Mopuri and Bilen, ICLR 2021; Zhao and Bilen, ICML 2021).

    min_S  sum over classes of D(grad L(A(T_c)), grad L(A(S_c))),
    D = sum over layers and their outputs of 1 - cos(real, synthetic),

L the cross-entropy of a network f that is trained on S between two steps of the pixels, and drawn anew after some
steps: at 1, 10, 20 and 50 images per class after 1, 10, 20 and 50 steps, with 1, 50, 25 and 10 epochs between two steps
(2 to 9 images as 10; 30 and 40 as 20, where the code has 30 steps with 20 epochs and 40 with 15); a thousand networks
in all. The gradient of an output is that of all weights that lead to it. Parameters with one number a channel, biases
and most norms, are left out, as in the authors' code; of a layer norm, whose parameters are maps, each channel counts
as an output. In `dsa`, A is one Siamese augmentation per class and step; in `dc` nothing is augmented, not in the
training of f either. Pixels follow SGD with lr 0.1, momentum 0.5.

No network sees a real label, but each is trained on all classes, so a memory of all classes cannot be sliced into the
steps of a stream.
Departures: memories start from real images, as all here do, where DC starts from noise; batch norm is refused.
Cost: three passes for every real image, about eight for a synthetic one, and the training in between.
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from condensers.core.gradients import GradientRecipe
from condensers.core.optimizers import SGD
from condensers.core.pools import Alternating

ITERATIONS = ((1, 1_000), (2, 10_000), (20, 20_000), (50, 50_000))  # a thousand networks, each for its outer steps


def cosine(real: Sequence[Tensor], synthetic: Sequence[Tensor]) -> Float[Tensor, ""]:
    """1 - cosine of the gradients of each output's weights, summed over outputs and layers (DC, Eq. 9 and 10)."""
    pairs = zip(real, synthetic, strict=True)
    return sum(_layer(r.flatten(1), s.flatten(1)) for r, s in pairs if r.ndim > 1)


def _layer(real: Float[Tensor, "out weights"], synthetic: Float[Tensor, "out weights"]) -> Float[Tensor, ""]:
    # A small number in the denominator, so that dead outputs, whose gradients are zero, do not divide by it.
    similar = (real * synthetic).sum(1) / (real.norm(dim=1) * synthetic.norm(dim=1) + 1e-6)
    return (1 - similar).sum()


def _gradient_matching(name: str, augments: bool, description: str, paper: str) -> GradientRecipe:
    return GradientRecipe(
        name,
        cosine,
        networks=Alternating(),
        optimizer=SGD(0.1),
        iterations=ITERATIONS,
        augments=augments,
        description=description,
        paper=paper,
    )


CONDENSERS = (
    _gradient_matching(
        "dc",
        False,
        "gradient matching without augmentation",
        "Zhao, Mopuri and Bilen, Dataset Condensation with Gradient Matching, ICLR 2021",
    ),
    _gradient_matching(
        "dsa",
        True,
        "gradient matching, both sides augmented alike",
        "Zhao and Bilen, Dataset Condensation with Differentiable Siamese Augmentation, ICML 2021",
    ),
)
