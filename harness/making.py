"""What `harness.condense` does: one plan, its memory files, and a picture of each."""

from condensers import registry
from condensers.condense import Group, condense
from condensers.memory import Memory, save_memory
from harness.condense import Condense
from harness.devices import name_of, resolve_device, set_precision
from harness.figures import memory_grid
from harness.memories import with_origin
from harness.progress import bar, say
from harness.protocols import protocol_for
from harness.seeds import seed_of
from harness.settings import label_of, schedule_of
from scenarios.datasets import Dataset, load


def make(config: Condense) -> None:
    """Condense, save, and draw. Raises ValueError for whatever a user can get wrong."""
    device = resolve_device(config.device)
    set_precision(config.precision, device)
    protocol = protocol_for(config.protocol, device.type)
    condensers = [registry.condenser(name) for name in config.condensers]
    dataset = load(config.dataset, config.data_root, config.resolution)
    if config.validation:
        dataset = dataset.hold_out(config.validation)
    ipc = protocol.memory_per_class if config.ipc is None else config.ipc
    schedule = schedule_of(config, protocol, dataset, device)
    groups = _groups(dataset, config, ipc)
    seed = seed_of(dataset.name, config.seed, "memory", config.replicate)
    label = label_of(config, protocol)
    say(f"protocol {label} on {name_of(device)}: {schedule.iterations} iterations, {ipc} images per class")
    with bar(schedule.iterations * len(groups), "condensing") as shown:
        train = dataset.train.to(device)
        made = condense(condensers, train, groups, schedule, seed, config.out / "checkpoints", shown.update)
    for name, memory in made.items():
        memory = with_origin(memory, dataset, name_of(device), config.precision, config.replicate)
        _keep(memory, name, dataset, config, ipc)


def _groups(dataset: Dataset, config: Condense, ipc: int) -> list[Group]:
    if config.steps == 1:
        return [Group(tuple(range(dataset.classes)), ipc)]
    # Avalanche, which streams need, takes seconds to import.
    from scenarios.streams import step_classes

    steps = step_classes(dataset.classes, config.steps, config.order)
    return [Group(tuple(sorted(classes)), ipc) for classes in steps]


def _keep(memory: Memory, name: str, dataset: Dataset, config: Condense, ipc: int) -> None:
    stem = f"{dataset.name.replace('/', '_')}-{name.replace(':', '_')}-ipc{ipc}-replicate{config.replicate}"
    path = config.out / f"{stem}.safetensors"
    save_memory(memory, path, config.store)
    pixels = dataset.train.denormalise(memory.images.cpu())
    memory_grid(pixels, memory.labels, path.with_suffix(".png"))
    say(f"{name}: {len(memory)} images, {path.stat().st_size / 1e6:.2f} MB  {path}  {path.with_suffix('.png')}")
