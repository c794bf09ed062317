"""Flags of `python -m harness.evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tyro

from harness.core.flags import MOST_REPLICATES, Common, ScoredFilesFlags, TrainingFlags, flag


@dataclass(frozen=True, kw_only=True)
class Evaluate(ScoredFilesFlags, TrainingFlags, Common):
    """Flags of the command; None stands for the protocol's default."""

    box: ClassVar[str] = "scoring"
    memories: tyro.conf.Positional[tuple[Path, ...]] = flag(
        (), "Memory files: .safetensors of this project, or published .pt."
    )
    dataset: str | None = flag(
        None, "Data set by name (--list), or folder:PATH; default: the one that the first memory was made from."
    )
    networks: int = flag(5, "Networks trained on every memory.", least=1, most=MOST_REPLICATES)
    validation: int = flag(0, "Score on that many held-out training images per class instead of the test set.", least=0)
    out: Path = flag(Path("out/evaluate"), "Output folder.")
    dry_run: bool = flag(False, "Print what is left to do: memories, images, FLOPs, memory and time on this device.")
