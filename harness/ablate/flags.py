"""Flags of `python -m harness.ablate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from harness.core.flags import Common, CondensingFlags, SharingFlags, TrainingFlags, by_protocol, flag


@dataclass(frozen=True, kw_only=True)
class Ablate(CondensingFlags, TrainingFlags, SharingFlags, Common):
    """Flags of the command; None, or nothing, stands for what the protocol says."""

    box: ClassVar[str] = "grids"
    grid: tuple[str, ...] = flag((), "Grids by name (--list); default: components.")
    ipc: int | None = flag(None, f"Stored images per class; {by_protocol('memory_per_class')}.", least=1, marks=True)
    memories: int = flag(3, "Memories of every variant, each with draws of its own.", least=1)
    networks: int = flag(5, "Networks trained on every memory.", least=1)
    validation: int | None = flag(
        None, "Held-out training images per class to score on; default: a fifth of the smallest class.", least=1
    )
    test: bool = flag(False, "Score on the test set instead. Then nothing may be chosen by the numbers.")
    out: Path = flag(Path("out/ablate"), "Output folder.")
    dry_run: bool = flag(False, "Print what is left to do: cells, images, FLOPs, memory and time on this device.")
