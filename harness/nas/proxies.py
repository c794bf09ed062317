"""What the networks of a search space are trained on: condensed memories, or the whole set, in one of three ways."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from condensers import published
from condensers.device import draws
from condensers.device.images import LabelledImages
from condensers.device.training import Training
from condensers.memory import Memory
from harness.core.protocols import EARLY, WHOLE, WholeTraining
from harness.core.stored import Stored, check_held_out, read
from scenarios.datasets import Dataset

SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Proxy:
    """Images to train on, and how.

    Attributes:
        name: its name in rows.
        memory_replicate: which draw of a memory.
        memory_checksum: of the memory's pixels and labels; empty for the whole set.
        ipc_stored: images per class that are kept.
        ipc_decoded: images per class that are trained on.
        stored_images: number of images that are kept, of all classes.
        stored_bytes: what these images take in their file; for the whole set, the size of its raw pixels and labels.
        images: how many go through a network in an epoch.
        training: how each network is trained.
        training_name: name of this training in the column `recipe`.
        load: gives normalised images `[images, channels, height, width]` and labels, on the device.
    """

    name: str
    memory_replicate: int
    memory_checksum: str
    ipc_stored: int
    ipc_decoded: int
    stored_images: int
    stored_bytes: int
    images: int
    training: Training
    training_name: str
    load: Callable[[], tuple[Tensor, Tensor]]

    @property
    def steps(self) -> int:
        """Steps of the optimiser that a network takes."""
        return steps_of(self.training, self.images)

    @cached_property
    def data(self) -> tuple[Tensor, Tensor]:
        """The result of `load`, kept because every network is trained on it."""
        return self.load()


def steps_of(training: Training, images: int) -> int:
    """Steps of the optimiser over that many images per epoch."""
    return training.epochs * math.ceil(images / training.batch)


def of_memory(
    name: str, replicate: int, memory: Memory, training: Training, training_name: str, device: torch.device
) -> Proxy:
    """Train on a condensed memory."""
    decoded, pixels = memory.decoded(), memory.images.nbytes + memory.labels.nbytes
    return Proxy(
        name=name,
        memory_replicate=replicate,
        memory_checksum=memory.checksum,
        ipc_stored=memory.per_class,
        ipc_decoded=memory.metadata.get("decoded_per_class", memory.per_class),
        stored_images=len(memory),
        stored_bytes=memory.metadata.get("stored_bytes", pixels),
        images=len(decoded),
        training=training,
        training_name=training_name,
        load=lambda: (decoded.images.to(device), decoded.labels.to(device)),
    )


def of_whole(train: LabelledImages, training: Training, training_name: str) -> Proxy:
    """Train on all training images."""
    per_class = int(train.labels.bincount().min())
    return Proxy(
        name=WHOLE,
        memory_replicate=0,
        memory_checksum="",
        ipc_stored=per_class,
        ipc_decoded=per_class,
        stored_images=len(train),
        stored_bytes=train.images.nbytes + train.labels.nbytes,
        images=len(train),
        training=training,
        training_name=training_name,
        load=lambda: (train.normalise(train.images), train.labels),
    )


def of_whole_again(whole: Proxy, other: WholeTraining) -> Proxy:
    """Train on the whole set in another way than `whole` does, to see whether both rank architectures alike."""
    training = replace(whole.training, epochs=other.epochs, batch=other.batch)
    return replace(whole, name=other.name, training=training, training_name=other.name, load=lambda: whole.data)


def of_early(whole: Proxy, steps: int, replicate: int, seed: int) -> Proxy:
    """Train on the whole set for `steps` steps: full batches, pass after pass, at the initial learning rate.

    All steps count as one epoch, so the learning rate never drops, as in the early part of whole-set training.
    """

    def load() -> tuple[Tensor, Tensor]:
        images, labels = whole.data
        passes = range(math.ceil(steps * whole.training.batch / len(labels)))
        orders = [
            draws.permutation(draws.key_of(seed, "pass", number), len(labels), labels.device) for number in passes
        ]
        chosen = torch.cat(orders)[: steps * whole.training.batch]
        return images[chosen], labels[chosen]

    training = replace(whole.training, epochs=1)
    return replace(
        whole, name=EARLY, memory_replicate=replicate, images=steps * training.batch, training=training, load=load
    )


def is_file(proxy: str) -> bool:
    """Whether a proxy is named by the path of a memory file."""
    return Path(proxy).suffix in (SUFFIX, *published.SUFFIXES)


def read_file(path: Path, split: Dataset, validation: int) -> Stored:
    """A memory file that was condensed from the training images of `split`, and so has not seen the images held out.

    Raises:
        ValueError: the file is missing or unreadable, or is of another data set, resolution or split, or does not say.
    """
    if not path.exists():
        raise ValueError(f"there is no memory file {path}")
    check_held_out(path, split, validation)
    return read(path, split)
