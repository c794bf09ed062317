"""Scoring memories: one cell per memory, one row per network that is trained on it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import torch
from torch import nn

from condensers.device import draws
from condensers.device.networks import new_network
from condensers.device.training import Training, accuracy, train_all
from condensers.memory import Memory
from harness.core.cells import Cell
from harness.core.checks import check_cells
from harness.core.devices import name_of
from harness.core.makings import making, row_name, trained_on_real
from harness.core.progress import bar, say
from harness.core.protocols import with_memory_seed
from harness.core.records import Records, origin_of
from harness.core.schema import Provenance, ScoreRow
from harness.core.seeds import config_key, seed_of
from harness.core.settings import Setup, settle
from harness.core.stored import Stored, content_of
from harness.core.work import Work
from scenarios.datasets import Dataset
from search_spaces.forward import forward_pass
from search_spaces.registry import identity_of


@dataclass(frozen=True)
class Scoring:
    """Everything that memories are scored with.

    Experiments and analyses are scorings with more fields, and take over `vars` of one: no property may be cached here.

    Attributes:
        dataset: on the CPU.
        protocol: its name in rows.
        network: name of the network that is trained on a memory.
        training: how it is trained.
        networks: how many are trained on each memory, or see it.
        seed: of all draws.
    """

    dataset: Dataset
    protocol: str
    network: str
    training: Training
    networks: int
    seed: int
    precision: str
    device: torch.device

    @property
    def origin(self) -> Provenance:
        """Where rows come from that are made now."""
        return origin_of(name_of(self.device), self.precision, self.training.chunk)

    def new_network(self, seed: int) -> nn.Module:
        """An untrained network, with the first weights that the seed names."""
        return drawn_network(self.network, self.dataset, self.device, seed)


def scoring_of(setup: Setup) -> Scoring:
    """What memories are scored with by a command that trains networks."""
    return Scoring(
        dataset=setup.dataset,
        protocol=setup.label,
        network=setup.network,
        training=setup.training(),
        networks=settle(setup.flags, setup.protocol).networks,
        seed=setup.flags.seed,
        precision=setup.flags.precision,
        device=setup.device,
    )


def values_of(scoring: Scoring, key: str, records: Records[ScoreRow]) -> list[float]:
    """The accuracies of a cell's networks. Raises ValueError unless the cell is whole."""
    frame = records.read()
    own = frame[frame["cell"] == key]
    return check_cells(own, scoring.networks, [_metric(scoring)], records.path)["value"].tolist()


def cell_of(scoring: Scoring, stored: Stored) -> Cell:
    """The cell of one memory: all networks that are trained on it."""
    key = _key(scoring, stored)
    return Cell(key, {"memory": stored.name}, partial(rows_of, scoring, stored, key), _work(scoring, stored))


def _work(scoring: Scoring, stored: Stored) -> Work:
    return work_of_networks(scoring, stored.memory.pixels.decoded * len(stored.memory))


def work_of_networks(scoring: Scoring, images: int) -> Work:
    """The work of training all networks on so many images, and of testing them."""
    dataset = scoring.dataset
    return Work.of(
        forward_pass(scoring.network, dataset.classes, dataset.shape).flops,
        forward=scoring.networks * len(dataset.test),
        trained=scoring.networks * scoring.training.epochs * images,
    )


def _key(scoring: Scoring, stored: Stored) -> str:
    seeds = seeds_of(scoring, stored.memory)
    return config_key({"memory": content_of(stored.memory), "network seeds": seeds, **described(scoring)})


def described(scoring: Scoring) -> dict[str, object]:
    """All that decides a memory's scores beside the memory itself, as JSON values."""
    # With --seed other than 0, rows name the seed in `protocol`. Older rows do not, so the key differs here and they
    # are not reused.
    said = {"seed is said": True} if scoring.seed else {}
    return said | {
        "dataset": scoring.dataset.checksum,
        "network": identity_of(scoring.network),
        "training": scoring.training.describe(),
        "networks": scoring.networks,
        "seed": scoring.seed,
        "precision": scoring.precision,
    }


