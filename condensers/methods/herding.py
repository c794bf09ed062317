"""Herding: real images whose running mean of features follows the class mean (Welling, 2009; iCaRL, 2017).

Greedy: the next image is the one that brings the mean of the selected features closest to the mean of the class, so
every prefix of the result is itself the herding set of that size. The features are those of a named network: randomly
initialised, as every condenser here sees them (`herding`), or trained on the real images at hand for 20 epochs
(`herding-trained`, the authors' reruns do so; it looks at the classes together, so it cannot be sliced by step).
"""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from condensers.core.recipe import Schedule, Selection
from condensers.core.sampling import check_enough
from condensers.device import draws
from condensers.device.images import LabelledImages
from condensers.device.networks import new_network
from condensers.device.training import Training, train

PROXY_EPOCHS = 20


def herding(
    source: LabelledImages, classes: list[int], ipc: int, schedule: Schedule, seed: int
) -> Int64[Tensor, "C ipc"]:
    """Positions of the herding set of each class in the features of a random network.

    Raises ValueError if a class has fewer images.
    """
    return _herd(source, classes, ipc, _embedding(source, schedule, seed))


def herding_trained(
    source: LabelledImages, classes: list[int], ipc: int, schedule: Schedule, seed: int
) -> Int64[Tensor, "C ipc"]:
    """The same in the features of a network trained on all real images of `classes`."""
    embedding, seen = _embedding(source, schedule, seed), source.of_classes(classes)
    proxy = Training(epochs=PROXY_EPOCHS, augmentation=schedule.augmentation, chunk=schedule.chunk)
    train(embedding, seen.normalise(seen.images), seen.labels, proxy, draws.key_of(seed, "proxy"))
    return _herd(source, classes, ipc, embedding)


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


def _embedding(source: LabelledImages, schedule: Schedule, seed: int) -> nn.Module:
    classes, key = int(source.labels.max()) + 1, draws.key_of(seed, "herding network")
    return new_network(schedule.network, classes, source.shape, source.images.device, key)


@torch.no_grad()
def _herd(source: LabelledImages, classes: list[int], ipc: int, embedding: nn.Module) -> Tensor:
    embedding.eval()
    chosen = []
    for label in classes:
        members = (source.labels == label).nonzero().squeeze(1)
        check_enough([len(members)], ipc)
        parts = [embedding.features(source.normalise(part)) for part in source.images[members].split(64)]
        chosen.append(members[select(torch.cat(parts), ipc)])
    return torch.stack(chosen)


CONDENSERS = (
    Selection(
        "herding",
        herding,
        "real images near the class mean, random-network features",
        paper="Welling, Herding Dynamical Weights to Learn, ICML 2009",
    ),
    Selection(
        "herding-trained",
        herding_trained,
        "the same in the features of a network trained on the real images",
        paper="Rebuffi et al., iCaRL: Incremental Classifier and Representation Learning, CVPR 2017",
        trained_on_real=True,
    ),
)
