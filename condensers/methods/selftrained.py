"""`dm-self`: DM on networks that are trained on the memory itself, while it is made.

    min_S  sum over classes of || mean f(A(T_c)) - mean f(A(S_c)) ||^2,    f from a pool trained on (S, labels of S)

No network sees a real label, so the method stays in the strict league, but every network sees all classes, so a memory
of all classes cannot be sliced into the steps of a stream. The pool is FRePo's (Zhou, Nezhadarya and Ba, NeurIPS 2022),
with hard labels and DM's objective instead of theirs. Cost: one network's epoch on the decoded memory an iteration,
recorded as hidden training.
"""

from condensers.core.pools import OnSynthetic
from condensers.core.recipe import Recipe
from condensers.methods.dm import MEAN_MATCH

CONDENSERS = (
    Recipe(
        "dm-self",
        (MEAN_MATCH,),
        networks=OnSynthetic(),
        description="dm on networks that are trained on the memory itself",
    ),
)
