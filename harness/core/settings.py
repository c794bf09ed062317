"""From flags to settings: the flags that were given, and a protocol's defaults for the others."""

from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch

from condensers.core.recipe import Schedule
from condensers.device.augmentation import STANDARD
from condensers.device.chunks import chunk_of
from condensers.device.training import Training
from harness.core.devices import name_of, resolve_device, set_precision
from harness.core.flags import Common, check_bounds
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
    check_bounds(flags)
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


def announced(label: str, device: torch.device) -> str:
    """What a command says of how it works, before it starts."""
    return f"protocol {label} on {name_of(device)}, {torch.get_num_threads()} threads"


@dataclass(frozen=True)
class Setup:
    """What the flags of a command come to under its protocol, for one data set on one device.

    Attributes:
        flags: as they were given, not settled, because a value that a user gave is not scaled to a paper's schedule.
    """

    flags: Common
    protocol: Protocol
    device: torch.device
    dataset: Dataset

    @property
    def label(self) -> str:
        """The protocol's name as recorded: `label_of`."""
        return label_of(self.flags, self.protocol)

    @property
    def network(self) -> str:
        """The network that is trained: the one asked for, or the protocol's ConvNet as deep as suits the images."""
        return self._named or self._convnet(self.protocol.width)

    @property
    def matched_network(self) -> str:
        """The network that recipes match on: the one asked for, or the protocol's ConvNet for that."""
        return self._named or self._convnet(self.protocol.matching_width)

    @property
    def _named(self) -> str | None:
        """The network of --network by its full name, as in rows and keys: a shortened name means the same network."""
        return self.flags.network and full_name(self.flags.network)

    def _convnet(self, width: int) -> str:
        return f"ConvNet-W{width}-D{default_depth(self.dataset.shape[1])}-IN-ReLU-Avg"

    def schedule(self) -> Schedule:
        """How matching condensers run, for a command with `CondensingFlags`."""
        settled = settle(self.flags, self.protocol)
        return Schedule(
            iterations=settled.iterations,
            real_batch=settled.real_batch,
            network=self.matched_network,
            augmentation=self.dataset.augmentation,
            chunk=self._chunk(self.matched_network),
            real_dtype="bfloat16" if self.flags.precision == "bf16" else "float32",
            given=frozenset(name for name in OWN_SCHEDULE if getattr(self.flags, name) is not None),
        )

    def training(self, largest: str | None = None) -> Training:
        """How networks are trained on a memory, for a command with `TrainingFlags`.

        Args:
            largest: the largest network that is trained, which decides the chunk; None for `network`.
        """
        return Training(
            epochs=settle(self.flags, self.protocol).epochs,
            batch=self.protocol.batch,
            augmentation=self.dataset.augmentation,
            chunk=self._chunk(largest or self.network),
        )

    def whole_training(self, whole: WholeTraining, largest: str) -> Training:
        """How networks, up to the `largest`, are trained on the whole set: of all flags only --chunk changes it."""
        return Training(
            epochs=whole.epochs,
            batch=whole.batch,
            augmentation=STANDARD if "flip" in self.dataset.augmentation else "crop",
            chunk=self._chunk(largest),
        )

    def _chunk(self, network: str) -> int:
        return self.flags.chunk or chunk_of(self.device, network, self.dataset.classes, self.dataset.shape)
