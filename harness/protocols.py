"""Protocols: named, versioned sets of defaults. A number that changes gets a new version, for rows quote the name.

Explicit flags override single values; the rows' `config` column then differs, and `protocol` ends in `+`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """Defaults of one protocol.

    Attributes:
        name: as recorded in every row.
        width: channels of the ConvNet that condenses and is trained.
        iterations: of every matching condenser.
        real_batch: real images per class and iteration.
        memory_per_class: stored images.
        orders: class orders, each with a memory of its own.
        networks: trained on every memory and step.
        epochs: of training on a memory; the rate falls to a tenth after half of them.
        batch: images per step of that training.
        whole_epochs: of training on all real data, the upper bound.
    """

    name: str
    width: int
    iterations: int
    real_batch: int
    memory_per_class: int
    orders: int
    networks: int
    epochs: int
    batch: int
    whole_epochs: int


# DM's and DDM's published settings (CIFAR-100, 20 images per class). No source says how long a whole set is trained.
PAPER = Protocol("paper-1", 128, 20_000, 256, 20, 5, 3, 1000, 256, whole_epochs=200)
# What two CPU cores do in minutes. Batches of 64 give small memories enough steps.
QUICK = Protocol("quick-1", 32, 200, 64, 10, 1, 1, 60, 64, whole_epochs=5)
PROTOCOLS = {"paper": PAPER, "quick": QUICK}


def protocol_for(name: str | None, device: str) -> Protocol:
    """The named protocol; without a name paper on CUDA, quick on a CPU."""
    return PROTOCOLS[name or ("paper" if device == "cuda" else "quick")]
