"""DM: dataset condensation with distribution matching (Zhao and Bilen, WACV 2023).

    min_S  sum over classes of || mean f(A(T_c)) - mean f(A(S_c)) ||^2,

f the embedding of a new random network at every iteration, A one Siamese augmentation per class and iteration. Pixels
start from real images and follow SGD with lr 1, momentum 0.5. Departure: CIFAR-10 at 100 images per class or more
uses lr 10 in the paper; here the rate is 1 at any number.
"""

from condensers.core.recipe import Recipe
from condensers.core.terms import Term, mean_activation, squared

MEAN_MATCH = Term(mean_activation, squared)
DM = Recipe(
    "dm",
    (MEAN_MATCH,),
    description="distribution matching: class means of random-network features",
    paper="Zhao and Bilen, Dataset Condensation with Distribution Matching, WACV 2023",
)
CONDENSERS = (DM,)
