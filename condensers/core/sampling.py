"""Real images by class, drawn without replacement: the batches of matching, and the images that memories start from."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from condensers.device import draws
from condensers.device.images import LabelledImages


class Pools:
    """The real images of each class, to be drawn from by number."""

    def __init__(self, source: LabelledImages, classes: Sequence[int]) -> None:
        self.source = source
        members = [(source.labels == label).nonzero().squeeze(1) for label in classes]
        self.sizes = [len(member) for member in members]
        self.counts = torch.tensor(self.sizes, device=source.labels.device)
        self.table = nn.utils.rnn.pad_sequence(members, batch_first=True)

    def draw(self, keys: Int64[Tensor, "C"], n: int) -> Int64[Tensor, "C n"]:
        """Positions in the source of `n` different images of each class."""
        return self.table.gather(1, draws.without_replacement(keys, self.counts, max(self.sizes), n))


def initial_images(
    source: LabelledImages, pools: Pools, classes: Int64[Tensor, "C"], ipc: int, seed: int
) -> Float[Tensor, "C ipc ch h w"]:
    """Random real images of each class: where every recipe starts."""
    chosen = pools.draw(draws.keys(draws.key_of(seed, "initial images"), classes), ipc)
    return source.normalise(source.images[chosen])


def check_enough(sizes: Sequence[int], ipc: int, decoded: int = 1, dataset: str = "") -> None:
    """Raise ValueError unless every class has the real images that a memory starts from.

    Args:
        sizes: images of each class.
        ipc: stored images per class.
        decoded: images that each of them is decoded to.
        dataset: its name, for the message.
    """
    smallest, most = min(sizes), min(sizes) // decoded
    if not 1 <= ipc <= most:
        each = f", each from {decoded} real ones" if decoded > 1 else ""
        advice = f": give 1 to {most}" if most else ""
        whose = f"the smallest class of {dataset}" if dataset else "the smallest class"
        raise ValueError(f"{ipc} images per class asked for{each}, but {whose} has {smallest}{advice}")
