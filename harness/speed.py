"""Measure this machine: plain loops as the field publishes them against this core, taking turns in one run.

    python -m harness.speed --methods dm --datasets cifar10 --ipc 10 --what condense      minutes on two CPU cores
    python -m harness.speed --datasets digits --network ConvNet-W8-D2 --seconds 0.1       a minute, to see it work
    python -m harness.speed                                                               everything

Images are random, no data set is read. Writes speed.csv (a row for each competitor and turn) and speed.png into the
output folder. The same command goes on where it stopped, and measures anew on another machine or at other code.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from harness.command import command
from harness.devices import Precision


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Flags of the command."""

    what: tuple[Literal["condense", "train", "lockstep", "linear"], ...] = ("condense", "train", "lockstep", "linear")
    """An iteration; training on a memory; eight readings beside dm; cost against classes and images."""
    methods: tuple[str, ...] = ("dm", "ours")
    """Of condense and linear."""
    datasets: tuple[str, ...] = ("cifar10", "cifar100")
    """Shapes of images: digits, cifar10, cifar100 or tinyimagenet. Lockstep takes the first."""
    ipc: tuple[int, ...] = (1, 10, 50)
    """Images per class of a memory. Lockstep takes 10, or the first."""
    network: str | None = None
    """A ConvNet-W{width}-D{depth}; default: width 128, depth by resolution."""
    real_batch: int = 256
    """Real images per class and iteration."""
    precisions: tuple[Precision, ...] = ()
    """Arithmetic of this core; default: fp32 on a CPU, all on CUDA."""
    networks: int | None = None
    """Networks also trained side by side; default: 20 on CUDA, and on a CPU no such measurement."""
    repeats: int = 3
    """Turns of every competitor; two or more give intervals."""
    seconds: float = 10.0
    """Length of a turn, if one step is not longer."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    chunk: int | None = None
    """Images that go through a network of this core at once. Default: as the other commands choose it."""
    out: Path = Path("out/speed")
    """Output folder."""
    list_names: Annotated[bool, tyro.conf.arg(name="list")] = False
    """Print condensers, data sets, networks and protocols."""


def main(config: Speed) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.contest import run

    return run(config)


if __name__ == "__main__":
    command(Speed, main, __doc__)
