"""The candidates of a survey and their cells: one network each, trained on one proxy or on the whole set."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean

from torch import nn

from condensers.condense import Group
from condensers.device.training import accuracy, train
from condensers.memory import Memory
from harness.core.cells import Cell, run_cells, unfinished
from harness.core.devices import name_of
from harness.core.memories import Plan
from harness.core.progress import bar, say
from harness.core.protocols import EARLY, WHOLE, WHOLE_TRAININGS
from harness.core.records import PAUSE, origin_of
from harness.core.rows import NetworkRow
from harness.core.seeds import config_key
from harness.core.studies import Board
from harness.core.work import Work
from harness.nas import tables
from harness.nas.proxies import Proxy, of_early, of_memory, of_whole, of_whole_again, steps_of
from harness.nas.survey import Survey
from search_spaces.spaces import Architecture

VALIDATION = "validation accuracy"  # the objective of studies on proxies
ON_WHOLE = Board("whole set", "test accuracy")


@dataclass(frozen=True)
class Candidate:
    """One network to train. `config` is the hash that all candidates of one proxy and memory share."""

    architecture: Architecture
    proxy: Proxy
    replicate: int
    config: str
    key: str


def run(survey: Survey, merged: Sequence[Path] = ()) -> set[str]:
    """Run every cell that is not in the records, together with other processes that share the queue.

    Args:
        survey: what to run.
        merged: CSVs from other machines, whose rows are added first.

    Returns:
        The keys of all cells of the survey.

    Raises:
        ValueError: a merged CSV is damaged or of another survey, or the storage cannot be used.
    """
    make_memories(survey)
    every = cells(survey, candidates(survey, proxies(survey)))
    keys = {cell.key for cell in every}
    for path in merged:
        tables.merge(path, survey.records, survey.table, survey.dataset, survey.whole_name, keys)
    tables.adopt(survey.records, survey.table, survey.dataset.identity, keys)
    say(f"{len(every)} networks, {len(unfinished(every, survey.records))} of them to be trained")
    run_all(survey, every)
    return keys


def run_all(survey: Survey, every: Sequence[Cell]) -> None:
    """Run the cells that are not in the survey's records. Raises ValueError for a storage that cannot be used."""
    run_cells(every, survey.records, f"nas-{survey.dataset.identity}", survey.sharing, _number)


def make_memories(survey: Survey) -> None:
    """Condense the memories that have no file yet; wait for those that another process condenses."""
    for replicate, plan in enumerate(memory_plans(survey)):
        about = {"experiment_seed": survey.seed, "memory_replicate": replicate}
        while not plan.make(survey.records.claim, about):
            time.sleep(PAUSE)  # another live process is condensing


def proxies(survey: Survey) -> list[Proxy]:
    """The proxies of a survey, the whole set first; memories that are not condensed yet are left out."""
    whole = of_whole(survey.on_device.train, survey.whole, survey.whole_name)
    return [whole, *(proxy for name in survey.proxies if name != WHOLE for proxy in _of_name(survey, name, whole))]


def memory_plans(survey: Survey) -> list[Plan]:
    """How the memories are made and where they are kept, a plan for each replicate."""
    return [_memory_plan(survey, replicate) for replicate in range(survey.memory_replicates)]


def _memory_plan(survey: Survey, replicate: int) -> Plan:
    return Plan(
        names=survey.condensers,
        dataset=survey.dataset,
        groups=(Group(tuple(range(survey.dataset.classes)), survey.ipc),),
        schedule=survey.schedule,
        seed=survey.memory_seed(replicate),
        device=survey.device,
        precision=survey.precision,
        store=survey.store,
        store_selections="indices",  # exact, and a small file
        folder=survey.out / "memories",
        label=f"{survey.dataset.identity}-ipc{survey.ipc}-replicate{replicate}",
    )


def _of_name(survey: Survey, name: str, whole: Proxy) -> list[Proxy]:
    if name == EARLY:
        steps = steps_of(survey.training, survey.ipc * survey.dataset.classes)
        replicates = range(survey.memory_replicates)
        return [of_early(whole, steps, replicate, survey.memory_seed(replicate)) for replicate in replicates]
    if name in WHOLE_TRAININGS:
        return [of_whole_again(whole, WHOLE_TRAININGS[name])]
    return [
        of_memory(name, replicate, memory, survey.training, survey.protocol, survey.device)
        for replicate, memory in _memories(survey, name)
    ]


def _memories(survey: Survey, name: str) -> list[tuple[int, Memory]]:
    """The memories of that name with their replicate numbers; a memory file has number 0."""
    named = [(0, file.memory) for file in survey.files if file.name == name]
    plans = [(replicate, plan) for replicate, plan in enumerate(memory_plans(survey)) if name in plan.names]
    return named + [(replicate, plan.load(name)) for replicate, plan in plans if plan.path(name).exists()]


def candidates(survey: Survey, sources: Sequence[Proxy]) -> list[Candidate]:
    """The networks of a survey in the order in which they are run.

    Architecture by architecture, its first network on the whole set and then those on all proxies, so that proxies can
    be compared before the survey is finished. The further networks on the whole set come last.
    """
    whole, *others = sources
    configs = {id(proxy): config_key(config_of(survey, proxy)) for proxy in sources}
    order = [
        (architecture, proxy, replicate)
        for architecture in survey.architectures
        for proxy, replicates in ((whole, 1), *((other, survey.replicates) for other in others))
        for replicate in range(replicates)
    ]
    further = range(1, survey.whole_replicates)
    order += [(architecture, whole, replicate) for architecture in survey.architectures for replicate in further]
    return [
        Candidate(architecture, proxy, replicate, config, _key(config, architecture, replicate))
        for architecture, proxy, replicate in order
        for config in (configs[id(proxy)],)
    ]


