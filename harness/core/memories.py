"""The memory files of an experiment: planned by config, made once, checked whenever they are read."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from condensers import registry, sharding
from condensers.condense import Group, condense, config, runs
from condensers.core.cost import TRAINING
from condensers.core.recipe import Condenser, Schedule
from condensers.device.files import LONGEST_NAME
from condensers.device.images import LabelledImages
from condensers.memory import Memory, load_memory, read_metadata, save_memory
from condensers.sharding import ALONE, Ranks
from harness.core.devices import name_of
from harness.core.progress import bar
from harness.core.records import provenance
from harness.core.seeds import config_key
from harness.core.work import NONE, Work
from scenarios.datasets import Dataset
from search_spaces.forward import forward_pass

Claim = Callable[[str], AbstractContextManager[bool]]
Steps = Callable[[int], object]  # called with the number of iterations done since the last call
KEY = 8  # digits of a memory's key in the name of its file


@dataclass(frozen=True)
class Plan:
    """The memories of one class order: by which condensers, of which images, and where they are kept.

    Attributes:
        names: condensers; those with the same groups run in lockstep.
        dataset: on the CPU; the work is done on a copy on `device`.
        groups: classes of each step with their images per class.
        store: how synthetic pixels are kept.
        store_selections: how real images are kept.
        label: what the files' names say beside condenser and key.
    """

    names: tuple[str, ...]
    dataset: Dataset
    groups: tuple[Group, ...]
    schedule: Schedule
    seed: int
    device: torch.device
    precision: str
    store: str
    store_selections: str
    folder: Path
    label: str

    def __post_init__(self) -> None:
        """Raise ValueError for a name too long for a file: saving the memory would fail, after hours of work."""
        for name in self.names:
            size, own = len(self._file(name, "0" * KEY).encode()), len(name.encode())
            if size > LONGEST_NAME:
                raise ValueError(
                    f"the name {name[:20]!a} ... has {own} bytes, too many for that of a memory file: give one of at "
                    f"most {own - size + LONGEST_NAME}, as a plugin can name a recipe"
                )

    def groups_of(self, name: str) -> tuple[Group, ...]:
        """One group of all classes if its slices by step equal what condensing each step makes, else the steps."""
        sizes = {group.ipc for group in self.groups}
        if len(sizes) > 1 or not registry.condenser(name).separable(self.schedule.network):
            return self.groups
        return (Group(tuple(sorted(label for group in self.groups for label in group.classes)), sizes.pop()),)

    def config(self, name: str) -> dict[str, object]:
        """Everything that decides the condenser's memory, as JSON values."""
        own = config(registry.condenser(name), self.groups_of(name), self.schedule, self.seed)
        return own | {"dataset": self.dataset.checksum, "precision": self.precision, "store": self.store_of(name)}

    def store_of(self, name: str) -> str:
        """How the pixels of the condenser's memory are kept."""
        return self.store if registry.condenser(name).makes_pixels else self.store_selections

    def key(self, name: str) -> str:
        """Hash of `config`."""
        return config_key(self.config(name))

    def path(self, name: str) -> Path:
        """Where the memory is kept."""
        return self.folder / self._file(name, self.key(name)[:KEY])

    def _file(self, name: str, key: str) -> str:
        return f"{name.replace(':', '_')}-{self.label}-{key}.safetensors"

    def metadata(self, name: str) -> dict[str, Any]:
        """What the finished memory says of itself.

        Raises:
            ValueError: the file is unreadable, or is not the planned memory: someone has copied another over it.
        """
        path = self.path(name)
        said = read_metadata(path)
        if _key_of(said) != self.key(name):
            found = f"one of {said.get('condenser')} on {said.get('dataset')}"
            raise ValueError(f"{path} is not the memory that its name says, but {found}")
        return said

    def load(self, name: str) -> Memory:
        """The finished memory, as stored. Raises ValueError as `metadata`, with what to do."""
        try:
            self.metadata(name)
            return load_memory(self.path(name), self.dataset.train)
        except ValueError as error:  # unlike a user's own file it can be made again
            raise ValueError(f"{error}; delete it to make it anew") from error

    def save(self, name: str, memory: Memory, about: Mapping[str, object]) -> None:
        """Write a memory, with its data set, where it was made, and what is said `about` it in its metadata.

        Raises:
            ValueError: a folder that cannot be written.
        """
        source = {"dataset": self.dataset.name, "dataset_checksum": self.dataset.checksum}
        source |= {"class_names": list(self.dataset.class_names)}
        origin = provenance(name_of(self.device), self.precision)
        whole = replace(memory, metadata={**memory.metadata, **source, **origin, **about})
        save_memory(whole, self.path(name), self.store_of(name))

    def missing(self) -> list[str]:
        """Condensers whose memory is not there yet."""
        return [name for name in self.names if not self.path(name).exists()]

    def work(self) -> Work:
        """The work of making the missing memories."""
        return sum((work for _, work in _parts(self)), NONE)

    def shared(self) -> dict[str, Work]:
        """What a cell shares with others that need memories of the plan, for `Cell.shared`."""
        return {", ".join(str(self.path(name)) for name in self.names): self.work()}

    def lockstep(self, names: Sequence[str]) -> list[tuple[tuple[Group, ...], list[str]]]:
        """Groups, and the condensers that use them and so can share the work on real images."""
        ordered = sorted(names, key=lambda name: str(self.groups_of(name)))
        return [(groups, list(names)) for groups, names in groupby(ordered, key=self.groups_of)]

    def make(self, claim: Claim, about: Mapping[str, object], ranks: Ranks = ALONE) -> bool:
        """Make every missing memory, with a bar. False if another live process is making them.

        Args:
            claim: `Records.claim`, or anything like it.
            about: further metadata, such as the replicate.
            ranks: processes that all call this and share the work; the first alone writes.

        Raises:
            ValueError: more images per class than a class has, pixels that diverged, or a folder that cannot be
                written.
        """
        missing = ranks.agree(self.missing())
        if not missing:
            return True
        with ExitStack() as claims:
            # A claim a memory, because commands of other condensers may share the folder; in an order that all keep to.
            if not all(claims.enter_context(claim(f"memory-{key}")) for key in sorted(map(self.key, missing))):
                return False
            source = self.dataset.train.to(self.device)
            with _progress(self) if ranks.leads else nullcontext(lambda steps: None) as advance:
                for groups, names in self.lockstep(ranks.agree(self.missing())):
                    _make(self, source, groups, names, advance, about, ranks)
        return True


