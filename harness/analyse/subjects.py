"""What is analysed: memories, samples of as many real images, and the real images that both are compared with."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from condensers.core.sampling import Pools
from condensers.device import draws
from condensers.memory import Memory
from harness.core.makings import row_name
from harness.core.seeds import seed_of
from harness.core.stored import Stored
from scenarios.datasets import Dataset

REAL = "real"
SAMPLES = 3  # samples of real images for each size of memory
REFERENCE = 100  # real images per class that memories are compared with


@dataclass(frozen=True)
class Subject:
    """Images of every class that are analysed.

    Attributes:
        name: name of the condenser, or `real`.
        shown: the name in tables and figures: `name` with the settings that distinguish it from other memories here.
        replicate: number of the memory.
        memory: the memory as it is stored.
        images: the decoded images that are looked at, by class, `[C, n, ch, h, w]`.
    """

    name: str
    shown: str
    replicate: int
    memory: Memory
    images: Float[Tensor, "C n ch h w"]


def of_file(stored: Stored, shown: str, dataset: Dataset) -> Subject:
    """The subject of a memory file, which must have equally many images of every class.

    Raises:
        ValueError: the memory is called `real`, as samples of real images are.
    """
    name = row_name(stored)
    if name == REAL:
        raise ValueError(f"{stored.path} goes by the name {REAL}, as samples of real images do: rename it")
    decoded, metadata = stored.memory.decoded(), stored.memory.metadata
    images = decoded.images[decoded.labels.argsort(stable=True)].unflatten(0, (dataset.classes, -1))
    return Subject(name, shown, int(metadata.get("memory_replicate", 0)), stored.memory, images)


def real_samples(dataset: Dataset, sizes: Sequence[int], seed: int) -> list[Subject]:
    """SAMPLES draws of real images for each size (images per class) that the smallest class allows."""
    smallest = int(dataset.train.labels.bincount().min())
    sizes = sorted(size for size in set(sizes) if size <= smallest)
    return [_sample(dataset, size, replicate, seed) for size in sizes for replicate in range(SAMPLES)]


def reference(dataset: Dataset, seed: int) -> Float[Tensor, "C n ch h w"]:
    """Up to REFERENCE real images of every class, with which all subjects are compared."""
    smallest = int(dataset.train.labels.bincount().min())
    return _drawn(dataset, min(REFERENCE, smallest), seed_of(dataset.identity, seed, "analysis", "reference"))


def _sample(dataset: Dataset, size: int, replicate: int, seed: int) -> Subject:
    images = _drawn(dataset, size, seed_of(dataset.identity, seed, "analysis", REAL, replicate))
    labels = torch.arange(dataset.classes).repeat_interleave(size)
    return Subject(REAL, REAL, replicate, Memory(images.flatten(0, 1), labels, {}), images)


def _drawn(dataset: Dataset, size: int, seed: int) -> Float[Tensor, "C n ch h w"]:
    source, classes = dataset.train, torch.arange(dataset.classes)
    chosen = Pools(source, classes.tolist()).draw(draws.keys(draws.key_of(seed, "images"), classes), size)
    return source.normalise(source.images[chosen])
