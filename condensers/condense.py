"""From a data set to memories: every condenser behind one function, matching recipes in lockstep."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save

from condensers.core.matching import Matching, Recipe, Schedule
from condensers.device.files import atomic_write
from condensers.device.images import LabelledImages
from condensers.memory import Memory, join
from condensers.registry import Condenser, Selection
from search_spaces.registry import mixes_samples

CHECKPOINT_SECONDS = 60.0
Match = Callable[..., dict[str, Memory]]


@dataclass(frozen=True)
class Group:
    """Classes that are condensed together, and the images that each of them gets."""

    classes: tuple[int, ...]
    ipc: int


def condense(
    condensers: Sequence[Condenser],
    source: LabelledImages,
    groups: Sequence[Group],
    schedule: Schedule,
    seed: int,
    checkpoints: Path | None = None,
    progress: Callable[[int], object] = lambda iterations: None,
    match: Match | None = None,
) -> dict[str, Memory]:
    """A memory of all groups for each condenser, by name.

    Each group is condensed from its own classes alone, so a memory never shows a class something of another group.

    Args:
        condensers: with different names; the recipes among them share every draw and the real side's work.
        source: training images, on the device that does the work.
        groups: disjoint classes.
        schedule: network and, for recipes, iterations and real batch.
        seed: names every draw.
        checkpoints: folder where long runs save their state, to go on from after a kill.
        progress: called with 1 after every iteration of a group.
        match: what condenses a group by recipes: `lockstep` unless classes are shared out (`condensers.sharding`).

    Raises:
        ValueError: more images per class than a class has, or a network that does not fit.
    """
    selections = [condenser for condenser in condensers if isinstance(condenser, Selection)]
    recipes = [condenser for condenser in condensers if isinstance(condenser, Recipe)]
    parts: dict[str, list[Memory]] = {condenser.name: [] for condenser in condensers}
    # All are kept until the last group is done: a kill there must not cost the groups before it.
    states = [Checkpoint(checkpoints) for _ in groups]
    for group, state in zip(groups, states, strict=True):
        for selection in selections:
            parts[selection.name].append(_select(selection, source, group, schedule, seed))
        if recipes:
            made = (match or lockstep)(recipes, source, group, schedule, seed, state, progress)
            for name, memory in made.items():
                parts[name].append(memory)
    for state in states:
        state.remove()
    return {
        condenser.name: join(parts[condenser.name], metadata(condenser, source, groups, schedule, seed))
        for condenser in condensers
    }


def config(condenser: Condenser, groups: Sequence[Group], schedule: Schedule, seed: int) -> dict[str, object]:
    """Everything that decides a condenser's result on a data set, as JSON values."""
    # All of it for whoever trains or matches, but the chunk, which only rounds.
    learns = isinstance(condenser, Recipe) or condenser.trained_on_real
    shared = schedule.describe() if learns else {"network": schedule.network}
    return {
        "condenser": condenser.name,
        **condenser.describe(),
        **shared,
        "groups": [[list(group.classes), group.ipc] for group in groups],
        "seed": seed,
    }


def separable(condenser: Condenser, schedule: Schedule) -> bool:
    """Whether one condensation of all classes, sliced, equals one of each slice: else slices leak later classes."""
    return condenser.separable and not (isinstance(condenser, Recipe) and mixes_samples(schedule.network))


def metadata(
    condenser: Condenser, source: LabelledImages, groups: Sequence[Group], schedule: Schedule, seed: int
) -> dict[str, object]:
    """What a memory says of itself, apart from where its data came from."""
    return {
        "condenser": condenser.name,
        "config": config(condenser, groups, schedule, seed),
        "separable": separable(condenser, schedule),
        "trained_on_real": isinstance(condenser, Selection) and condenser.trained_on_real,
        "iterations": schedule.iterations if isinstance(condenser, Recipe) else 0,
        "chunk": schedule.chunk,
        "seed": seed,
        "classes": sorted(label for group in groups for label in group.classes),
        "pool": f"{len(source)} training images",
        "mean": list(source.mean),
        "std": list(source.std),
        "stored_per_class": min(group.ipc for group in groups),
        "decoded_per_class": min(group.ipc for group in groups),
    }


def _select(selection: Selection, source: LabelledImages, group: Group, schedule: Schedule, seed: int) -> Memory:
    indices = selection.select(source, list(group.classes), group.ipc, schedule, seed).flatten()
    return Memory(source.normalise(source.images[indices]), source.labels[indices], {}, indices)


def lockstep(
    recipes: Sequence[Recipe],
    source: LabelledImages,
    group: Group,
    schedule: Schedule,
    seed: int,
    state: "Checkpoint",
    progress: Callable[[int], object],
) -> dict[str, Memory]:
    """A memory of one group for each recipe, going on from what is in `state`. Raises ValueError as `condense`."""
    matching = Matching(source, group.classes, group.ipc, recipes, schedule, seed)
    state.resume(matching, [config(recipe, [group], schedule, seed) for recipe in recipes])
    progress(matching.iteration)
    while matching.iteration < schedule.iterations:
        matching.step()
        progress(1)
        state.save_if_due(matching)
    state.save(matching)
    return {recipe.name: Memory(*matching.memory(recipe.name), {}) for recipe in recipes}


class Checkpoint:
    """The state of one lockstep run on disk, written about once a minute; a folder of None keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.path: Path | None = None
        self.saved = time.monotonic()

    def resume(self, matching: Matching, configs: list[dict[str, object]]) -> None:
        """Go on from the file of such a run if there is one; a file that cannot be read counts as none."""
        if self.folder is None:
            return
        # The starting images tell apart data sets, and splits of one, that share a folder and a seed.
        start = Memory(*matching.memory(matching.recipes[0].name), {}).checksum
        run = json.dumps([*configs, start], sort_keys=True).encode()
        self.path = self.folder / f"{hashlib.sha256(run).hexdigest()[:16]}.safetensors"
        try:
            matching.restore(load(self.path.read_bytes()))
        except (OSError, SafetensorError, KeyError, RuntimeError):
            self.remove()

    def save_if_due(self, matching: Matching) -> None:
        """Write the state if the last time is long ago."""
        if time.monotonic() - self.saved >= CHECKPOINT_SECONDS:
            self.save(matching)

    def save(self, matching: Matching) -> None:
        """Write the state."""
        if self.path is not None:
            state = {name: tensor.detach().cpu().contiguous() for name, tensor in matching.state().items()}
            atomic_write(self.path, save(state))
        self.saved = time.monotonic()

    def remove(self) -> None:
        """Delete the file, and what a kill in the middle of writing it left: the run is over."""
        if self.path is not None:
            for file in (self.path, *self.path.parent.glob(f".{self.path.name}.*.tmp")):
                file.unlink(missing_ok=True)
