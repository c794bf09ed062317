"""The cells of a continual experiment, and how they are run.

A memory cell condenses one class order for one or more condensers in lockstep and leaves a memory file each. A score
cell trains all networks of one (memory, step) and leaves rows. Cells are keyed by the hash of their resolved config,
so a finished one is never run again and a changed default never meets a stale row.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from avalanche.benchmarks import CLScenario
from torch import nn

from condensers.device import draws
from condensers.device.training import predict
from condensers.memory import Memory
from harness.continual.experiment import WHOLE, Experiment
from harness.continual.report import add_history
from harness.core import memories
from harness.core.devices import name_of
from harness.core.progress import bar
from harness.core.queue import Job, run_jobs
from harness.core.records import provenance
from harness.core.seeds import key_of
from scenarios.buffers import CondensedBuffer, class_share
from scenarios.strategies import RetrainFromMemory, accuracy_by_step, accuracy_on
from scenarios.streams import continual_stream
from search_spaces.registry import build, identity_of


@dataclass(frozen=True)
class Score:
    """One score cell: the networks of one memory at one step."""

    condenser: str
    order: int
    step: int
    config: str
    key: str


def sources(experiment: Experiment) -> list[str]:
    """What is compared: condensers, `whole`, and memory files, each by the name that its rows carry."""
    return [*experiment.names, *(file.name for file in experiment.files)]


def configs(experiment: Experiment) -> set[str]:
    """Values of the `config` column that belong to the experiment."""
    return {cell.config for cell in score_cells(experiment, 0)}


def score_cells(experiment: Experiment, order: int) -> list[Score]:
    """The score cells of one class order, condenser by condenser, step by step."""
    return [cell for name in sources(experiment) for cell in _scores_of(experiment, name, order)]


def _scores_of(experiment: Experiment, name: str, order: int) -> list[Score]:
    shared = {
        "memory": _memory_key(experiment, name, order),
        "dataset": experiment.dataset.checksum,
        "steps": [list(classes) for classes in experiment.step_classes(order)],
        "per_class": experiment.per_class,
        "max_size": experiment.max_size,
        "networks": experiment.networks,
        "network": identity_of(experiment.schedule.network),
        "training": (experiment.whole if name == WHOLE else experiment.training).describe(),
        "seed": experiment.seed,
        "precision": experiment.precision,
        "protocol": experiment.protocol,
    }
    keys = [key_of(shared | {"step": step}) for step in range(1, experiment.steps + 1)]
    # Without the order, so that one condenser has one config over all of them.
    config = key_of({**shared, "memory": _memory_key(experiment, name, 0), "steps": experiment.steps})
    return [Score(name, order, step, config, key) for step, key in enumerate(keys, 1)]


def _memory_key(experiment: Experiment, name: str, order: int) -> str:
    for file in experiment.files:
        if file.name == name:
            return file.memory.checksum
    if name == WHOLE:
        return WHOLE
    return memory_plan(experiment, order).key(name)


def memory_plan(experiment: Experiment, order: int) -> memories.Plan:
    """How the memories of an order are made and where they are kept."""
    return memories.Plan(
        names=tuple(name for name in experiment.names if name != WHOLE),
        dataset=experiment.dataset.name,
        checksum=experiment.dataset.checksum,
        groups=tuple(experiment.groups(order)),
        schedule=experiment.schedule,
        seed=experiment.memory_seed(order),
        precision=experiment.precision,
        store=experiment.store,
        store_selections="indices",  # exact, and tiny
        folder=experiment.out / "memories",
        label=f"order{order}",
    )


def run(experiment: Experiment) -> None:
    """Run every cell that is not in the records, sharing the folder with other processes that do the same."""
    by_order = [score_cells(experiment, order) for order in range(experiment.orders)]
    # All orders in turn: workers that start together condense different ones at once.
    cells = {cell.key: cell for together in zip(*by_order, strict=True) for cell in together}
    run_jobs(
        jobs=[Job(cell.key, _shown(cell)) for cell in cells.values()],
        execute=lambda job: _run_cell(experiment, cells[job.cell]),
        records=experiment.records,
        study="continual",
        storage=experiment.storage,
        workers=experiment.workers,
    )
    for order in by_order:
        for name in sources(experiment):
            add_history(experiment.records, [cell.key for cell in order if cell.condenser == name])


def _shown(cell: Score) -> dict[str, str | int | float]:
    return {"condenser": cell.condenser, "order": cell.order, "step": cell.step}


def _run_cell(experiment: Experiment, cell: Score) -> float:
    """Score a memory, made first if need be. Returns the cell's accuracy, nan while another process is at either."""
    with experiment.records.claim(cell.key) as mine:
        if mine and _ensure(experiment, cell):
            experiment.records.append(_score(experiment, cell, _memory_of(experiment, cell)))
    rows = experiment.records.read()
    return rows[(rows["cell"] == cell.key) & (rows["metric"] == "accuracy")]["value"].mean()


