"""Herding: real images whose running mean of features follows the class mean (Welling, 2009; iCaRL, 2017).

Greedy: the next image is the one that brings the mean of the selected features closest to the mean of the class, so
every prefix of the result is itself the herding set of that size. The features are those of the schedule's network:
with random weights, as other condensers here use it (`herding`), or trained on the real images of the classes for 20
epochs (`herding-trained`, as in the reruns of DM's authors; the network sees all classes, so a memory of all of them
cannot be sliced into the steps of a stream). Departure: features keep their length, which iCaRL brings to 1.
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from condensers.core.recipe import Schedule, Selection
from condensers.core.selecting import PROXY_EPOCHS, choose, random_network, train_proxy
from condensers.device.images import LabelledImages

NETWORK = "herding network"


def herding(
    source: LabelledImages, classes: list[int], ipc: int, schedule: Schedule, seed: int
) -> Int64[Tensor, "C ipc"]:
    """Positions of the herding set of each class in the features of a random network.

    Raises ValueError if a class has fewer images.
    """
    return choose(source, classes, ipc, random_network(source, schedule, seed, NETWORK), select)


def herding_trained(
    source: LabelledImages, classes: list[int], ipc: int, schedule: Schedule, seed: int
) -> Int64[Tensor, "C ipc"]:
    """The same in the features of a network trained on all real images of `classes`."""
    network = random_network(source, schedule, seed, NETWORK)
    train_proxy(network, source.of_classes(classes), schedule, seed)
    return choose(source, classes, ipc, network, select)


def select(features: Float[Tensor, "n d"], ipc: int) -> Int64[Tensor, "ipc"]:
    """Positions of the first `ipc` images that herding picks, without a round trip to the host."""
    mean, total = features.mean(0), torch.zeros_like(features[0])
    taken = torch.zeros(len(features), device=features.device)
    picked = []
    for size in range(1, ipc + 1):
        distance = ((total + features) / size - mean).square().sum(1) + taken
        # keepdim, because indexing by a single number would make the host wait for it.
        best = distance.argmin(0, keepdim=True)
        taken[best] = float("inf")
        total = total + features[best][0]
        picked.append(best)
    return torch.cat(picked)


CONDENSERS = (
    Selection(
        "herding",
        herding,
        "real images near the class mean, random-network features",
        paper="Welling, Herding Dynamical Weights to Learn, ICML 2009",
        passes=1,
    ),
    Selection(
        "herding-trained",
        herding_trained,
        "the same in the features of a network trained on the real images",
        paper="Rebuffi et al., iCaRL: Incremental Classifier and Representation Learning, CVPR 2017",
        passes=1,
        epochs=PROXY_EPOCHS,
    ),
)
