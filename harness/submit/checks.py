"""Checks on readable entries: as many images of every class, no image of the test set, and no memory twice."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from harness.core.stored import Stored
from scenarios.datasets import Dataset

ALIKE = 2.0  # root mean square difference over pixels, of 255 levels: less is a copy, however it was stored
CHUNK = 500  # data set images that are compared at once


def check_entries(entries: Sequence[Stored], dataset: Dataset) -> None:
    """Raise ValueError for a memory that may not be in the leaderboard."""
    seen: dict[str, Stored] = {}
    for stored in entries:
        memory = stored.memory
        counts = memory.labels.bincount(minlength=dataset.classes)
        if counts.unique().numel() > 1:
            raise ValueError(
                f"{stored.path} has {counts.min()} to {counts.max()} images of a class: enter one with as many of "
                "every class"
            )
        if other := seen.get(memory.checksum):
            raise ValueError(f"{stored.path} holds what {other.path} holds: a replicate is another memory")
        seen[memory.checksum] = stored
        copies = copies_of_test(memory.decoded().images, dataset)
        if copies.any():
            raise ValueError(
                f"{stored.path} holds {int(copies.sum())} images of the test set, the first at "
                f"{int(copies.nonzero()[0, 0])}: networks may not be trained on what they are tested on"
            )


def copies_of_test(images: Float[Tensor, "n ch h w"], dataset: Dataset) -> Bool[Tensor, "n"]:
    """Which normalised images are test images, mirrored or not.

    An image that is also in the training set counts as no copy, because data sets hold some images in both sets.
    """
    pixels = 255 * dataset.train.denormalise(images.cpu())
    suspect = _found(pixels, dataset.test.images.cpu())
    if suspect.any():
        suspect[suspect.clone()] = ~_found(pixels[suspect], dataset.train.images.cpu())
    return suspect


def _found(pixels: Float[Tensor, "n ch h w"], among: UInt8[Tensor, "m ch h w"]) -> Bool[Tensor, "n"]:
    both = torch.cat([pixels, pixels.flip(-1)]).flatten(1)
    parts = (torch.cdist(both, part.flatten(1).float()).amin(1) for part in among.split(CHUNK))
    nearest = torch.stack(list(parts)).amin(0) / both.shape[1] ** 0.5
    return (nearest < ALIKE).view(2, -1).any(0)
