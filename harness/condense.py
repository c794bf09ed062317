"""Make memories: condense a data set to a few images per class, one file and one picture per condenser.

    python -m harness.condense --condensers dm ours                      digits: seconds on a CPU
    python -m harness.condense --dataset cifar10 --condensers ours --ipc 10 --protocol paper
    torchrun --nproc-per-node 2 -m harness.condense --dataset cifar100 --condensers dm     a process for each GPU

Recipes named together run in lockstep: they share every draw and the real images' work. A run that is killed goes on
from its last checkpoint, at most a minute old.

Under torchrun each process condenses some of the classes, on a GPU of its own; the draws are those of one process. On
a CPU the bits are too, given as many threads (torchrun sets OMP_NUM_THREADS to 1): classes are then shared out in whole
chunks, and a smaller --chunk may let more processes work. A killed run goes on with as many processes as before.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.command import command
from harness.flags import Common


@dataclass(frozen=True, kw_only=True)
class Condense(Common):
    """Flags of the command; None stands for the protocol's default."""

    condensers: tuple[str, ...] = ("ours",)
    """Condensers by name; recipes take +TERM[:WEIGHT]."""
    ipc: int | None = None
    """Stored images per class; default: the protocol's memory per class."""
    replicate: int = 0
    """Memory replicate: another number, another draw of everything."""
    steps: int = 1
    """Condense the classes of each step of a stream apart, as coupled recipes need it."""
    order: int = 0
    """Class order of these steps."""
    validation: int = 0
    """Training images per class to hold out, so that something can be chosen on them."""
    store: Literal["float32", "float16", "uint8", "indices"] = "float32"
    """How pixels are kept; indices for real images only."""
    iterations: int | None = None
    """Iterations of matching condensers."""
    real_batch: int | None = None
    """Real images per class and iteration."""
    out: Path = Path("out/memories")
    """Output folder."""


def main(config: Condense) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.making import make

    return make(config)


if __name__ == "__main__":
    command(Condense, main, __doc__)
