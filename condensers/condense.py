"""From a data set to memories: every condenser behind one function, matching recipes in lockstep."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from condensers.checkpoints import Checkpoint
from condensers.core.cost import cost_of, cost_of_selection, total
from condensers.core.gradients import GradientMatching
from condensers.core.identity import identity
from condensers.core.loop import Loop
from condensers.core.matching import Matching
from condensers.core.recipe import Condenser, Iterative, Schedule, Selection, in_lockstep, league_of
from condensers.core.sampling import check_enough
from condensers.core.unrolling import Unrolling
from condensers.device.images import LabelledImages
from condensers.memory import Memory, join

LOOPS: dict[str, type[Loop]] = {"matching": Matching, "gradients": GradientMatching, "unrolling": Unrolling}
Match = Callable[..., dict[str, Memory]]
Keep = Callable[[dict[str, Memory]], Iterable[str]]


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
    save: Callable[[dict[str, Memory]], object] = lambda made: None,
) -> dict[str, Memory]:
    """A memory of all groups for each condenser, by name.

    Each group is condensed from the images of its own classes alone: images of other groups cannot influence it.

    Args:
        condensers: with different names; recipes with the same schedule and networks share every draw and the real
            side's work.
        source: training images, on the device that does the work.
        groups: disjoint classes.
        schedule: network and, for recipes, iterations and real batch; a recipe scales its paper's schedule by it.
        seed: names every draw.
        checkpoints: folder where long runs save their state, to go on from after a kill.
        progress: called with 1 after every iteration of a lockstep run.
        match: function that condenses a group by recipes, `lockstep` if None; `condensers.sharding.match` shares the
            classes out to processes.
        save: called with the memories before their checkpoints are deleted.

    Raises:
        ValueError: a condenser's name or a class more than once, more images per class than a class has, a schedule
            that a condenser cannot run by, or a network that does not fit; all but the last before any work.
    """
    _check(condensers, source, groups, schedule)
    parts: dict[str, list[Memory]] = {condenser.name: [] for condenser in condensers}
    begun: list[Checkpoint] = []
    for group in groups:
        for selection in (condenser for condenser in condensers if not condenser.makes_pixels):
            parts[selection.name].append(_select(selection, source, group, schedule, seed))
        for recipes in runs(condensers, schedule, group.ipc):
            # Checkpoints stay until the last group is done: a run killed there must not repeat the groups before it.
            begun.append(Checkpoint(checkpoints))
            own = recipes[0].schedule(schedule, group.ipc)
            made = (match or lockstep)(recipes, source, group, own, seed, begun[-1], progress)
            for name, memory in made.items():
                parts[name].append(memory)
    memories = {one.name: _joined(parts[one.name], metadata(one, source, groups, schedule, seed)) for one in condensers}
    save(memories)
    for checkpoint in begun:
        checkpoint.remove()
    return memories


def _check(
    condensers: Sequence[Condenser], source: LabelledImages, groups: Sequence[Group], schedule: Schedule
) -> None:
    """Raise ValueError, before any work, for duplicates, too many images per class, or a schedule that cannot run."""
    _check_once("condenser", [condenser.name for condenser in condensers])
    _check_once("class", [label for group in groups for label in group.classes])
    for group in groups:
        _check_group(condensers, source, group)
        for condenser in condensers:
            condenser.check(condenser.schedule(schedule, group.ipc))


def _check_once(kind: str, given: Sequence[str | int]) -> None:
    for value, times in Counter(given).items():
        if times > 1:
            raise ValueError(f"the {kind} {value!r} is given {times} times: give it once")


def _check_group(condensers: Sequence[Condenser], source: LabelledImages, group: Group) -> None:
    """Raise ValueError before any work if a condenser wants more images than a class has."""
    sizes = [int((source.labels == label).sum()) for label in group.classes]
    check_enough(sizes, group.ipc, max((condenser.decoded for condenser in condensers), default=1))


def _joined(parts: Sequence[Memory], own: dict[str, object]) -> Memory:
    """The parts as one memory, with their total cost."""
    return join(parts, own | {"cost": total([part.metadata["cost"] for part in parts])})


def runs(condensers: Sequence[Condenser], schedule: Schedule, ipc: int) -> list[list[Iterative]]:
    """The recipes among the condensers, grouped by which of them can run in lockstep."""
    return in_lockstep([condenser for condenser in condensers if condenser.makes_pixels], schedule, ipc)


def config(condenser: Condenser, groups: Sequence[Group], schedule: Schedule, seed: int) -> dict[str, object]:
    """Everything that decides a condenser's result on a data set, as JSON values."""
    first, *others = (condenser.describe(condenser.schedule(schedule, group.ipc)) for group in groups)
    # Groups of other sizes may have schedules of their own, which depend on the flags that a user gave.
    apart = {"each group": [first, *others]} if any(one != first for one in others) else {}
    return {
        "condenser": condenser.name,
        **first,
        **apart,
        "groups": [[list(group.classes), group.ipc] for group in groups],
        "seed": seed,
    }


