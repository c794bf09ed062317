"""What selections of real images share: a network, random or trained on the real images, and a choice in each class."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from condensers.core.recipe import Schedule
from condensers.core.sampling import check_enough
from condensers.device import draws
from condensers.device.images import LabelledImages
from condensers.device.networks import new_network
from condensers.device.training import Training, train

PROXY_EPOCHS = 20
# From the features of a class and a number of images to the positions of the chosen images, best first.
Choice = Callable[[Float[Tensor, "n d"], int], Int64[Tensor, "ipc"]]


def random_network(source: LabelledImages, schedule: Schedule, seed: int, name: str) -> nn.Module:
    """The schedule's network with random weights, drawn from `name` under the seed.

    Batch norms have seen no image yet: with running mean 0 and variance 1 they do not normalise features. Other norms
    have no running statistics.
    """
    classes = int(source.labels.max()) + 1
    return new_network(schedule.network, classes, source.shape, source.images.device, draws.key_of(seed, name))


def train_proxy(
    network: nn.Module,
    seen: LabelledImages,
    schedule: Schedule,
    seed: int,
    progress: Callable[[int], object] = lambda epochs: None,
) -> None:
    """Train a network on all real images that a selection may see; `progress` is called after every epoch."""
    proxy = Training(epochs=PROXY_EPOCHS, augmentation=schedule.augmentation, chunk=schedule.chunk)
    train(network, seen.normalise(seen.images), seen.labels, proxy, draws.key_of(seed, "proxy"), progress)


@torch.no_grad()
def choose(
    source: LabelledImages, classes: Sequence[int], ipc: int, network: nn.Module, choice: Choice
) -> Int64[Tensor, "C ipc"]:
    """Positions of the images that are chosen in the network's features, class by class.

    Raises ValueError if a class has fewer images.
    """
    network.eval()
    chosen = []
    for label in classes:
        members = members_of(source, label, ipc)
        parts = [network.features(source.normalise(part)) for part in source.images[members].split(64)]
        chosen.append(members[choice(torch.cat(parts), ipc)])
    return torch.stack(chosen)


def members_of(source: LabelledImages, label: int, ipc: int) -> Int64[Tensor, "n"]:
    """Positions of a class's images. Raises ValueError if there are fewer than `ipc`."""
    members = (source.labels == label).nonzero().squeeze(1)
    check_enough([len(members)], ipc)
    return members
