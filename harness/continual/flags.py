"""Flags of `python -m harness.continual`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.flags import Common


@dataclass(frozen=True, kw_only=True)
class Continual(Common):
    """Flags of the command; None stands for the protocol's default."""

    steps: int = 5
    """Steps of the stream; must divide the number of classes."""
    condensers: tuple[str, ...] = ("random", "herding", "dm", "ours")
    """Condensers by name; recipes take +TERM[:WEIGHT]."""
    memory_per_class: int | None = None
    """Stored images per class (paper: 20)."""
    memory_size: int | None = None
    """Instead: stored images in all. Every class keeps its first floor(size / classes seen) images."""
    orders: int | None = None
    """Class orders 0, 1, ..., each with a memory of its own (paper: 5). More orders narrow the intervals."""
    networks: int | None = None
    """Networks trained on every memory and step (paper: 3)."""
    memory: tuple[Path, ...] = ()
    """Memory files to stream instead of condensing."""
    upper_bound: bool = False
    """Also train on all real data of the classes seen."""
    iterations: int | None = None
    """Iterations of matching condensers."""
    real_batch: int | None = None
    """Real images per class and iteration."""
    epochs: int | None = None
    """Epochs of training on a memory."""
    store: Literal["float32", "float16", "uint8"] = "float32"
    """How synthetic pixels are kept, and scored; memories of real images keep indices."""
    workers: int = 1
    """Processes on this machine that share the cells."""
    storage: str | None = None
    """Database that the workers of all machines share, e.g. postgresql+psycopg://USER@HOST/NAME; also share --out."""
    out: Path | None = None
    """Output folder; default: out/continual/DATASET-STEPS."""
    dry_run: bool = False
    """Print the plan: cells, images, FLOPs, memory and time on this device."""
