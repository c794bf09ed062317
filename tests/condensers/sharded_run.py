"""Condensations for `test_sharding`, shared out: `torchrun ... sharded_run.py FOLDER DEVICE`, from the root.

Rank 0 saves every memory; each rank leaves a file `rank` with the iterations that it did in each case, and the names
of its process's threads after the end.
"""

import json
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from condensers import sharding
from condensers.condense import Group, condense
from condensers.core.recipe import Schedule
from condensers.device.images import LabelledImages
from condensers.memory import save_memory
from condensers.registry import condenser

CONDENSERS = tuple(condenser(name) for name in ("ours", "dm", "herding"))
ALL = tuple(range(10))
ITERATIONS = 4
SEED = 3


@dataclass(frozen=True)
class Case:
    """What is condensed, and the classes that two ranks should get of each group."""

    ipc: int
    chunk: int
    shares: tuple[int, int]
    groups: tuple[tuple[int, ...], ...] = (ALL,)
    real_batch: int = 8
    source: str = "grey"

    def condense(self, source, progress=lambda iterations: None, match=None):
        network = "ConvNet-W16-D2" if self.source == "colours" else "ConvNet-W4-D2"
        schedule = Schedule(ITERATIONS, self.real_batch, network, "crop_scale", self.chunk)
        groups = [Group(classes, self.ipc) for classes in self.groups]
        return condense(CONDENSERS, source, groups, schedule, SEED, None, progress, match)


CASES = {
    "one image": Case(ipc=1, chunk=8, shares=(8, 2)),
    "three images": Case(ipc=3, chunk=8, shares=(4, 6)),
    "ten images": Case(ipc=10, chunk=8, shares=(5, 5)),
    "large chunk": Case(ipc=10, chunk=80, shares=(8, 2), real_batch=40),
    "uneven": Case(ipc=3, chunk=8, shares=(4, 3), groups=((6, 2, 9, 0, 3, 8, 5),)),
    "groups": Case(ipc=2, chunk=8, shares=(4, 1), groups=((4, 1, 7, 2, 5), (0, 9, 3, 8, 6))),
    "idle": Case(ipc=3, chunk=2000, shares=(10, 0)),
    # A batch of one colour image takes another way through torch's convolution, with other bits.
    "no class alone": Case(ipc=1, chunk=16, shares=(3, 0), groups=((0, 1, 2),), source="colours"),
}


def random_images(channels, side, sizes):
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor([*sizes]))
    shape = (len(labels), channels, side, side)
    images = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return LabelledImages(images, labels, (0.5,) * channels, (0.2,) * channels)


def sources(device):
    found = {"grey": random_images(1, 8, range(50, 60)), "colours": random_images(3, 16, [20] * 3)}
    return {name: source.to(device) for name, source in found.items()}


def main(folder, device):
    done = dict.fromkeys(CASES, 0)
    with sharding.joined() as ranks:
        found = sources(f"cuda:{ranks.local}" if device == "cuda" else device)
        for name, case in CASES.items():
            numbers = []
            made = case.condense(found[case.source], numbers.append, partial(sharding.match, ranks))
            done[name] = sum(numbers)
            for memory in made.values() if ranks.leads else ():
                save_memory(memory, folder / f"{name} {memory.metadata['condenser']}.safetensors")
        import torch._dynamo  # noqa: F401  # as optimisers and compilers may do in the middle of a run
    (folder / str(ranks.rank)).write_text(json.dumps(done))
    names = sorted(path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm"))
    (folder / f"threads {ranks.rank}").write_text(json.dumps(names))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
