"""K-center: real images such that every image of the class is near one of them (Sener and Savarese, ICLR 2018).

Greedy: the first is the image nearest to the mean of its class, the next is always the one farthest from all that are
chosen, so every prefix of the result is the set of that size. Distances are those of embeddings of the schedule's
network with random weights, as other condensers here use it. Class by class, as in the baselines of condensation; the
paper chooses among all classes at once, in the features of a trained network.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from condensers.core.recipe import Schedule, Selection
from condensers.core.selecting import choose, random_network
from condensers.device.images import LabelledImages


def kcenter(
    source: LabelledImages, classes: list[int], ipc: int, schedule: Schedule, seed: int
) -> Int64[Tensor, "C ipc"]:
    """Positions of the centers of each class. Raises ValueError if a class has fewer images."""
    return choose(source, classes, ipc, random_network(source, schedule, seed, "k-center network"), centers)


def centers(features: Float[Tensor, "n d"], ipc: int) -> Int64[Tensor, "ipc"]:
    """Positions of the first `ipc` centers, without a round trip to the host."""
    # keepdim, because indexing by a single number would make the host wait for it.
    picked = [_squared_distance(features, features.mean(0, keepdim=True)).argmin(0, keepdim=True)]
    nearest = torch.full_like(features[:, 0], float("inf"))
    for _ in range(1, ipc):
        nearest = torch.minimum(nearest, _squared_distance(features, features[picked[-1]]))
        # A duplicate of a center has distance 0, as the center has. -1 keeps the center itself from being picked again.
        nearest[picked[-1]] = -1
        picked.append(nearest.argmax(0, keepdim=True))
    return torch.cat(picked)


def _squared_distance(features: Float[Tensor, "n d"], point: Float[Tensor, "1 d"]) -> Float[Tensor, "n"]:
    return (features - point).square().sum(1)


CONDENSERS = (
    Selection(
        "kcenter",
        kcenter,
        "real images far from each other, random-network features",
        paper="Sener and Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, ICLR 2018",
        passes=1,
    ),
)
