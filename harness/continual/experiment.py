"""A continual experiment: its flags resolved into numbers, checked before hours are spent on them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

import torch

from condensers import registry
from condensers.condense import Group
from condensers.core.recipe import Schedule
from condensers.core.sampling import check_enough
from condensers.device.images import LabelledImages
from condensers.device.training import Training
from harness.continual.flags import Continual, Strategy
from harness.core.flags import COMPARED, CONDENSING, refuse, refuse_bf16
from harness.core.progress import say
from harness.core.protocols import NAIVE, WHOLE, Protocol
from harness.core.queue import Sharing
from harness.core.reading import read_all
from harness.core.records import Records
from harness.core.schema import ScoreRow
from harness.core.scoring import Scoring, scoring_of
from harness.core.seeds import seed_of
from harness.core.settings import Setup, announced, place_of, settle
from harness.core.stored import Stored, check_steps
from harness.evidence.intervals import RANDOM
from scenarios.buffers import class_share
from scenarios.datasets import load
from scenarios.streams import step_classes
from search_spaces.registry import build

RETRAIN, GDUMB = "retrain", "gdumb"  # strategies that the code treats differently from the others


@dataclass(frozen=True)
class Experiment(Scoring):
    """A continual experiment with every default resolved.

    Attributes:
        names: condensers, `whole` among them if the upper bound is asked for.
        strategies: how networks learn from their memories.
        files: memory files that are streamed, in place of memories condensed here.
        per_class: images per class, or None under a total budget.
        max_size: images in all, or None.
        schedule: iterations, network and batches of the condensers.
        whole: how networks are trained on real images: on all of them (the upper bound), or on each step's.
        augment: whether Avalanche's strategies augment what they train on; `retrain` always does.
        separable: whether files that do not say how they were condensed were condensed class by class.
        sharing: who does the work.
    """

    steps: int
    names: tuple[str, ...]
    strategies: tuple[str, ...]
    files: tuple[Stored, ...]
    per_class: int | None
    max_size: int | None
    orders: int
    schedule: Schedule
    whole: Training
    augment: bool
    separable: bool
    store: str
    out: Path
    sharing: Sharing

    @cached_property
    def test_on_device(self) -> LabelledImages:
        """The test images where the work is done."""
        return self.dataset.test.to(self.device)

    @cached_property
    def records(self) -> Records[ScoreRow]:
        """The CSV of the experiment."""
        return Records(self.out / "results.csv", ScoreRow)

    def step_classes(self, order: int) -> list[list[int]]:
        """The classes of every step of a class order."""
        return step_classes(self.dataset.classes, self.steps, order)

    def groups(self, order: int) -> list[Group]:
        """The classes of every step, and how many images each class may keep when it arrives."""
        seen, groups = 0, []
        for classes in self.step_classes(order):
            seen += len(classes)
            groups.append(Group(tuple(sorted(classes)), class_share(seen, self.per_class, self.max_size)))
        return groups

    def memory_seed(self, order: int) -> int:
        """The seed of a class order's memories. It is the same for all condensers, so that comparisons are paired."""
        return seed_of(self.dataset.identity, self.seed, "order", order, "memory", 0)

    def network_seed(self, order: int, step: int, replicate: int) -> int:
        """The seed of all draws for one trained network."""
        return seed_of(
            self.dataset.identity, self.seed, "order", order, "memory", 0, "step", step, "network", replicate
        )


def prepare(config: Continual) -> Experiment:
    """Resolve every default and check every name. Raises ValueError for whatever a user can get wrong."""
    device, protocol = place_of(config)
    _check_memory(config)
    if config.memory_size is not None and config.memory_per_class is not None:
        raise ValueError("--memory-per-class and --memory-size exclude each other: give one of them")
    experiment = _resolve(config, protocol, device)
    _check(experiment)
    experiment.sharing.check()
    say(f"{announced(experiment.protocol, device)}; {_advice(experiment)}")
    return experiment


def _check_memory(config: Continual) -> None:
    """Raise ValueError for flags that nothing would read: of memories without a strategy for them, or of both kinds."""
    if not _remembers(config.strategy):
        why = f"is for memories, and {NAIVE} learns without one: leave it out, or add another --strategy"
        refuse(config, ("condensers", *CONDENSING, "memory", "separable", "memory_per_class", "memory_size"), why)
    if not config.memory:
        return refuse(config, ("separable",), "is for --memory files: leave it out, or name some")
    if config.condensers != COMPARED:
        raise ValueError("--memory and --condensers exclude each other: give files, or what is to be condensed")
    refuse(config, CONDENSING, "is for condensing, and --memory files are condensed already: leave it out")
    refuse_bf16(config)


def _resolve(config: Continual, protocol: Protocol, device: torch.device) -> Experiment:
    settled = settle(config, protocol)
    # Aliases become the condensers' own names, so that none is compared with itself. Checked before data are loaded.
    names = tuple(dict.fromkeys(registry.condenser(name).name for name in config.condensers))
    dataset = load(config.dataset, config.data_root, config.resolution)
    files = tuple(read_all(config, config.memory, dataset, soft=False))
    if files and config.memory_per_class is None:
        settled = replace(settled, memory_per_class=min(file.memory.per_class for file in files))
    setup = Setup(config, protocol, device, dataset)
    scoring = scoring_of(setup)
    condensed = names if _remembers(config.strategy) and not files else ()
    return Experiment(
        **vars(scoring),
        steps=config.steps,
        names=(*condensed, *((WHOLE,) if config.upper_bound else ())),
        strategies=tuple(dict.fromkeys(config.strategy)),
        files=files,
        per_class=None if config.memory_size else settled.memory_per_class,
        max_size=config.memory_size,
        orders=settled.orders,
        schedule=setup.schedule(),
        whole=replace(scoring.training, epochs=settled.whole_epochs),
        augment=config.augment,
        separable=config.separable,
        store=config.store,
        out=config.out or Path("out", "continual", f"{dataset.identity}-{config.steps}steps"),
        sharing=Sharing(config.storage, config.workers),
    )


