"""What `harness.evaluate` does: one cell per memory, one row per network."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import nn

from condensers.device import draws
from condensers.device.training import Training, accuracy, train_all
from condensers.memory import Memory
from harness.core import memories
from harness.core.checks import check_cells
from harness.core.devices import name_of, resolve_device, set_precision
from harness.core.progress import bar, say
from harness.core.protocols import protocol_for
from harness.core.records import COLUMNS, PAUSE, Records, provenance
from harness.core.seeds import key_of, seed_of
from harness.core.settings import label_of, network_of, training_of
from harness.evaluate.comparison import Scored, check, format_table, is_unseeded, making, table
from harness.evaluate.flags import Evaluate
from harness.evaluate.reading import made_from, read_all
from scenarios.datasets import Dataset, load
from search_spaces.registry import build


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
    if config.networks < 1:
        raise ValueError(f"--networks is {config.networks}; give at least 1")
    setting = _setting(config)
    records = Records(config.out / "results.csv", COLUMNS)
    stored = read_all(config, setting.dataset)
    check(stored)
    scored = [Scored(memory, _scored(setting, memory, records)) for memory in stored]
    say(format_table(table(scored), setting.networks, any(map(is_unseeded, stored))))
    say(f"rows: {records.path}")


def _scored(setting: Setting, stored: memories.Stored, records: Records) -> list[float]:
    """The accuracies of the networks trained on a memory, here or by another process that shares the folder."""
    key = _key(setting, stored)
    while key not in records.finished():
        with records.claim(key) as mine:
            if mine:
                records.append(_rows(setting, stored, key))
            else:
                time.sleep(PAUSE)
    rows = records.read().query("cell == @key")
    values = check_cells(rows, setting.networks, [_metric(setting)], records.path)["value"].tolist()
    say(f"{stored.name}: {100 * fmean(values):.1f} % ({', '.join(f'{100 * value:.1f}' for value in values)})")
    return values


def _setting(config: Evaluate) -> Setting:
    device = resolve_device(config.device)
    set_precision(config.precision, device)
    protocol = protocol_for(config.protocol, device.type)
    dataset = load(config.dataset or made_from(config.memories[0]), config.data_root, config.resolution)
    if config.validation:
        dataset = dataset.hold_out(config.validation)
    return Setting(
        dataset,
        label_of(config, protocol),
        network_of(config, protocol, dataset),
        training_of(config, protocol, dataset, device),
        config.networks,
        config.seed,
        config.precision,
        device,
    )


def _key(setting: Setting, stored: memories.Stored) -> str:
    seeds = network_seeds(setting, stored.memory)
    return key_of({"memory": stored.memory.checksum, "network seeds": seeds, **_described(setting)})


def _described(setting: Setting) -> dict[str, object]:
    """All that decides a memory's scores beside itself, as JSON values."""
    return {
        "dataset": setting.dataset.checksum,
        "network": setting.network,
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


def _rows(setting: Setting, stored: memories.Stored, key: str) -> list[dict[str, object]]:
    started = time.perf_counter()
    with bar(setting.networks * setting.training.epochs, stored.name) as shown:
        values = _accuracies(setting, stored.memory, shown.update)
    metadata, per_class = stored.memory.metadata, stored.memory.per_class
    shared = {
        "cell": key,
        "dataset": setting.dataset.name,
        "dataset_checksum": setting.dataset.checksum,
        "condenser": metadata.get("condenser", stored.name),
        "config": key_of({"making": making(stored), **_described(setting)}),
        "ipc_stored": per_class,
        "ipc_decoded": metadata.get("decoded_per_class", per_class),
        "trained_on_real": bool(metadata.get("trained_on_real")),
        "steps": 1,
        "class_order": 0,
        "memory_replicate": metadata.get("memory_replicate", 0),
        "step": 1,
        "classes_seen": setting.dataset.classes,
        "metric": _metric(setting),
        "seconds": (time.perf_counter() - started) / setting.networks,
        "protocol": setting.protocol,
        "chunk": setting.training.chunk,
        "memory_checksum": stored.memory.checksum,
        **provenance(name_of(setting.device), setting.precision),
    }
    return [shared | {"network_replicate": number, "value": value} for number, value in enumerate(values)]


def _accuracies(setting: Setting, memory: Memory, progress: Callable[[int], object]) -> list[float]:
    """Test accuracy of every network, on data that are moved to the device once."""
    test = setting.dataset.test.to(setting.device)
    images, targets = memory.images.to(setting.device), memory.targets.to(setting.device)
    seeds = network_seeds(setting, memory)
    networks = [_network(setting, seed) for seed in seeds]
    train_all(networks, images, targets, setting.training, seeds, progress)
    return [accuracy(network, test, setting.training.chunk) for network in networks]


def _network(setting: Setting, seed: int) -> nn.Module:
    network = build(setting.network, setting.dataset.classes, setting.dataset.shape)
    network = network.to(device=setting.device, memory_format=torch.channels_last)
    draws.draw_network(network, draws.key_of(seed, "weights"))
    return network
