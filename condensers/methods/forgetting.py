"""Forgetting: real images that a network forgets most often while it is trained (Toneva et al., ICLR 2019).

An image is forgotten when it is put in its class at the end of an epoch and is not at the end of the next. A network is
trained on all real images of the classes at hand, for 20 epochs; each class gives those that were forgotten most often,
in random order where they tie. The network sees all classes, so a memory of all of them cannot be sliced into the steps
of a stream.

Departures: the paper watches an image whenever its minibatch comes up, over 200 epochs, and ranks images that are never
learned above all others. After 20 epochs there are enough of these to fill a small memory, and nothing would depend on
forgetting: here they count as never forgotten.
"""

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from condensers.core.recipe import Schedule, Selection
from condensers.core.selecting import PROXY_EPOCHS, members_of, random_network, train_proxy
from condensers.device import draws
from condensers.device.images import LabelledImages
from condensers.device.training import predict


class Forgotten:
    """How often each image has been forgotten.

    Attributes:
        times: how often, until now, `[n]`.
    """

    def __init__(self, right: Bool[Tensor, "n"]) -> None:
        self.right, self.times = right, torch.zeros_like(right, dtype=torch.int64)

    def see(self, right: Bool[Tensor, "n"]) -> None:
        """Take in another epoch; `right` says which images the network puts into their class after it."""
        self.times += self.right & ~right
        self.right = right


def forgetting(
    source: LabelledImages, classes: list[int], ipc: int, schedule: Schedule, seed: int
) -> Int64[Tensor, "C ipc"]:
    """Positions of the most forgotten images of each class. Raises ValueError if a class has fewer images."""
    members = [members_of(source, label, ipc) for label in classes]
    together = torch.cat(members)
    times = _times_forgotten(source, source.subset(together), schedule, seed)
    ties = draws.uniform(torch.tensor([draws.key_of(seed, "ties")], device=times.device), len(source))[0]
    parts = (times + ties[together]).split([len(own) for own in members])
    return torch.stack([own[part.argsort(descending=True)[:ipc]] for own, part in zip(members, parts, strict=True)])


def _times_forgotten(source: LabelledImages, seen: LabelledImages, schedule: Schedule, seed: int) -> Int64[Tensor, "n"]:
    """How often each image of `seen` is forgotten while a network is trained on `seen`."""
    network = random_network(source, schedule, seed, "forgetting network")
    forgotten = Forgotten(torch.zeros_like(seen.labels, dtype=torch.bool))

    def watch(epochs: int) -> None:
        forgotten.see(predict(network, seen, schedule.chunk) == seen.labels)
        network.train()

    train_proxy(network, seen, schedule, seed, watch)
    return forgotten.times


CONDENSERS = (
    Selection(
        "forgetting",
        forgetting,
        "real images that a network forgets most often while it is trained on them",
        paper="Toneva et al., An Empirical Study of Example Forgetting during Deep Neural Network Learning, ICLR 2019",
        passes=PROXY_EPOCHS,
        epochs=PROXY_EPOCHS,
    ),
)
