"""The cells of a continual experiment, and how they are run.

A cell trains all networks of one (memory, step) and leaves rows. The memories of a class order are condensed in
lockstep by the first cell that needs one of them, and kept as files. Cells are keyed by the hash of their resolved
config, so a finished cell is never run again, and rows from before a default changed are not reused.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean

from condensers import registry
from condensers.memory import Memory
from harness.continual.experiment import GDUMB, RETRAIN, Experiment
from harness.continual.online import Online, accuracies, settings_of
from harness.continual.report import add_history
from harness.core.cells import Cell, run_cells
from harness.core.makings import trained_on_real
from harness.core.memories import Plan
from harness.core.progress import bar
from harness.core.protocols import NAIVE, WHOLE, marked
from harness.core.schema import ScoreRow
from harness.core.seeds import config_key
from harness.core.stored import content_of
from harness.core.studies import ACCURACY
from harness.core.work import NONE, Work
from scenarios.buffers import CondensedBuffer, class_share
from scenarios.strategies import RetrainFromMemory
from scenarios.streams import continual_stream
from search_spaces.forward import forward_pass
from search_spaces.registry import identity_of


@dataclass(frozen=True)
class Learner:
    """What is compared: how networks learn, and from what.

    Attributes:
        condenser: a condenser, `whole`, or the name of a memory file; empty for a strategy without a memory.
        strategy: a value of --strategy.
    """

    condenser: str
    strategy: str = RETRAIN

    @property
    def name(self) -> str:
        """Its name in the column `condenser` of rows."""
        if self.strategy == NAIVE:
            return NAIVE
        return self.condenser if self.strategy == RETRAIN else f"{self.condenser} ({self.strategy})"


@dataclass(frozen=True)
class Score:
    """What a cell is about: the networks of one memory at one step."""

    learner: Learner
    order: int
    step: int
    config: str
    key: str


def learners(experiment: Experiment) -> list[Learner]:
    """What is compared: condensers and memory files under each strategy, `whole` under retrain only, naive once."""
    held = [*experiment.names, *(file.name for file in experiment.files)]
    found = [Learner(name, strategy) for strategy in experiment.strategies if strategy != NAIVE for name in held]
    found = [learner for learner in found if learner.condenser != WHOLE or learner.strategy == RETRAIN]
    return [*found, *([Learner("", NAIVE)] if NAIVE in experiment.strategies else [])]


def configs(experiment: Experiment) -> set[str]:
    """Values of the `config` column that belong to the experiment."""
    return {score.config for score in scores(experiment, 0)}


def scores(experiment: Experiment, order: int) -> list[Score]:
    """The scores of one class order, condenser by condenser, step by step."""
    return [score for learner in learners(experiment) for score in _scores_of(experiment, learner, order)]


def _scores_of(experiment: Experiment, learner: Learner, order: int) -> list[Score]:
    name = learner.condenser
    bounds = (None, None) if name == WHOLE else (experiment.per_class, experiment.max_size)
    shared = {
        "memory": _memory_key(experiment, name, order),
        "dataset": experiment.dataset.checksum,
        "steps": [list(classes) for classes in experiment.step_classes(order)],
        "per_class": bounds[0],
        "max_size": bounds[1],
        "networks": experiment.networks,
        "network": identity_of(experiment.network),
        "training": _training(experiment, learner),
        "seed": experiment.seed,
        "precision": experiment.precision,
        "protocol": marked(experiment.protocol),
    }
    keys = [config_key(shared | {"step": step}) for step in range(1, experiment.steps + 1)]
    # The class order is left out, so that a condenser has one config over all orders.
    config = config_key({**shared, "memory": _memory_key(experiment, name, 0), "steps": experiment.steps})
    return [Score(learner, order, step, config, key) for step, key in enumerate(keys, 1)]


def _memory_key(experiment: Experiment, name: str, order: int) -> str | list[object]:
    for file in experiment.files:
        if file.name == name:
            return content_of(file.memory)
    if name in (WHOLE, ""):
        return name
    return memory_plan(experiment, order).key(name)


def memory_plan(experiment: Experiment, order: int) -> Plan:
    """How the memories of an order are made and where they are kept."""
    return Plan(
        names=tuple(name for name in experiment.names if name != WHOLE),
        dataset=experiment.dataset,
        groups=tuple(experiment.groups(order)),
        schedule=experiment.schedule,
        seed=experiment.memory_seed(order),
        device=experiment.device,
        precision=experiment.precision,
        store=experiment.store,
        store_selections="indices",  # exact, and a small file
        folder=experiment.out / "memories",
        label=f"order{order}",
    )


def cells(experiment: Experiment) -> list[Cell]:
    """All cells of an experiment, in the order in which they are taken.

    First the cells of `retrain`, alternating between class orders, so that workers starting together condense different
    orders. Then the other strategies, one stream at a time, because one run makes all its steps.
    """
    online = Online(experiment)
    by_order = [scores(experiment, order) for order in range(experiment.orders)]
    turns = [score for together in zip(*by_order, strict=True) for score in together]
    anew = [score for score in turns if score.learner.strategy == RETRAIN]
    streamed = [score for own in by_order for score in own if score.learner.strategy != RETRAIN]
    shared = [_shared(experiment, order) for order in range(experiment.orders)]
    return [
        _cell(experiment, score, online, shared[score.order].get(score.learner.condenser, {}))
        for score in (*anew, *streamed)
    ]


def _shared(experiment: Experiment, order: int) -> dict[str, dict[str, Work]]:
    """By condenser, the work that cells of a class order share: condensing, which the first of them does for all."""
    plan = memory_plan(experiment, order)
    return dict.fromkeys(plan.names, plan.shared())


def run(experiment: Experiment) -> None:
    """Run every cell that is not in the records, sharing the folder with other processes that do the same."""
    run_cells(
        cells(experiment),
        experiment.records,
        study="continual",
        sharing=experiment.sharing,
        number=lambda rows: fmean(row.value for row in rows if row.metric == "accuracy"),
    )
    for order in range(experiment.orders):
        for learner in learners(experiment):
            add_history(experiment.records, [score.key for score in _scores_of(experiment, learner, order)])


def _training(experiment: Experiment, learner: Learner) -> dict[str, object]:
    """How networks are trained, as JSON values."""
    if learner.strategy != RETRAIN:
        return settings_of(experiment, learner.strategy)
    return (experiment.whole if learner.condenser == WHOLE else experiment.training).describe()


def _cell(experiment: Experiment, score: Score, online: Online, shared: dict[str, Work]) -> Cell:
    shown = {"condenser": score.learner.name, "order": score.order}
    if score.learner.strategy == RETRAIN:
        # Other strategies make all steps in one run, so one worker takes them together.
        shown["step"] = score.step
    make = partial(_make, experiment, score, online)
    return Cell(score.key, shown, make, _work(experiment, score), ACCURACY, shared=shared)


def _work(experiment: Experiment, score: Score) -> Work:
    """Counted work of training and testing the networks of a cell."""
    groups, strategy = experiment.groups(score.order)[: score.step], score.learner.strategy
    seen = sum(len(group.classes) for group in groups)
    real = len(experiment.dataset.train) // experiment.dataset.classes
    if score.learner.condenser == WHOLE:
        epochs, images = experiment.whole.epochs, real * seen
    elif strategy in (RETRAIN, GDUMB):
        decoded = groups[-1].ipc * _decoded(experiment, score.learner.condenser)
        epochs, images = experiment.training.epochs, seen * decoded
    else:
        # Replay trains on a minibatch of the memory beside each minibatch of the step's images.
        epochs, images = experiment.whole.epochs, real * len(groups[-1].classes) * (1 if strategy == NAIVE else 2)
    tested = len(experiment.dataset.test) * seen // experiment.dataset.classes
    flop = forward_pass(experiment.network, experiment.dataset.classes, experiment.dataset.shape).flops
    return Work.of(flop, forward=experiment.networks * tested, trained=experiment.networks * epochs * images)


def _decoded(experiment: Experiment, name: str) -> int:
    """How many images each stored image of a memory is decoded to."""
    for file in experiment.files:
        if file.name == name:
            return file.memory.pixels.decoded
    return registry.condenser(name).decoded


def _make(experiment: Experiment, score: Score, online: Online) -> list[ScoreRow] | None:
    """The rows of a score; makes its memory first if it is missing. None while another process makes that."""
    return _rows(experiment, score, _memory_of(experiment, score), online) if _ensure(experiment, score) else None


def _ensure(experiment: Experiment, score: Score) -> bool:
    """Make the memories of the cell's class order if it needs one; False while another live process makes them."""
    plan = memory_plan(experiment, score.order)
    if score.learner.condenser not in plan.names:
        return True
    about = {"class_order": score.order, "experiment_seed": experiment.seed}
    return plan.make(experiment.records.claim, about)


