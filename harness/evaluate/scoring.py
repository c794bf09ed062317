"""What `harness.evaluate` does: one cell per memory, one row per network."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import torch

from condensers.device import draws
from condensers.device.networks import new_network
from condensers.device.training import Training, accuracy, train_all
from condensers.memory import Memory
from harness.core import memories
from harness.core.cells import Cell, Work, run_cells, unfinished
from harness.core.checks import check_cells
from harness.core.devices import name_of
from harness.core.estimates import print_estimate
from harness.core.progress import bar, say
from harness.core.records import Records, provenance
from harness.core.schema import Provenance, ScoreRow
from harness.core.seeds import config_key, seed_of
from harness.core.settings import label_of, network_of, place_of, settle, training_of
from harness.evaluate.comparison import Scored, check, format_table, is_unseeded, making, table
from harness.evaluate.flags import Evaluate
from harness.evaluate.reading import made_from, read_all
from scenarios.datasets import Dataset, load
from search_spaces.costs import cost
from search_spaces.registry import identity_of


@dataclass(frozen=True)
class Setting:
    """Everything that memories are scored with."""

    dataset: Dataset
    protocol: str
    network: str
    training: Training
    networks: int
    seed: int
    precision: str
    device: torch.device


def score(config: Evaluate) -> None:
    """Score every memory and print one line each. Raises ValueError for whatever a user can get wrong."""
    if not config.memories:
        raise ValueError("no memories given: name at least one file")
    setting = _setting(config)
    records = Records(config.out / "results.csv", ScoreRow)
    stored = read_all(config, setting.dataset)
    check(stored)
    cells = [cell_of(setting, memory) for memory in stored]
    if config.dry_run:
        return _print_plan(setting, unfinished(cells, records))
    run_cells(cells, records, "evaluate", number=lambda rows: fmean(row.value for row in rows))
    scored = [Scored(memory, _values(setting, cell.key, records)) for memory, cell in zip(stored, cells, strict=True)]
    say(format_table(table(scored), setting.networks, any(map(is_unseeded, stored))))
    return say(f"rows: {records.path}")


def _values(setting: Setting, key: str, records: Records[ScoreRow]) -> list[float]:
    """The accuracies of a cell's networks. Raises ValueError unless the cell is whole."""
    frame = records.read()
    own = frame[frame["cell"] == key]
    return check_cells(own, setting.networks, [_metric(setting)], records.path)["value"].tolist()


def _print_plan(setting: Setting, left: Sequence[Cell]) -> None:
    dataset, work = setting.dataset, sum((cell.cost for cell in left), Work())
    say(f"memories   {len(left)} to score with {setting.networks} networks each, {setting.training.epochs} epochs")
    print_estimate(work, [setting.network], dataset, setting.training, setting.device)


def cell_of(setting: Setting, stored: memories.Stored) -> Cell:
    """The networks that are trained on one memory."""
    key, dataset = _key(setting, stored), setting.dataset
    work = Work.of(
        cost(setting.network, dataset.classes, dataset.shape).flops,
        forward=setting.networks * len(dataset.test),
        trained=setting.networks * setting.training.epochs * len(stored.memory.decoded()),
    )
    return Cell(key, {"memory": stored.name}, partial(_rows, setting, stored, key), work)


def _setting(config: Evaluate) -> Setting:
    device, protocol = place_of(config)
    settled = settle(config, protocol)
    dataset = load(config.dataset or made_from(config.memories[0]), config.data_root, config.resolution)
    if config.validation:
        dataset = dataset.hold_out(config.validation)
    return Setting(
        dataset,
        label_of(config, protocol),
        network_of(config, protocol, dataset),
        training_of(settled, protocol, dataset, device),
        config.networks,
        config.seed,
        config.precision,
        device,
    )


def _key(setting: Setting, stored: memories.Stored) -> str:
    seeds = network_seeds(setting, stored.memory)
    return config_key({"memory": stored.memory.checksum, "network seeds": seeds, **_described(setting)})


def _described(setting: Setting) -> dict[str, object]:
    """All that decides a memory's scores beside itself, as JSON values."""
    return {
        "dataset": setting.dataset.checksum,
        "network": identity_of(setting.network),
        "training": setting.training.describe(),
        "networks": setting.networks,
        "seed": setting.seed,
        "precision": setting.precision,
    }


def network_seeds(setting: Setting, memory: Memory) -> list[int]:
    """What names the draws of each network: the same for all memories of one seed, so that differences are paired.

    Others for other seeds: an interval over memories is to hold the luck of networks too.
    """
    own = ("evaluate", "memory", memory.metadata.get("seed", "published"))
    return [
        seed_of(setting.dataset.identity, setting.seed, *own, "network", number) for number in range(setting.networks)
    ]


def _metric(setting: Setting) -> str:
    return f"accuracy of {setting.network}"


def _rows(setting: Setting, stored: memories.Stored, key: str) -> list[ScoreRow]:
    started = time.perf_counter()
    with bar(setting.networks * setting.training.epochs, stored.name) as shown:
        values = _accuracies(setting, stored.memory, shown.update)
    seconds = (time.perf_counter() - started) / setting.networks
    said = ", ".join(f"{100 * value:.1f}" for value in values)
    say(f"{stored.name}: {100 * fmean(values):.1f} % ({said})")
    row = _row_maker(setting, stored, key, seconds)
    return [row(network_replicate=number, value=value) for number, value in enumerate(values)]


def _row_maker(setting: Setting, stored: memories.Stored, key: str, seconds: float) -> Callable[..., ScoreRow]:
    """What makes a row of a cell, given its `network_replicate` and `value`."""
    metadata, per_class = stored.memory.metadata, stored.memory.per_class
    return partial(
        ScoreRow,
        cell=key,
        dataset=setting.dataset.name,
        dataset_checksum=setting.dataset.checksum,
        condenser=metadata.get("condenser", stored.name),
        config=config_key({"making": making(stored), **_described(setting)}),
        ipc_stored=per_class,
        ipc_decoded=metadata.get("decoded_per_class", per_class),
        trained_on_real=bool(metadata.get("trained_on_real")),
        steps=1,
        class_order=0,
        memory_replicate=metadata.get("memory_replicate", 0),
        step=1,
        classes_seen=setting.dataset.classes,
        metric=_metric(setting),
        seconds=seconds,
        protocol=setting.protocol,
        origin=Provenance(chunk=setting.training.chunk, **provenance(name_of(setting.device), setting.precision)),
        memory_checksum=stored.memory.checksum,
    )


def _accuracies(setting: Setting, memory: Memory, progress: Callable[[int], object]) -> list[float]:
    """Test accuracy of every network, on data that are moved to the device once."""
    test = setting.dataset.test.to(setting.device)
    decoded = memory.decoded()
    images, targets = decoded.images.to(setting.device), decoded.targets.to(setting.device)
    seeds, dataset = network_seeds(setting, memory), setting.dataset
    networks = [
        new_network(setting.network, dataset.classes, dataset.shape, setting.device, draws.key_of(seed, "weights"))
        for seed in seeds
    ]
    train_all(networks, images, targets, setting.training, seeds, progress)
    return [accuracy(network, test, setting.training.chunk) for network in networks]
