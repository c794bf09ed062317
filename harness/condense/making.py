"""What `harness.condense` does: one plan, its memory files, and a picture of each."""

import os
from contextlib import nullcontext
from dataclasses import replace

import torch

from condensers import registry, sharding
from condensers.condense import Group, runs
from condensers.device.files import require_writable
from condensers.sharding import Ranks
from harness.condense.flags import Condense
from harness.core.devices import name_of, resolve_device
from harness.core.flags import check_bounds
from harness.core.memories import Plan
from harness.core.progress import say
from harness.core.seeds import seed_of
from harness.core.settings import Setup, place_of, settle
from harness.evidence.previews import preview
from scenarios.datasets import Dataset, load


def make(config: Condense) -> None:
    """Condense, save, and draw; memories that are there already are left. Raises ValueError for a user's mistake.

    Under torchrun all ranks condense; only rank 0 writes and prints, and only the first error is reported.
    """
    with sharding.joined() as ranks:
        try:
            _make(config, ranks)
        except Exception:
            if ranks.comes_first("error"):
                raise
            # Another rank has reported the error, or its end cut the connection. Exit at once: an orderly end of a
            # broken connection can abort the process.
            os._exit(2)


def _make(config: Condense, ranks: Ranks) -> None:
    names = tuple(dict.fromkeys(registry.condenser(name).name for name in config.condensers))
    if config.store == "indices" and any(registry.condenser(name).makes_pixels for name in names):
        raise ValueError("only memories of real images (random, herding) can be stored as indices")
    device, protocol = place_of(replace(config, device=_device(config.device, ranks)))
    check_bounds(config)
    dataset = load(config.dataset, config.data_root, config.resolution)
    dataset = dataset.hold_out(config.validation) if config.validation else dataset
    require_writable(config.out)
    setup = Setup(config, protocol, device, dataset)
    plan = _plan(setup, names, ranks)
    for name in names:  # before any work: with --steps, some are condensed in a later run than others
        registry.condenser(name).check(plan.schedule)
    where = name_of(device) + _shares(plan, ranks)
    if ranks.leads:
        done = f"{_iterations(plan)} iterations, {plan.groups[0].ipc} images per class"
        say(f"protocol {setup.label} on {where}: {done}")
    about = {"memory_replicate": config.replicate, "experiment_seed": config.seed, "ranks": ranks.count}
    about |= {"class_order": config.order} if config.steps > 1 else {}
    # Nothing is claimed: two processes that make the same memory write the same file.
    plan.make(lambda _: nullcontext(True), about, ranks)
    for name in names if ranks.leads else ():
        _show(plan, name)


def _iterations(plan: Plan) -> str:
    """The iterations of the recipes, as text: several numbers if papers have schedules of their own."""
    recipes = [maker for maker in map(registry.condenser, plan.names) if maker.makes_pixels]
    counts = {recipe.schedule(plan.schedule, plan.groups[0].ipc).iterations for recipe in recipes}
    return " or ".join(map(str, sorted(counts or {0})))


def _device(name: str, ranks: Ranks) -> str:
    """The device asked for, or each rank's own GPU."""
    device = resolve_device(name)
    if ranks.count == 1 or device.type == "cpu":
        return name
    if device.index is not None:
        raise ValueError(f"{name} is one device for {ranks.count} ranks: give cuda, and CUDA_VISIBLE_DEVICES to choose")
    device = resolve_device(f"cuda:{ranks.local}")
    torch.cuda.set_device(device)
    return str(device)


def _plan(setup: Setup, names: tuple[str, ...], ranks: Ranks) -> Plan:
    config, dataset = setup.flags, setup.dataset
    settled = settle(config, setup.protocol, ipc=setup.protocol.memory_per_class)
    # Rank 0 decides for all: other ranks may have less free memory, Avalanche refuses to be imported there, and
    # the seed depends on the pixels of a folder of images, which another machine may decode differently.
    own = (_groups(dataset, settled), setup.schedule(), _seed(config, dataset)) if ranks.leads else None
    groups, schedule, seed = ranks.agree(own)
    return Plan(
        names=names,
        dataset=dataset,
        groups=groups,
        schedule=schedule,
        seed=seed,
        device=setup.device,
        precision=config.precision,
        store=config.store,
        store_selections=config.store,
        folder=config.out,
        label=f"{dataset.identity}-ipc{settled.ipc}-replicate{config.replicate}",
    )


def _seed(config: Condense, dataset: Dataset) -> int:
    """The seed of all draws; with --steps the same as in `harness.continual`, so that memories of both are paired."""
    order = ("order", config.order) if config.steps > 1 else ()
    return seed_of(dataset.identity, config.seed, *order, "memory", config.replicate)


def _shares(plan: Plan, ranks: Ranks) -> str:
    """Text on how many ranks have classes. Raises ValueError, before any work, for a recipe that ranks cannot share."""
    recipes = [maker for maker in map(registry.condenser, plan.names) if maker.makes_pixels]
    if ranks.count == 1 or not recipes:
        return ""
    sharding.check_separable(recipes, plan.schedule)
    (group,), source = plan.groups_of(recipes[0].name), plan.dataset.train.to(plan.device)
    shares = [
        sharding.cut(source, group, run[0].schedule(plan.schedule, group.ipc), ranks.count, run)
        for run in runs(recipes, plan.schedule, group.ipc)
    ]
    return f", {max(sum(map(bool, own)) for own in shares)} of {ranks.count} ranks at work"


def _groups(dataset: Dataset, config: Condense) -> tuple[Group, ...]:
    if config.steps == 1:
        if config.order:
            raise ValueError(f"--order {config.order} is a class order of --steps: give --steps too, or leave it out")
        return (Group(tuple(range(dataset.classes)), config.ipc),)
    # Avalanche, which streams need, takes seconds to import.
    from scenarios.streams import step_classes

    steps = step_classes(dataset.classes, config.steps, config.order)
    return tuple(Group(tuple(sorted(classes)), config.ipc) for classes in steps)


def _show(plan: Plan, name: str) -> None:
    path, memory, dataset = plan.path(name), plan.load(name), plan.dataset
    picture, images = path.with_suffix(".png"), dataset.train.denormalise(memory.images)
    title = f"{name}: {dataset.name}, {memory.per_class} image{'s' * (memory.per_class > 1)} per class"
    preview(images, memory.labels, picture, names=dataset.class_names, title=title)
    say(f"{name}: {len(memory)} images, {path.stat().st_size / 1e6:.2f} MB  {path}  {picture}")
