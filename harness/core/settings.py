"""From flags to settings: the flags that were given, and a protocol's defaults for the others."""

from dataclasses import fields, replace
from typing import TypeVar

import torch

from condensers.core.recipe import Schedule
from condensers.device.augmentation import STANDARD
from condensers.device.chunks import chunk_of
from condensers.device.training import Training
from harness.core.devices import resolve_device, set_precision
from harness.core.flags import Common, CondensingFlags, TrainingFlags, check
from harness.core.protocols import MARK, Protocol, WholeTraining, protocol_for
from scenarios.datasets import Dataset
from search_spaces.registry import default_depth, full_name

Flags = TypeVar("Flags", bound=Common)


OWN_SCHEDULE = ("iterations", "real_batch")  # what a paper's own schedule may change
# Flags whose values stand in a label: those of the networks' training, and the seed of all draws.
SAID = ("network", "epochs", "whole_epochs", "augment", "seed")


def settle(flags: Flags, *defaults: object, **own: object) -> Flags:
    """The flags, with every None replaced by the first default of its name.

    Args:
        defaults: protocols, whose attributes are named like flags.
        own: defaults by name, which take precedence over the protocols'.

    Raises:
        ValueError: a flag that is out of its bounds.
    """
    check(flags)
    known = [own, *({one.name: getattr(source, one.name) for one in fields(source)} for source in defaults)]
    absent = [one.name for one in fields(flags) if getattr(flags, one.name) is None]
    return replace(flags, **{name: next((source[name] for source in known if name in source), None) for name in absent})


def label_of(flags: Common, protocol: Protocol) -> str:
    """The protocol's name as recorded, with a `+` where a flag overrides what it says of a single cell.

    Behind the `+` stand flags of the networks' training, because accuracies of different trainings are not compared,
    and a --seed other than 0, because memories of different draws are not paired: for example `quick-1+epochs=5`. Flags
    of condensing only add the `+`.

    Args:
        flags: as they were given, not settled.
    """
    marking = {one.name: getattr(flags, one.name) for one in fields(flags) if one.metadata["marks"]}
    given = {name: value for name, value in marking.items() if value is not None and value is not False}
    given |= {"seed": flags.seed} if flags.seed else {}
    if "network" in given:
        given["network"] = full_name(given["network"])
    said = MARK.join(f"{name}={given[name]}" for name in SAID if name in given)
    return f"{protocol.name}{MARK}{said}" if given else protocol.name


def place_of(flags: Common) -> tuple[torch.device, Protocol]:
    """The device that the work is done on, set to the arithmetic asked for, and the protocol.

    Raises:
        ValueError: no such device, or an arithmetic that it does not have.
    """
    device = resolve_device(flags.device)
    set_precision(flags.precision, device)
    return device, protocol_for(flags.protocol, device.type)


def network_of(flags: Common, protocol: Protocol, dataset: Dataset) -> str:
    """The network that is trained: the one asked for, or the protocol's ConvNet at the depth that suits the images."""
    return _named(flags) or _convnet(protocol.width, dataset)


def matched_network_of(flags: Common, protocol: Protocol, dataset: Dataset) -> str:
    """The network that recipes match on: the one asked for, or the protocol's ConvNet for that."""
    return _named(flags) or _convnet(protocol.matching_width, dataset)


def _named(flags: Common) -> str | None:
    """The network of --network by its full name, as in rows and keys: a shortened name means the same network."""
    return flags.network and full_name(flags.network)


def _convnet(width: int, dataset: Dataset) -> str:
    return f"ConvNet-W{width}-D{default_depth(dataset.shape[1])}-IN-ReLU-Avg"


def schedule_of(flags: CondensingFlags, protocol: Protocol, dataset: Dataset, device: torch.device) -> Schedule:
    """How matching condensers run.

    Args:
        flags: as they were given, not settled, because a value that a user gave is not scaled to a paper's schedule.
    """
    network, settled = matched_network_of(flags, protocol, dataset), settle(flags, protocol)
    return Schedule(
        iterations=settled.iterations,
        real_batch=settled.real_batch,
        network=network,
        augmentation=dataset.augmentation,
        chunk=_chunk(flags, network, dataset, device),
        real_dtype="bfloat16" if flags.precision == "bf16" else "float32",
        given=frozenset(name for name in OWN_SCHEDULE if getattr(flags, name) is not None),
    )


def training_of(
    flags: TrainingFlags, protocol: Protocol, dataset: Dataset, device: torch.device, network: str | None = None
) -> Training:
    """How networks are trained on a memory, by settled flags.

    Args:
        network: the largest network that is trained, which decides the chunk; None for that of `network_of`.
    """
    return Training(
        epochs=flags.epochs,
        batch=protocol.batch,
        augmentation=dataset.augmentation,
        chunk=_chunk(flags, network or network_of(flags, protocol, dataset), dataset, device),
    )


def whole_training_of(
    flags: Common, whole: WholeTraining, dataset: Dataset, device: torch.device, largest: str
) -> Training:
    """How networks, up to the `largest`, are trained on the whole set: of all flags only --chunk changes it."""
    return Training(
        epochs=whole.epochs,
        batch=whole.batch,
        augmentation=STANDARD if "flip" in dataset.augmentation else "crop",
        chunk=_chunk(flags, largest, dataset, device),
    )


def _chunk(flags: Common, network: str, dataset: Dataset, device: torch.device) -> int:
    return flags.chunk or chunk_of(device, network, dataset.classes, dataset.shape)
