"""A run for `test_condense` to kill: `python long_run.py FOLDER THREADS`, from the root of the project.

It saves its state after every iteration, and then prints how many iterations it has just done.
"""

import sys
from pathlib import Path

import torch

from condensers import checkpoints, condense
from condensers.condense import Group
from condensers.core.recipe import Schedule
from condensers.registry import condenser
from scenarios.datasets import load

SCHEDULE = Schedule(iterations=100, real_batch=8, network="ConvNet-W4-D2", augmentation="crop_scale", chunk=40)
GROUPS = (Group((4, 1, 7), 3), Group((0, 9), 2))
CONDENSERS = tuple(condenser(name) for name in ("ours", "dm+ridge", "random"))
SEED = 5


def main(folder, threads):
    torch.set_num_threads(threads)
    checkpoints.CHECKPOINT_SECONDS = 0
    source = load("digits", Path("unused")).train
    condense.condense(CONDENSERS, source, GROUPS, SCHEDULE, SEED, folder, lambda done: print(done, flush=True))
    print("finished", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
