"""Make memories: condense a data set to a few images per class, one file and one picture per condenser.

    python -m harness.condense --condensers dm ours                      digits: seconds on a CPU
    python -m harness.condense --dataset cifar10 --condensers ours --ipc 10 --protocol paper
    torchrun --nproc-per-node 2 -m harness.condense --dataset cifar100 --condensers dm     a process for each GPU

Recipes named together run in lockstep: they share every draw and the real images' work. A run that is killed goes on
from its last checkpoint, at most a minute old.

Under torchrun each process condenses some of the classes, on a GPU of its own, with the draws that one process would
make. On a CPU the memory is the same to the bit as that of one process with as many threads (torchrun sets
OMP_NUM_THREADS to 1), because classes are shared out in whole chunks; a smaller --chunk may let more processes work. A
killed run goes on from its checkpoints only with as many processes as before.
"""

from harness.condense.flags import Condense
from harness.core.command import command


def main(config: Condense) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.condense.making import make

    return make(config)


if __name__ == "__main__":
    command(Condense, main, __doc__)
