"""Flags of `python -m harness.ablate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harness.core.flags import MOST_REPLICATES, Common, CondensingFlags, SharingFlags, TrainingFlags, by_protocol, flag


@dataclass(frozen=True, kw_only=True)
class SearchFlags:
    """Trials instead of grids."""

    box: ClassVar[str] = "search"
    search: tuple[Literal["weights", "readings"], ...] = flag(
        (), "Search over the weights of a recipe's terms, over the readings of them that methods declare, or both."
    )
    condenser: str = flag("ours", "Recipe to start from: its terms that can be written behind a + are searched.")
    trials: int = flag(40, "Trials of the search; more of them go on with it.", least=1, most=MOST_REPLICATES)
    batch: int = flag(8, "Trials that are suggested together and condensed in lockstep.", least=1, most=MOST_REPLICATES)


@dataclass(frozen=True, kw_only=True)
class Ablate(SearchFlags, CondensingFlags, TrainingFlags, SharingFlags, Common):
    """Flags of the command; None, or nothing, stands for what the protocol says."""

    box: ClassVar[str] = "grids"
    grid: tuple[str, ...] = flag((), "Grids by name (--list); default: components.")
    ipc: int | None = flag(None, f"Stored images per class; {by_protocol('memory_per_class')}.", least=1, marks=True)
    memories: int = flag(
        3, "Memories of every variant, each with draws of its own; a search has one.", least=1, most=MOST_REPLICATES
    )
    networks: int = flag(5, "Networks trained on every memory.", least=1, most=MOST_REPLICATES)
    validation: int | None = flag(
        None, "Held-out training images per class to score on; default: a fifth of the smallest class.", least=1
    )
    test: bool = flag(False, "Score on the test set instead. Then nothing may be chosen by the numbers.")
    out: Path = flag(Path("out/ablate"), "Output folder.")
    dry_run: bool = flag(False, "Print what is left to do: cells, images, FLOPs, memory and time on this device.")
