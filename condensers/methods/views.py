"""Views: DM and a readout of every block, fitted to augmented views and judged on plain images; a recipe of our own.

    L = sum over classes of || mean e(T_c) - mean e(V(S_c)) ||^2  +  18 R( p(T), p(V(S)) ),

e the embedding and p the pooled output of a block of a new random network at every iteration, T real images *as they
are*, V(S) thirty-two views of each synthetic image, each augmented on its own, every second one the mirror image of the
one before it, and R the cross-entropy on real images of a ridge regression fitted to the synthetic ones
(`condensers.methods.readouts`; mean over blocks, predictions times 10).

DSA gives both sides the same augmentation, so an iteration compares, say, a rotated memory with rotated images. An
evaluation does something else: it trains a network on augmented images of the memory and judges it on plain ones. Views
do the same, and cross-entropy is what that network minimises. Their cost: with ten classes of one image, 320 images an
iteration go forward twice and back once, beside 64 real ones for each class.

The recipe is for one image per class, and was fixed on a validation split of CIFAR-10 before its first test. It is the
views that count: after 500 iterations 2, 8 and 32 of them are 1.0 [0.5, 1.5], 3.1 [0.6, 5.7] and 5.9 [3.6, 8.2] points
above none, 32 with a squared error 5.6 [3.5, 7.7] (three memories; results/README.md, ablations/cifar10-ipc1-views).
"""

from dataclasses import replace

from condensers.core.grids import Grid
from condensers.core.recipe import Recipe
from condensers.methods.dm import MEAN_MATCH
from condensers.methods.readouts import BLOCKS, ENTROPY

VIEWS = Recipe(
    "readout-views",
    (MEAN_MATCH, ENTROPY),
    views=32,
    description="DM and a readout of every block, fitted to views and judged on plain images: for one image per class",
)
CONDENSERS = (VIEWS,)


def _seen(number: int) -> Recipe:
    return replace(VIEWS, name=f"readout-views-{number}", views=number)


GRIDS = (
    Grid(
        "views",
        "views of each synthetic image that a readout is fitted to (none: both sides augmented alike), and its error",
        {
            "none": "dm+blocks-entropy",
            "2": _seen(2),
            "8": _seen(8),
            "32": "readout-views",
            "32, squared": replace(VIEWS, name="readout-views-squared", terms=(MEAN_MATCH, BLOCKS)),
        },
    ),
)