def metadata(
    condenser: Condenser, source: LabelledImages, groups: Sequence[Group], schedule: Schedule, seed: int
) -> dict[str, object]:
    """A memory's metadata, without the fields that name the data set, the versions and the machine."""
    own, stored = condenser.schedule(schedule, groups[0].ipc), min(group.ipc for group in groups)
    made = {"iterations": own.iterations, "decoding": identity(condenser.pixels)} if condenser.makes_pixels else {}
    return {
        "condenser": condenser.name,
        "config": config(condenser, groups, schedule, seed),
        "separable": condenser.separable(schedule.network),
        "league": league_of(condenser),
        "trained_on_real": condenser.trained_on_real,
        "iterations": 0,
        **made,
        "chunk": schedule.chunk,
        "seed": seed,
        "classes": sorted(label for group in groups for label in group.classes),
        "pool": f"{len(source)} training images",
        "mean": list(source.mean),
        "std": list(source.std),
        "stored_per_class": stored,
        "decoded_per_class": stored * condenser.decoded,
    }


def _select(selection: Selection, source: LabelledImages, group: Group, schedule: Schedule, seed: int) -> Memory:
    started = time.perf_counter()
    indices = selection.select(source, list(group.classes), group.ipc, schedule, seed).flatten()
    seconds, images = time.perf_counter() - started, sum(int((source.labels == label).sum()) for label in group.classes)
    took = cost_of_selection(selection, source, images, schedule.network, seconds)
    return Memory(source.normalise(source.images[indices]), source.labels[indices], {"cost": asdict(took)}, indices)


def lockstep(
    recipes: Sequence[Iterative],
    source: LabelledImages,
    group: Group,
    schedule: Schedule,
    seed: int,
    checkpoint: Checkpoint,
    progress: Callable[[int], object],
) -> dict[str, Memory]:
    """A memory of one group for each recipe, going on from what is in `checkpoint`. Raises ValueError as `condense`."""
    loop = LOOPS[recipes[0].loop](source, group.classes, group.ipc, recipes, schedule, seed)
    checkpoint.resume(loop, [config(recipe, [group], schedule, seed) for recipe in recipes])
    progress(loop.iteration)
    _advance(loop, schedule.iterations, checkpoint, progress)
    checkpoint.save(loop)
    return {recipe.name: _memory(loop, recipe, checkpoint.seconds) for recipe in recipes}


def race(
    rungs: Sequence[int],
    keep: Keep,
    recipes: Sequence[Iterative],
    source: LabelledImages,
    group: Group,
    schedule: Schedule,
    seed: int,
    checkpoint: Checkpoint,
    progress: Callable[[int], object],
) -> dict[str, Memory]:
    """`lockstep` that pauses at the iterations `rungs`, after each of which only recipes that `keep` names go on.

    A recipe that goes on to the end gets the same memory as in `lockstep`; one that is dropped gets its memory as it
    was then. No checkpoint is written, because it would not hold the results that `keep` has seen.

    Args:
        rungs: iterations to stop at, ascending, below the schedule's.
        keep: gets the memories of all recipes that are still running, with full metadata, including `iterations`;
            gives the names of those that go on.
        recipes: this argument and all after it are those of `lockstep`.

    Raises:
        ValueError: as `condense`.
    """
    begin = partial(LOOPS[recipes[0].loop], source, group.classes, group.ipc, schedule=schedule, seed=seed)
    loop, left_behind = begin(recipes), {}
    for rung in rungs:
        _advance(loop, rung, checkpoint, progress)
        standing = {recipe.name: _memory(loop, recipe, checkpoint.seconds) for recipe in recipes}
        about = {recipe.name: metadata(recipe, source, [group], schedule, seed) for recipe in recipes}
        kept = set(keep({name: _told(one, about[name] | {"iterations": rung}) for name, one in standing.items()}))
        left_behind |= {name: one for name, one in standing.items() if name not in kept}
        if not kept:
            return left_behind
        recipes, tensors = [recipe for recipe in recipes if recipe.name in kept], loop.state()
        loop = begin(recipes)
        loop.restore(tensors)
    _advance(loop, schedule.iterations, checkpoint, progress)
    return left_behind | {recipe.name: _memory(loop, recipe, checkpoint.seconds) for recipe in recipes}


def _told(memory: Memory, about: dict[str, object]) -> Memory:
    """The memory with `about` added to its metadata."""
    return replace(memory, metadata=about | memory.metadata)


def _advance(loop: Loop, iterations: int, checkpoint: Checkpoint, progress: Callable[[int], object]) -> None:
    """Step until `iterations` are done in all, with a checkpoint about once a minute."""
    while loop.iteration < iterations:
        loop.step()
        progress(1)
        checkpoint.save_if_due(loop)


def _memory(loop: Loop, recipe: Iterative, seconds: float) -> Memory:
    """What a recipe has made so far, with its cost."""
    return Memory(*loop.memory(recipe.name), {"cost": asdict(cost_of(loop, recipe, seconds))})
