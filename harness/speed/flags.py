"""Flags of `python -m harness.speed`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harness.core.devices import Precision
from harness.core.flags import DeviceFlags, OutputFlags, flag

HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Speed(DeviceFlags, OutputFlags):
    """Flags of the command."""

    box: ClassVar[str] = "measuring"
    what: tuple[Literal["condense", "train", "lockstep", "linear"], ...] = flag(
        ("condense", "train", "lockstep", "linear"),
        "An iteration; training on a memory; eight readings beside dm; cost against classes and images.",
        least=1,
    )
    methods: tuple[str, ...] = flag(("dm", "ours"), "Of condense and linear.", least=1)
    datasets: tuple[str, ...] = flag(
        ("cifar10", "cifar100"),
        "Shapes of images: digits, cifar10, cifar100 or tinyimagenet. Lockstep takes the first.",
        least=1,
    )
    ipc: tuple[int, ...] = flag((1, 10, 50), "Images per class of a memory. Lockstep takes 10, or the first.", least=1)
    network: str | None = flag(None, "A ConvNet-W{width}-D{depth}; default: width 128, depth by resolution.")
    real_batch: int = flag(256, "Real images per class and iteration.", least=1)
    precisions: tuple[Precision, ...] = flag((), "Arithmetic of this core; default: fp32 on a CPU, all on CUDA.")
    networks: int | None = flag(
        None,
        "Networks also trained side by side; default: 20 on CUDA, and on a CPU no such measurement.",
        least=1,
    )
    repeats: int = flag(3, "Turns of every competitor; two or more give intervals.", least=1)
    seconds: float = flag(10.0, "Length of a turn, if one step is not longer.", least=0.001, most=HOUR)
    out: Path = flag(Path("out/speed"), "Output folder.")
    dry_run: bool = flag(False, "Print what is left to do: measurements, and their time.")
