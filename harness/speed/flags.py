"""Flags of `python -m harness.speed`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from harness.core.devices import Precision


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
    plugin: tuple[str, ...] = ()
    """Files (.py) or modules with condensers, terms, networks, search spaces or data sets of your own."""
    dry_run: bool = False
    """Print the plan: measurements, and their time."""
    list_names: Annotated[bool, tyro.conf.arg(name="list")] = False
    """Print condensers, data sets, networks and protocols."""