def _remembers(strategies: Sequence[str]) -> bool:
    """Whether any of the strategies learns from a memory."""
    return any(strategy != NAIVE for strategy in strategies)


def _advice(experiment: Experiment) -> str:
    lacking = [
        flag
        for flag, value, enough in (("--orders", experiment.orders, 5), ("--networks", experiment.networks, 3))
        if value < enough
    ]
    return f"more {' and '.join(lacking)} buy narrower intervals" if lacking else "interval over class orders"


def _check(experiment: Experiment) -> None:
    """Raise ValueError for what would only fail after hours."""
    if _remembers(experiment.strategies) and not experiment.names and not experiment.files:
        raise ValueError("no condensers: name at least one with --condensers, or a --memory file")
    if WHOLE in experiment.names and RETRAIN not in experiment.strategies:
        raise ValueError("--upper-bound is trained anew at every step: add retrain to --strategy")
    if experiment.augment and set(experiment.strategies) == {RETRAIN}:
        raise ValueError("--augment is of gdumb, replay and naive, and retrain augments anyway: leave --augment out")
    _check_files(experiment.files)
    for name in experiment.names:
        if name != WHOLE:
            registry.condenser(name).check(experiment.schedule)
    build(experiment.network, experiment.dataset.classes, experiment.dataset.shape)
    _check_size(experiment)
    for order in range(experiment.orders):
        for file in experiment.files:
            check_steps(file, experiment.step_classes(order), order, experiment.separable)
    _check_held(experiment)
    experiment.records.finished()


def _check_files(files: Sequence[Stored]) -> None:
    """Raise ValueError if rows of a memory file could be mistaken for rows of another file or condenser."""
    for name, count in Counter(file.name for file in files).items():
        if count > 1:
            raise ValueError(f"{count} memory files are called {name}, and so would the rows of each be: rename them")
        _check_name(name)
    known: dict[str, Stored] = {}
    for file in files:
        if (same := known.setdefault(file.memory.checksum, file)) is not file:
            raise ValueError(f"{same.path} and {file.path} hold the same memory: name one of them")
        made = file.memory.metadata.get("condenser", RANDOM)
        if file.name == RANDOM and made != RANDOM:
            raise ValueError(f"{file.path} is by {made}, and {RANDOM} is what others are compared with: rename it")


def _check_name(name: str) -> None:
    """Raise ValueError if a memory file is called like the upper bound, a strategy, or a memory under a strategy."""
    if name in (WHOLE, NAIVE):
        what = "all real data are" if name == WHOLE else "a strategy is"
        raise ValueError(f"a memory file is called {name}, as {what}: rename it")
    if any(name.endswith(f" ({strategy})") for strategy in get_args(Strategy)):
        raise ValueError(f"a memory file is called {name}, as a memory under a strategy is: rename it")


def _check_size(experiment: Experiment) -> None:
    """Raise ValueError if a class has fewer images than it may keep, or a total budget is too small or too large."""
    decoded = max((registry.condenser(name).decoded for name in experiment.names if name != WHOLE), default=1)
    sizes, size = experiment.dataset.train.labels.bincount().tolist(), experiment.max_size
    if size is None:
        return check_enough(sizes, experiment.per_class, decoded)
    if size < experiment.dataset.classes:
        raise ValueError(
            f"--memory-size is {size}; give at least {experiment.dataset.classes}, an image for each class"
        )
    first, each = len(experiment.step_classes(0)[0]), min(sizes) // decoded
    if size // first > each:  # the first step's classes may keep most
        most = first * (each + 1) - 1
        raise ValueError(
            f"--memory-size is {size}; give at most {most}, {each} images for each class of the first step"
        )
    return None


def _check_held(experiment: Experiment) -> None:
    """Raise ValueError if memory files hold too few images of a class, or if a total budget gives unequal shares.

    Under a total budget, all classes must have the same number of images after a step, in every file and class order.
    """
    counts = {file.name: file.memory.labels.bincount().tolist() for file in experiment.files}
    for name, held in counts.items():
        if experiment.per_class is not None and min(held) < experiment.per_class:
            raise ValueError(
                f"--memory-per-class is {experiment.per_class}; give at most {min(held)}, which {name} holds"
            )
    if experiment.max_size is None or not counts:
        return
    arriving = [[label for step in experiment.step_classes(own) for label in step] for own in range(experiment.orders)]
    for step, group in enumerate(experiment.groups(0), 1):
        seen = [own[: step * len(group.classes)] for own in arriving]
        shares = {min(group.ipc, *(held[label] for label in own)) for own in seen for held in counts.values()}
        if len(shares) > 1:
            raise ValueError(
                f"after step {step} there would be {min(shares)} to {max(shares)} images of a class, by memory file "
                "and class order: give --memory-per-class instead of --memory-size, or files of one size"
            )