def _memory_of(experiment: Experiment, score: Score) -> Memory | None:
    """The memory that networks learn from; None for a strategy without one."""
    name = score.learner.condenser
    for file in experiment.files:
        if file.name == name:
            return file.memory
    if name == WHOLE:
        train = experiment.dataset.train
        return Memory(train.normalise(train.images), train.labels, {"trained_on_real": False})
    return memory_plan(experiment, score.order).load(name) if name else None


def _rows(experiment: Experiment, score: Score, memory: Memory | None, online: Online) -> list[ScoreRow]:
    """Train and test all networks of a cell; one row per network and metric."""
    started = time.perf_counter()
    if score.learner.strategy == RETRAIN:
        values = _tested(experiment, score, memory)
        seconds = (time.perf_counter() - started) / experiment.networks
    else:
        steps = (replace(score, step=step) for step in range(1, experiment.steps + 1))
        work = sum((_work(experiment, step) for step in steps), NONE)
        streamed = online.run(score.learner.strategy, score.order, memory, work)
        values, seconds = streamed.values[score.step - 1], streamed.seconds
    row = _row_maker(experiment, score, memory, seconds)
    return [
        row(network_replicate=replicate, metric=metric, value=value)
        for replicate, metrics in enumerate(values)
        for metric, value in metrics.items()
    ]