def config_of(survey: Survey, proxy: Proxy) -> dict[str, object]:
    """All that decides the accuracies of a proxy's networks, apart from architecture and replicate."""
    return {
        "dataset": survey.checksum,
        "split": survey.dataset.checksum,
        "proxy": proxy.name,
        "memory": proxy.memory_checksum,
        "memory_replicate": proxy.memory_replicate,
        "images": proxy.images,
        "training": proxy.training.describe(),
        # Without the `+`, which also marks flags that repeat a default and so change nothing.
        "recipe": proxy.training_name.removesuffix("+"),
        "seed": survey.seed,
        "precision": survey.precision,
    }


def _key(config: str, architecture: Architecture, replicate: int) -> str:
    return config_key({"config": config, "architecture": architecture.name, "network": replicate})


def cells(survey: Survey, every: Sequence[Candidate]) -> list[Cell]:
    """The cells of candidates; those of one architecture and proxy have equal `shown`, so one worker takes them all."""
    return [
        Cell(
            one.key,
            _shown(one),
            partial(_make, survey, one),
            _work(survey, one),
            ON_WHOLE if one.proxy.name == WHOLE else Board(one.proxy.name, VALIDATION),
            about(survey, one.architecture)
            | {"space": survey.space.name, "proxy": one.proxy.name, "recipe": one.proxy.training_name},
        )
        for one in every
    ]


def _work(survey: Survey, one: Candidate) -> Work:
    return work_of(survey, one.architecture, one.proxy.training.epochs * one.proxy.images)


def work_of(survey: Survey, architecture: Architecture, images: int) -> Work:
    """Counted work of training on so many images (summed over epochs) and of testing on both splits."""
    flop = 2 * architecture.macs(survey.dataset.shape, survey.dataset.classes)
    return Work.of(flop, forward=len(survey.dataset.test) + len(survey.test), trained=images)


def _shown(one: Candidate) -> dict[str, str | int]:
    """The axes of the space. Whole-set networks are separate trials: only the first is compared with proxies."""
    return vars(one.architecture) | ({"network": one.replicate} if one.proxy.name == WHOLE else {})


def about(survey: Survey, architecture: Architecture) -> dict[str, str | int]:
    """What a dashboard shows of an architecture beside its axes."""
    classes, shape = survey.dataset.classes, survey.dataset.shape
    return {
        "architecture": architecture.name,
        "parameters": architecture.parameters(classes, shape),
        "macs": architecture.macs(shape, classes),
    }


def _number(rows: Sequence[NetworkRow]) -> float:
    """What an architecture is ranked by: test accuracy on the whole set, validation accuracy on a proxy."""
    return fmean(row.test_accuracy if row.proxy == WHOLE else row.validation_accuracy for row in rows)


def _make(survey: Survey, one: Candidate) -> list[NetworkRow]:
    row = _row(survey, one)
    if one.proxy.name == WHOLE:
        # Before the survey's own records: after a stop in between, `tables.adopt` copies the row from the table. The
        # other way round it would never get there, because a cell in the records is not run again.
        survey.table.append([row])
    return [row]


def _row(survey: Survey, one: Candidate) -> NetworkRow:
    """Train and test the network."""
    seed, proxy = _seed(survey, one), one.proxy
    network, (images, labels) = survey.new_network(one.architecture, seed), proxy.data
    started = time.perf_counter()
    said, worth = f"{one.architecture.name} on {proxy.name}", _work(survey, one).gflop
    with bar(proxy.training.epochs, said, "epochs", worth) as shown:
        train(network, images, labels, proxy.training, seed, shown.update)
    converged = has_converged(network)
    seconds = time.perf_counter() - started
    tested = {"validation_accuracy": survey.on_device.test, "test_accuracy": survey.test_on_device}
    chunk = proxy.training.chunk
    return NetworkRow(
        **_described(survey, one),
        **{name: accuracy(network, split, chunk) if converged else math.nan for name, split in tested.items()},
        status="ok" if converged else "diverged",
        seconds=seconds,
        origin=origin_of(name_of(survey.device), survey.precision, chunk),
    )


def _described(survey: Survey, one: Candidate) -> dict[str, object]:
    """The columns that are known before a network is trained."""
    architecture, proxy, dataset = one.architecture, one.proxy, survey.dataset
    return {
        "cell": one.key,
        "dataset": dataset.name,
        "dataset_checksum": dataset.checksum,
        "validation": survey.validation,
        "space": survey.space.name,
        "index": survey.space.index(architecture),
        **vars(architecture),
        **about(survey, architecture),
        "proxy": proxy.name,
        "memory_replicate": proxy.memory_replicate,
        "memory_checksum": proxy.memory_checksum,
        "config": one.config,
        "recipe": proxy.training_name,
        "epochs": proxy.training.epochs,
        "steps": proxy.steps,
        "ipc_stored": proxy.ipc_stored,
        "ipc_decoded": proxy.ipc_decoded,
        "stored_images": proxy.stored_images,
        "stored_bytes": proxy.stored_bytes,
        "network_replicate": one.replicate,
    }


def _seed(survey: Survey, one: Candidate) -> int:
    # Proxies share draws, so that comparisons are paired. The whole set has other draws, or a lucky initialisation
    # would help an architecture on both sides and inflate the correlation.
    side = WHOLE if one.proxy.name == WHOLE else "proxy"
    return survey.network_seed(one.architecture, side, one.proxy.memory_replicate, one.replicate)


def has_converged(network: nn.Module) -> bool:
    """Whether all weights are finite. The check waits for the device, so a time read after it includes all training."""
    return all(bool(weights.isfinite().all()) for weights in network.state_dict().values())
