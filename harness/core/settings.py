"""Flags over protocol: where a command's flags and a protocol become the settings of the core."""

from dataclasses import replace
from typing import Protocol as Shape

import torch

from condensers.core.recipe import Schedule
from condensers.device.augmentation import STANDARD
from condensers.device.chunks import chunk_of
from condensers.device.training import Training
from harness.core.devices import Precision
from harness.core.protocols import SURVEYS, Protocol, WholeRecipe
from scenarios.datasets import Dataset
from search_spaces.registry import default_depth


class Flags(Shape):
    """Flags that any command may have; None stands for the protocol's default."""

    network: str | None
    chunk: int | None
    precision: Precision


class CondensingFlags(Flags, Shape):
    """Flags of commands that condense."""

    iterations: int | None
    real_batch: int | None


class TrainingFlags(Flags, Shape):
    """Flags of commands that train on memories."""

    epochs: int | None


OVERRIDES = ("memory_per_class", "memory_size", "ipc", "network", "iterations", "real_batch", "epochs")


def label_of(flags: Flags, protocol: Protocol) -> str:
    """The protocol's name as recorded, with a `+` where a flag overrides what it says of a single cell."""
    overridden = any(getattr(flags, name, None) is not None for name in OVERRIDES)
    return protocol.name + ("+" if overridden else "")


def network_of(flags: Flags, protocol: Protocol, dataset: Dataset) -> str:
    """The network asked for, or the protocol's ConvNet at the depth that suits the images."""
    return flags.network or f"ConvNet-W{protocol.width}-D{default_depth(dataset.shape[1])}-IN-ReLU-Avg"


def schedule_of(flags: CondensingFlags, protocol: Protocol, dataset: Dataset, device: torch.device) -> Schedule:
    """How matching condensers run. Raises ValueError for a flag below 1."""
    return Schedule(
        iterations=_pick("iterations", flags.iterations, protocol.iterations, least=0),
        real_batch=_pick("real-batch", flags.real_batch, protocol.real_batch),
        network=network_of(flags, protocol, dataset),
        augmentation=dataset.augmentation,
        chunk=_chunk(flags, network_of(flags, protocol, dataset), dataset, device),
        real_dtype="bfloat16" if flags.precision == "bf16" else "float32",
    )


def training_of(flags: TrainingFlags, protocol: Protocol, dataset: Dataset, device: torch.device) -> Training:
    """How networks are trained on a memory. Raises ValueError for a flag below 1."""
    return Training(
        epochs=_pick("epochs", flags.epochs, protocol.epochs),
        batch=protocol.batch,
        augmentation=dataset.augmentation,
        chunk=_chunk(flags, network_of(flags, protocol, dataset), dataset, device),
    )


def proxy_training_of(
    flags: TrainingFlags, protocol: Protocol, dataset: Dataset, device: torch.device, largest: str
) -> Training:
    """How the networks of a search space, up to the `largest`, are trained on a proxy.

    Raises ValueError for a flag below 1.
    """
    epochs = _pick("epochs", flags.epochs, SURVEYS[protocol.name].epochs)
    chunk = _chunk(flags, largest, dataset, device)
    return replace(training_of(flags, protocol, dataset, device), epochs=epochs, chunk=chunk)


def whole_training_of(
    flags: Flags, recipe: WholeRecipe, dataset: Dataset, device: torch.device, largest: str
) -> Training:
    """How they are trained on the whole set: no flag changes a recipe. Raises ValueError for a chunk below 1."""
    return Training(
        epochs=recipe.epochs,
        batch=recipe.batch,
        augmentation=STANDARD if "flip" in dataset.augmentation else "crop",
        chunk=_chunk(flags, largest, dataset, device),
    )


def _chunk(flags: Flags, network: str, dataset: Dataset, device: torch.device) -> int:
    return _pick("chunk", flags.chunk, chunk_of(device, network, dataset.classes, dataset.shape))


def _pick(name: str, flag: int | None, default: int, least: int = 1) -> int:
    if flag is not None and flag < least:
        raise ValueError(f"--{name} is {flag}; give at least {least}")
    return default if flag is None else flag