def _ensure(experiment: Experiment, cell: Score) -> bool:
    """Make the memories of the cell's order, unless it needs none; False while another live process does."""
    plan = memory_plan(experiment, cell.order)
    if cell.condenser not in plan.names:
        return True
    progress, origin = _condensing(plan, cell.order), provenance(name_of(experiment.device), experiment.precision)
    return memories.ensure(plan, experiment.on_device, experiment.records.claim, progress, origin)


@contextmanager
def _condensing(plan: memories.Plan, order: int) -> Iterator[Callable[[int], object]]:
    with bar(plan.iterations(), f"order {order}: condensing") as shown:
        yield shown.update


def _memory_of(experiment: Experiment, cell: Score) -> Memory:
    for file in experiment.files:
        if file.name == cell.condenser:
            return file.memory
    if cell.condenser == WHOLE:
        train = experiment.dataset.train
        return Memory(train.normalise(train.images), train.labels, {"trained_on_real": False})
    return memory_plan(experiment, cell.order).load(cell.condenser, experiment.dataset)


def _score(experiment: Experiment, cell: Score, memory: Memory) -> list[dict[str, object]]:
    """Train and test all networks of a cell; one row per network and metric."""
    whole = cell.condenser == WHOLE
    bounds = {} if whole else {"per_class": experiment.per_class, "max_size": experiment.max_size}
    training = experiment.whole if whole else experiment.training
    stream = continual_stream(experiment.dataset, experiment.steps, cell.order)
    started = time.perf_counter()
    with bar(training.epochs * experiment.networks, f"{cell.condenser}, order {cell.order}, step {cell.step}") as shown:
        strategy = RetrainFromMemory(
            buffer=CondensedBuffer(memory, **bounds),
            make_network=lambda step, replicate: _network(experiment, cell.order, step + 1, replicate),
            make_seed=lambda step, replicate: experiment.network_seed(cell.order, step + 1, replicate),
            replicates=experiment.networks,
            training=training,
            device=experiment.device,
            eval_mb_size=training.chunk,
            progress=shown.update,
        )
        for experience in stream.train_stream[: cell.step - 1]:
            strategy.observe(experience)
        strategy.train(stream.train_stream[cell.step - 1])
        values = [_values(experiment, cell, strategy, stream, replicate) for replicate in range(experiment.networks)]
    shared = _shared_row(experiment, cell, memory) | {"seconds": (time.perf_counter() - started) / experiment.networks}
    return [
        shared | {"network_replicate": replicate, "metric": metric, "value": value}
        for replicate, metrics in enumerate(values)
        for metric, value in metrics.items()
    ]


def _network(experiment: Experiment, order: int, step: int, replicate: int) -> nn.Module:
    network = build(experiment.schedule.network, experiment.dataset.classes, experiment.dataset.shape)
    network = network.to(device=experiment.device, memory_format=torch.channels_last)
    draws.draw_network(network, draws.key_of(experiment.network_seed(order, step, replicate), "weights"))
    return network


def _values(
    experiment: Experiment, cell: Score, strategy: RetrainFromMemory, stream: CLScenario, replicate: int
) -> dict[str, float]:
    """Our accuracies of one network, and Avalanche's beside them."""
    steps, test = experiment.step_classes(cell.order)[: cell.step], experiment.on_device.test
    seen = test.of_classes([label for classes in steps for label in classes])
    predictions = predict(strategy.networks[replicate], seen, experiment.training.chunk)
    theirs = strategy.evaluate(replicate, stream.test_stream[: cell.step])
    ours = accuracy_by_step(predictions, seen.labels, steps)
    return {
        "accuracy": accuracy_on(predictions, seen.labels, [label for classes in steps for label in classes]),
        "avalanche_accuracy": theirs["accuracy"],
        **{f"accuracy_on_step_{number}": value for number, value in enumerate(ours, 1)},
        **{f"avalanche_accuracy_on_step_{n}": value for n, value in enumerate(theirs["accuracy_on_step"], 1)},
    }


def _shared_row(experiment: Experiment, cell: Score, memory: Memory) -> dict[str, object]:
    seen = [label for classes in experiment.step_classes(cell.order)[: cell.step] for label in classes]
    share = memory.of_classes(seen).per_class
    if cell.condenser != WHOLE:
        share = min(share, class_share(len(seen), experiment.per_class, experiment.max_size))
    decoded = memory.metadata.get("decoded_per_class", share) // memory.metadata.get("stored_per_class", share)
    return {
        "cell": cell.key,
        "dataset": experiment.dataset.name,
        "dataset_checksum": experiment.dataset.checksum,
        "condenser": cell.condenser,
        "config": cell.config,
        "ipc_stored": share,
        "ipc_decoded": share * max(1, decoded),
        "trained_on_real": bool(memory.metadata.get("trained_on_real")),
        "steps": experiment.steps,
        "class_order": cell.order,
        "memory_replicate": 0,
        "step": cell.step,
        "classes_seen": len(seen),
        "protocol": experiment.protocol,
        "chunk": experiment.training.chunk,
        "memory_checksum": memory.checksum,
        **provenance(name_of(experiment.device), experiment.precision),
    }
