"""Flags of `python -m harness.analyse`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tyro

from harness.core.flags import MOST_REPLICATES, Common, PublishedFlags, TrainingFlags, flag


@dataclass(frozen=True, kw_only=True)
class Analyse(PublishedFlags, TrainingFlags, Common):
    """Flags of the command; None stands for the protocol's default."""

    box: ClassVar[str] = "analysing"
    memories: tyro.conf.Positional[tuple[Path, ...]] = flag(
        (), "Memory files: .safetensors of this project, or published .pt."
    )
    dataset: str | None = flag(
        None, "Data set by name (--list), or folder:PATH; default: the one that the first memory was made from."
    )
    networks: int = flag(
        5,
        "Networks of random weights that see a memory, and networks trained for a drift.",
        least=1,
        most=MOST_REPLICATES,
    )
    scores: tuple[Path, ...] = flag((), "CSVs of accuracies of these memories, as evaluate and table write them.")
    drift_from: Path | None = flag(None, "Memory whose style is moved to that of each other, while networks train.")
    out: Path = flag(Path("out/analyse"), "Output folder.")