def network_seeds(scoring: Scoring, memory_seed: int | str) -> list[int]:
    """A seed for the draws of each network: the same for all memories of one seed, so that differences are paired.

    Memories of other seeds get other networks, because an interval over memories must include the luck of the networks.
    """
    own = ("evaluate", "memory", memory_seed)
    return [
        seed_of(scoring.dataset.identity, scoring.seed, *own, "network", number) for number in range(scoring.networks)
    ]


def seeds_of(scoring: Scoring, memory: Memory) -> list[int]:
    """A seed for the draws of each network that is trained on a memory.

    A published memory has no seed of its own; its number stands for it if a file holds several sets.
    """
    number = memory.metadata.get("memory_replicate", 0)  # of a set in a published file
    unseeded = f"published {number}" if number else "published"
    return network_seeds(scoring, memory.metadata.get("seed", unseeded))


def _metric(scoring: Scoring) -> str:
    return f"accuracy of {scoring.network}"


def rows_of(scoring: Scoring, stored: Stored, key: str) -> list[ScoreRow]:
    """Train and test every network of a memory; a row each, under the cell's key."""
    started = time.perf_counter()
    with bar(scoring.networks * scoring.training.epochs, stored.name, worth=_work(scoring, stored).gflop) as shown:
        values = accuracies(scoring, stored.memory, shown.update)
    seconds = (time.perf_counter() - started) / scoring.networks
    said = ", ".join(f"{100 * value:.1f}" for value in values)
    say(f"{stored.name}: {100 * fmean(values):.1f} % ({said})")
    row = _row_maker(scoring, stored, key, seconds)
    return [row(network_replicate=number, value=value) for number, value in enumerate(values)]


def _row_maker(scoring: Scoring, stored: Stored, key: str, seconds: float) -> Callable[..., ScoreRow]:
    """What makes a row of a cell, given its `network_replicate` and `value`."""
    metadata, per_class = stored.memory.metadata, stored.memory.per_class
    return partial(
        ScoreRow,
        cell=key,
        dataset=scoring.dataset.name,
        dataset_checksum=scoring.dataset.checksum,
        condenser=row_name(stored),
        config=config_key({"making": making(stored), **described(scoring)}),
        ipc_stored=per_class,
        ipc_decoded=per_class * stored.memory.pixels.decoded,
        trained_on_real=trained_on_real(stored.memory),
        steps=1,
        class_order=metadata.get("class_order", 0),
        memory_replicate=metadata.get("memory_replicate", 0),
        step=1,
        classes_seen=scoring.dataset.classes,
        metric=_metric(scoring),
        seconds=seconds,
        protocol=_label(scoring, metadata),
        origin=scoring.origin,
        memory_checksum=stored.memory.checksum,
    )


def _label(scoring: Scoring, metadata: Mapping[str, Any]) -> str:
    """The protocol, marked if the memory was made with another --seed: it is then not paired with other memories."""
    seed = metadata.get("experiment_seed", scoring.seed)
    return scoring.protocol if seed == scoring.seed else with_memory_seed(scoring.protocol, seed)


def drawn_network(name: str, dataset: Dataset, device: torch.device, seed: int) -> nn.Module:
    """The network of that name for a data set's images, with the first weights that a seed names."""
    return new_network(name, dataset.classes, dataset.shape, device, draws.key_of(seed, "weights"))


def accuracies(
    scoring: Scoring, memory: Memory, progress: Callable[[int], object] = lambda epochs: None
) -> list[float]:
    """Test accuracy of every network, on data that are moved to the device once.

    Args:
        scoring: how networks are trained, and how many.
        memory: its seed, if it has one, names their draws.
        progress: called with the number of networks that have gone through one more epoch.
    """
    test = scoring.dataset.test.to(scoring.device)
    decoded = memory.decoded()
    images, targets = decoded.images.to(scoring.device), decoded.targets.to(scoring.device)
    seeds = seeds_of(scoring, memory)
    networks = [scoring.new_network(seed) for seed in seeds]
    train_all(networks, images, targets, scoring.training, seeds, progress)
    return [accuracy(network, test, scoring.training.chunk) for network in networks]