def _key_of(metadata: Mapping[str, Any]) -> str:
    """The `Plan.key` that a memory was made under, by its metadata; empty if no plan can have made it."""
    own = {"dataset": "dataset_checksum", "precision": "precision", "store": "store"}
    made = metadata.get("config", {}) | {name: metadata.get(field) for name, field in own.items()}
    with suppress(TypeError):  # for what no plan holds, such as infinity, which JSON can spell 1e999
        return config_key(made)
    return ""


@contextmanager
def _progress(plan: Plan) -> Iterator[Steps]:
    """A bar over what is still to do.

    It counts FLOP, not iterations: an iteration covers all classes, or, for a coupled recipe in a stream, only one
    step's.
    """
    parts = _parts(plan)
    ends = np.cumsum([0, *(steps for steps, _ in parts)])
    gflop = np.cumsum([0.0, *(work.gflop for _, work in parts)])
    done = 0

    def advance(steps: int) -> None:
        nonlocal done
        done += steps
        shown.stand(float(np.interp(done, ends, gflop)), f"{done} of {ends[-1]} it")

    with bar(gflop[-1], f"{plan.label}: condensing", f"0 of {ends[-1]} it", worth=gflop[-1], counts=False) as shown:
        yield advance


def _parts(plan: Plan) -> list[tuple[int, Work]]:
    """What is still to do, one after another: iterations and work of each lockstep run.

    A selection of real images is a part with 0 iterations.
    """
    parts = []
    for groups, names in plan.lockstep(plan.missing()):
        condensers = [registry.condenser(name) for name in names]
        parts += [(0, _selecting(plan, one)) for one in condensers if not one.makes_pixels]
        parts += [_matching(plan, group, run) for group in groups for run in runs(condensers, plan.schedule, group.ipc)]
    return parts


def _selecting(plan: Plan, selection: Condenser) -> Work:
    """The work of choosing real images."""
    seen, trained = (round(len(plan.dataset.train) * times) for times in (selection.passes, selection.epochs))
    return Work.of(_flops(plan), seen, trained)


def _matching(plan: Plan, group: Group, recipes: Sequence[Condenser]) -> tuple[int, Work]:
    """Iterations and work of a run of recipes in lockstep on the classes of a group."""
    own, first = recipes[0].schedule(plan.schedule, group.ipc), recipes[0]
    smallest, images = int(plan.dataset.train.labels.bincount().min()), group.ipc * len(group.classes)
    forward = own.iterations * len(group.classes) * min(own.real_batch, smallest) * first.real_passes
    # A recipe that works more per image than one training pass counts as proportionally more images.
    often = sum(recipe.decoded * max(1, recipe.synthetic_passes / TRAINING) for recipe in recipes)
    hidden = first.networks.hidden(own.iterations, group.ipc, images * first.decoded, len(plan.dataset.train))
    trained = own.iterations * images * often + hidden
    return own.iterations, Work.of(_flops(plan), round(forward), round(trained))


def _flops(plan: Plan) -> int:
    return forward_pass(plan.schedule.network, plan.dataset.classes, plan.dataset.shape).flops


def _make(
    plan: Plan,
    source: LabelledImages,
    groups: Sequence[Group],
    names: Sequence[str],
    advance: Steps,
    about: Mapping[str, object],
    ranks: Ranks,
) -> None:
    condensers = [registry.condenser(name) for name in names]
    called = {condenser.name: name for name, condenser in zip(names, condensers, strict=True)}
    # Only rank 0 makes selections; sharing them among ranks would save no time.
    shared = [condenser for condenser in condensers if ranks.leads or condenser.makes_pixels]
    checkpoints = plan.folder / "checkpoints" / plan.precision / plan.dataset.checksum
    match = partial(sharding.match, ranks) if ranks.count > 1 else None

    def keep(made: dict[str, Memory]) -> None:
        for name in _finite(made) if ranks.leads else ():
            plan.save(called[name], made[name], about)
        ranks.agree(None)  # the other ranks keep their checkpoints until rank 0 has saved

    made = condense(shared, source, groups, plan.schedule, plan.seed, checkpoints, advance, match, keep)
    if diverged := ", ".join(sorted(called[name] for name in made.keys() - set(_finite(made)))):
        raise ValueError(f"{diverged} diverged to NaN or infinite pixels: leave it out, or lower its recipe's rate")


def _finite(made: Mapping[str, Memory]) -> list[str]:
    return [name for name, memory in made.items() if memory.images.isfinite().all()]
