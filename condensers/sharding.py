"""One condensation over several processes: each *rank* that torchrun starts condenses some of the classes.

Draws are named by class and a separable recipe looks at one class at a time, so ranks exchange nothing while they
condense. Each keeps its own checkpoint; at the end every rank gets the pixels of all classes.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from math import lcm
from typing import TypeVar

import torch
from torch import distributed as dist

from condensers.checkpoints import Checkpoint
from condensers.condense import Group, lockstep
from condensers.core.cost import total
from condensers.core.recipe import Condenser, Iterative, Schedule
from condensers.core.sampling import check_enough
from condensers.device.images import LabelledImages
from condensers.memory import Memory
from search_spaces.registry import mixes_samples

# Ranks wait up to this long for a rank that resumed from an older checkpoint. If a rank dies, torchrun ends the others.
PATIENCE = timedelta(days=30)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Ranks:
    """The processes of one run, and which of them this is.

    Attributes:
        rank: number of this process among all; 0 writes and prints.
        count: processes in all.
        local: number of this process on its machine, and of its GPU.
        store: key-value store that all processes share; None for a single process.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    store: dist.Store | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def agree(self, value: Value) -> Value:
        """Rank 0's value, on every rank: other ranks may see other files or other free memory."""
        values = [value]
        if self.count > 1:
            dist.broadcast_object_list(values, src=0)
        return values[0]

    def comes_first(self, event: str) -> bool:
        """Whether this process is the first of all to ask this about `event`."""
        return self.store is None or self.store.add(event, 1) == 1


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """The ranks that torchrun started, connected until all have come to the end; otherwise this process alone."""
    if not dist.is_torchelastic_launched():
        yield ALONE
        return
    # Some of torch's modules keep whatever process group there is when they are first imported, and a compiler or an
    # optimiser may import them in the middle of a run. The group would then outlive its end below, and its threads
    # could abort Python's exit. So they are imported while there is none.
    import torch.distributed.nn

    store, rank, count = next(dist.rendezvous("env://", timeout=PATIENCE))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    try:
        yield Ranks(rank, count, int(os.environ["LOCAL_RANK"]), store)
        # All wait here, because the first to leave would cut connections that others still read from. After an error no
        # rank gets here.
        dist.barrier()
    finally:
        dist.destroy_process_group()


def check_separable(condensers: Sequence[Condenser], schedule: Schedule) -> None:
    """Raise ValueError, with the reason, for a recipe whose classes cannot be condensed separately."""
    for recipe in (condenser for condenser in condensers if condenser.makes_pixels):
        if not recipe.separable(schedule.network):
            mixes = mixes_samples(schedule.network)
            trains = recipe.networks.trains_on != "nothing"
            why = "its networks are trained on all of them" if trains else "it couples them"
            why = f"{schedule.network} normalises over the images of all" if mixes else why
            raise ValueError(f"{recipe.name} cannot share its classes out to ranks, for {why}: run it without torchrun")


def cut(
    source: LabelledImages, group: Group, schedule: Schedule, ranks: int, recipes: Sequence[Iterative]
) -> list[tuple[int, ...]]:
    """The classes of each rank, in the group's order; the last ranks get none if there are too few chunks.

    `schedule` is the one that `recipes` run by in lockstep, not the protocol's.

    On a CPU whole chunks of classes go to a rank: rounding depends on which images go through a network together, so
    any number of ranks gives the same bits. On CUDA rounding depends on more than that anyway, so classes are shared
    out one by one.

    Raises:
        ValueError: more images per class than a class has.
    """
    counts = source.labels.bincount(minlength=max(group.classes) + 1)
    check_enough(counts[list(group.classes)].tolist(), group.ipc)
    batch = min(schedule.real_batch, int(counts[counts > 0].min()))
    on_cpu = source.images.device.type == "cpu"
    at_once = (batch, *(recipe.shown(schedule, group.ipc) for recipe in recipes))
    unit = lcm(*(max(1, schedule.chunk // images) for images in at_once)) if on_cpu else 1
    units = -(-len(group.classes) // unit)
    busy = min(ranks, units)
    bounds = [rank * units // busy * unit for rank in range(busy)] + [len(group.classes)]
    return [group.classes[start:end] for start, end in pairwise(bounds)] + [()] * (ranks - busy)


def match(
    ranks: Ranks,
    recipes: Sequence[Iterative],
    source: LabelledImages,
    group: Group,
    schedule: Schedule,
    seed: int,
    checkpoint: Checkpoint,
    progress: Callable[[int], object],
) -> dict[str, Memory]:
    """`lockstep` of a group shared out to ranks: every rank calls it, and gets the whole memories.

    Raises:
        ValueError: as `check_separable`, `cut` and `lockstep`.
    """
    check_separable(recipes, schedule)
    shares = cut(source, group, schedule, ranks.count, recipes)
    mine = Group(shares[ranks.rank], group.ipc)
    made = lockstep(recipes, source, mine, schedule, seed, checkpoint, progress) if mine.classes else {}
    # Ranks finish at different times. They wait here, on the host, so that NCCL starts when all of them are ready.
    dist.barrier()
    return {recipe.name: _gather(made.get(recipe.name), source, group, shares, ranks) for recipe in recipes}


def _gather(
    mine: Memory | None, source: LabelledImages, group: Group, shares: list[tuple[int, ...]], ranks: Ranks
) -> Memory:
    device = source.images.device
    images = torch.empty(len(group.classes) * group.ipc, *source.shape, device=device)
    parts = images.split([len(share) * group.ipc for share in shares])
    if mine is not None:
        parts[ranks.rank].copy_(mine.images)
    for root, part in enumerate(parts):
        if len(part):
            dist.broadcast(part, src=root)
    costs: list[dict[str, float] | None] = [None] * ranks.count
    dist.all_gather_object(costs, mine and mine.metadata["cost"])
    cost = total([cost for cost in costs if cost], at_once=True)
    return Memory(images, torch.tensor(group.classes, device=device).repeat_interleave(group.ipc), {"cost": cost})
