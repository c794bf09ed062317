"""`python -m harness.condense` for `test_torchrun` to kill: `torchrun ... told_condense.py FLAGS`, from the root.

It saves its state after every iteration, and says which process each rank is and from where it goes on.
"""

import os
import runpy
import sys

from condensers import checkpoints, condense


class Told(checkpoints.Checkpoint):
    def resume(self, matching, configs):
        super().resume(matching, configs)
        # One write: lines of several processes share a pipe.
        sys.stdout.write(f"rank {os.environ['RANK']} is {os.getpid()} at {matching.iteration}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    checkpoints.CHECKPOINT_SECONDS = 0
    condense.Checkpoint = Told
    runpy.run_module("harness.condense", run_name="__main__")
