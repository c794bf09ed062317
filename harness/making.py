"""What `harness.condense` does: one plan, its memory files, and a picture of each."""

from contextlib import nullcontext

import torch

from condensers import registry
from condensers.condense import Group
from condensers.files import require_writable
from condensers.matching import Recipe
from harness import memories
from harness.condense import Condense
from harness.devices import name_of, resolve_device, set_precision
from harness.figures import memory_grid
from harness.progress import bar, say
from harness.protocols import protocol_for
from harness.records import provenance
from harness.seeds import seed_of
from harness.settings import label_of, schedule_of
from scenarios.datasets import Dataset, load


def make(config: Condense) -> None:
    """Condense, save, and draw; memories that are there already are left. Raises ValueError for a user's mistake."""
    names = tuple(dict.fromkeys(registry.condenser(name).name for name in config.condensers))
    if config.store == "indices" and any(isinstance(registry.condenser(name), Recipe) for name in names):
        raise ValueError("only memories of real images (random, herding) can be stored as indices")
    device = resolve_device(config.device)
    set_precision(config.precision, device)
    protocol = protocol_for(config.protocol, device.type)
    dataset = load(config.dataset, config.data_root, config.resolution)
    dataset = dataset.hold_out(config.validation) if config.validation else dataset
    ipc = protocol.memory_per_class if config.ipc is None else config.ipc
    require_writable(config.out)
    plan = memories.Plan(
        names=names,
        dataset=dataset.name,
        checksum=dataset.checksum,
        groups=_groups(dataset, config, ipc),
        schedule=schedule_of(config, protocol, dataset, device),
        seed=seed_of(dataset.name, config.seed, "memory", config.replicate),
        precision=config.precision,
        store=config.store,
        store_selections=config.store,
        folder=config.out,
        label=f"{dataset.name.replace('/', '_')}-ipc{ipc}-replicate{config.replicate}",
    )
    label = label_of(config, protocol)
    say(f"protocol {label} on {name_of(device)}: {plan.schedule.iterations} iterations, {ipc} images per class")
    _run(plan, dataset, provenance(name_of(device), config.precision) | {"memory_replicate": config.replicate}, device)
    for name in names:
        _show(plan, name, dataset)


def _groups(dataset: Dataset, config: Condense, ipc: int) -> tuple[Group, ...]:
    if config.steps == 1:
        return (Group(tuple(range(dataset.classes)), ipc),)
    # Avalanche, which streams need, takes seconds to import.
    from scenarios.streams import step_classes

    steps = step_classes(dataset.classes, config.steps, config.order)
    return tuple(Group(tuple(sorted(classes)), ipc) for classes in steps)


def _run(plan: memories.Plan, dataset: Dataset, origin: dict[str, object], device: torch.device) -> None:
    with bar(plan.iterations(), "condensing") as shown:
        # Nobody to share with: two processes at the same memory write the same file.
        memories.ensure(plan, dataset.to(device), lambda _: nullcontext(True), nullcontext(shown.update), origin)


def _show(plan: memories.Plan, name: str, dataset: Dataset) -> None:
    path, memory = plan.path(name), plan.load(name, dataset)
    memory_grid(dataset.train.denormalise(memory.images), memory.labels, path.with_suffix(".png"))
    say(f"{name}: {len(memory)} images, {path.stat().st_size / 1e6:.2f} MB  {path}  {path.with_suffix('.png')}")
