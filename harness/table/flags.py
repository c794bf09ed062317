"""Flags of `python -m harness.table`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harness.core.flags import (
    COMPARED,
    MOST_REPLICATES,
    Common,
    CondensingFlags,
    SharingFlags,
    TrainingFlags,
    by_protocol,
    flag,
)


@dataclass(frozen=True, kw_only=True)
class Table(CondensingFlags, TrainingFlags, SharingFlags, Common):
    """Flags of the command; None, or nothing, stands for what --table or the protocol says."""

    box: ClassVar[str] = "grid"
    table: Literal[1, 2, 3, 4, 5] | None = flag(
        None, "The grid of a table of the DDM paper; further flags replace parts of it."
    )
    dataset: tuple[str, ...] = flag((), "Data sets by name (--list), or folder:PATH; default: digits.")
    condensers: tuple[str, ...] = flag(
        (), f"Condensers by name; recipes take +TERM[:WEIGHT]. Default: {' '.join(COMPARED)}."
    )
    ipc: tuple[int, ...] = flag((), f"Stored images per class; {by_protocol('memory_per_class')}.")
    network: tuple[str, ...] = flag((), "Networks to match on; default: the protocol's ConvNet for that.")
    iterations: tuple[int, ...] = flag(
        (),
        f"Iterations of matching condensers; {by_protocol('iterations')}. Several: each memory at each length, and a "
        "line through them in the figure.",
        least=0,
        marks=True,
    )
    test_networks: tuple[str, ...] = flag(
        (), "Networks to train on the memories; default: those of --network, or the protocol's ConvNet."
    )
    memories: int = flag(3, "Memories of every point, each with draws of its own.", least=1, most=MOST_REPLICATES)
    networks: int = flag(5, "Networks trained on every memory.", least=1, most=MOST_REPLICATES)
    validation: int = flag(0, "Score on that many held-out training images per class instead of the test set.", least=0)
    out: Path = flag(Path("out/table"), "Output folder.")
    dry_run: bool = flag(False, "Print what is left to do: cells, images, FLOPs, memory and time on this device.")
