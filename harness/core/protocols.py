"""Protocols: named, versioned sets of defaults. A changed number needs a new version, because rows quote the name.

Explicit flags override single values. Then the rows' `config` column differs and their `protocol` has a `+`; behind it
stand the flags that were given for the networks' training, and a --seed other than 0.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """Defaults of one protocol.

    Attributes:
        name: as recorded in every row.
        width: channels of the ConvNet that is trained on a memory.
        matching_width: channels of the ConvNet that recipes match on. It may be narrower, which is cheaper: the
            evaluation makes numbers comparable, however a memory was condensed.
        iterations: of every matching condenser.
        real_batch: real images per class and iteration.
        memory_per_class: stored images per class.
        orders: class orders, each with a memory of its own.
        networks: networks that are trained on every memory and step.
        epochs: of training on a memory; the learning rate falls to a tenth after half of them.
        batch: images per step of that training.
        whole_epochs: of training on real data, for the upper bound and for strategies that see a step's real images.
    """

    name: str
    width: int
    matching_width: int
    iterations: int
    real_batch: int
    memory_per_class: int
    orders: int
    networks: int
    epochs: int
    batch: int
    whole_epochs: int


# DM's and DDM's published settings (CIFAR-100, 20 images per class). No source says how long a whole set is trained.
PAPER = Protocol("paper-1", 128, 128, 20_000, 256, 20, 5, 3, 1000, 256, whole_epochs=200)
# The paper's evaluation of memories that two CPU cores make in less than an hour.
BENCH = Protocol("bench-1", 128, 64, 6_000, 64, 10, 3, 5, 1000, 256, whole_epochs=200)
# Takes minutes on two CPU cores. Batches of 64, so that small memories get enough steps.
QUICK = Protocol("quick-1", 32, 32, 200, 64, 10, 1, 1, 60, 64, whole_epochs=5)
PROTOCOLS = {"paper": PAPER, "bench": BENCH, "quick": QUICK}


@dataclass(frozen=True)
class WholeTraining:
    """How networks are trained on a whole data set, for a table of whole-set accuracies.

    The flag and the column that name it are called `recipe`, as in the tables that are committed.

    The optimiser is that of the memories' evaluation; images are cropped and, where labels allow it, flipped.

    Attributes:
        name: as recorded; accuracies under different names are never mixed.
        epochs: passes over the set; the learning rate falls to a tenth after half of them.
        batch: images per step.
        description: one line for `--list`.
    """

    name: str
    epochs: int
    batch: int
    description: str


WHOLE_TRAININGS = {
    training.name: training
    for training in (
        WholeTraining("short-1", 10, 256, "10 epochs; all 720 ConvNets on 45,000 images of 32 px are 2.6e17 FLOP"),
        WholeTraining("longer-1", 40, 256, "four times the epochs of short-1: whether that ranks alike"),
        WholeTraining("paper-200", 200, 256, "200 epochs, as the papers say; the rest of theirs is not published"),
        WholeTraining("quick-whole-1", 30, 64, "30 epochs of small batches, for small images on a CPU"),
    )
}


@dataclass(frozen=True)
class SurveyDefaults:
    """Defaults of an architecture survey under one protocol, beside what the protocol says of condensing.

    Attributes:
        dataset: what is surveyed if no data set is named.
        subset: number of architectures; None for the whole space.
        ipc: stored images per class of a proxy memory.
        epochs: of training on a proxy.
        validation: training images per class that no proxy sees, to choose an architecture on.
        recipe: a key of WHOLE_TRAININGS.
    """

    dataset: str
    subset: int | None
    ipc: int
    epochs: int
    validation: int
    recipe: str


SURVEYS = {
    # 50 images per class and 200 epochs are published; a tenth of the training set is our validation split.
    PAPER.name: SurveyDefaults("cifar10", None, 50, 200, 500, "short-1"),
    BENCH.name: SurveyDefaults("cifar10", 90, 50, 200, 500, "short-1"),
    QUICK.name: SurveyDefaults("digits", 45, QUICK.memory_per_class, QUICK.epochs, 30, "quick-whole-1"),
}

# Names of what the networks of a survey are trained on beside memories, with a line for `--list`.
WHOLE = "whole"
EARLY = "early"
BASELINES = {
    WHOLE: "the whole set, with other seeds than the accuracies it is compared with: the noise ceiling",
    # A whole-set batch may be larger: short-1 has 256 images, a memory under quick 64, so four times as many are seen.
    EARLY: "the whole set, stopped after as many steps as a memory takes, each of a whole-set batch",
}

MARK = "+"  # behind the name of a protocol that a flag overrode
NAIVE = "naive"  # name of networks that learn a stream without a memory


def marked(label: str) -> str:
    """A recorded protocol without the values behind its mark: for keys, which hold these values separately."""
    name, mark, _ = label.partition(MARK)
    return name + mark


def with_memory_seed(label: str, seed: int) -> str:
    """A recorded protocol with the --seed that a memory was made with, if it is scored with another --seed."""
    return f"{label.removesuffix(MARK)}{MARK}memory_seed={seed}"


def protocol_for(name: str | None, device: str) -> Protocol:
    """The named protocol; without a name paper on CUDA, quick on a CPU."""
    return PROTOCOLS[name or ("paper" if device == "cuda" else "quick")]
