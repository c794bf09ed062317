"""DM: dataset condensation with distribution matching (Zhao and Bilen, WACV 2023).

    min_S  sum over classes of || mean f(A(T_c)) - mean f(A(S_c)) ||^2,

f the embedding of a new random network at every iteration, A one Siamese augmentation per class and iteration. Pixels
start from real images and follow SGD with lr 1, momentum 0.5. Departure: CIFAR-10 at 100 images per class or more
uses lr 10 in the paper; here that is a choice of the caller (`Recipe.pixel_lr`).

The other terms of this family are named here too, so that any sum of them is a recipe: `dm+sm+ridge`.
"""

from condensers.core.terms import Term, every_image, mean_activation, ridge_readout, squared

MEAN_MATCH = Term(mean_activation, squared)

# Weight 15 a class gave equal pixel gradients on CIFAR-10 at 10 images per class; of that, three and nine times, three
# scored best on a validation split (results/study/cifar10-terms).
RIDGE = Term(every_image, ridge_readout, weight=45.0, real="each", separable=False)