def _tested(experiment: Experiment, score: Score, memory: Memory) -> list[dict[str, float]]:
    """The metrics of every network that is trained anew from the memory."""
    stream = continual_stream(experiment.dataset, experiment.steps, score.order)
    whole = score.learner.condenser == WHOLE
    bounds = {} if whole else {"per_class": experiment.per_class, "max_size": experiment.max_size}
    training, seed = experiment.whole if whole else experiment.training, partial(experiment.network_seed, score.order)
    said = f"{score.learner.name}, order {score.order}, step {score.step}"
    with bar(training.epochs * experiment.networks, said, worth=_work(experiment, score).gflop) as shown:
        strategy = RetrainFromMemory(
            buffer=CondensedBuffer(memory, **bounds),
            make_network=lambda step, replicate: experiment.new_network(seed(step + 1, replicate)),
            make_seed=lambda step, replicate: seed(step + 1, replicate),
            replicates=experiment.networks,
            training=training,
            device=experiment.device,
            progress=shown.update,
        )
        for experience in stream.train_stream[: score.step - 1]:
            strategy.observe(experience)
        strategy.train(stream.train_stream[score.step - 1])
        return [accuracies(experiment, network, score.order, score.step) for network in strategy.networks]


def _row_maker(experiment: Experiment, score: Score, memory: Memory | None, seconds: float) -> Callable[..., ScoreRow]:
    """A function that makes a row of a cell from `network_replicate`, `metric` and `value`."""
    seen = [label for classes in experiment.step_classes(score.order)[: score.step] for label in classes]
    share = _share(experiment, score, memory, seen)
    return partial(
        ScoreRow,
        cell=score.key,
        dataset=experiment.dataset.name,
        dataset_checksum=experiment.dataset.checksum,
        condenser=score.learner.name,
        config=score.config,
        ipc_stored=share,
        ipc_decoded=share * (memory.pixels.decoded if memory else 1),
        trained_on_real=trained_on_real(memory) if memory else False,
        steps=experiment.steps,
        class_order=score.order,
        memory_replicate=0,
        step=score.step,
        classes_seen=len(seen),
        seconds=seconds,
        protocol=experiment.protocol,
        origin=experiment.origin,
        memory_checksum=memory.checksum if memory else "",
    )


def _share(experiment: Experiment, score: Score, memory: Memory | None, seen: list[int]) -> int:
    """Stored images per class, for the classes seen so far."""
    if memory is None:
        return 0
    share = memory.of_classes(seen).per_class
    if score.learner.condenser == WHOLE:
        return share
    return min(share, class_share(len(seen), experiment.per_class, experiment.max_size))
