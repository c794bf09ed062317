"""Flags of `python -m harness.continual`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harness.core.flags import (
    COMPARED,
    MOST_REPLICATES,
    Common,
    CondensingFlags,
    ScoredFilesFlags,
    SharingFlags,
    TrainingFlags,
    by_protocol,
    flag,
)

Strategy = Literal["retrain", "gdumb", "replay", "naive"]


@dataclass(frozen=True, kw_only=True)
class Continual(CondensingFlags, ScoredFilesFlags, TrainingFlags, SharingFlags, Common):
    """Flags of the command; None stands for the protocol's default."""

    box: ClassVar[str] = "stream"
    steps: int = flag(5, "Steps of the stream; must divide the number of classes.")
    condensers: tuple[str, ...] = flag(COMPARED, "Condensers by name; recipes take +TERM[:WEIGHT].")
    memory: tuple[Path, ...] = flag((), "Memory files to stream instead of condensing, also published .pt files.")
    separable: bool = flag(
        False,
        "Memory files that do not say how they were condensed were condensed class by class, so that a step may take "
        "its classes from them.",
        marks=True,
    )
    memory_per_class: int | None = flag(
        None,
        f"Stored images per class; {by_protocol('memory_per_class')}, or what --memory files have.",
        least=1,
        marks=True,
    )
    memory_size: int | None = flag(
        None,
        "Instead: stored images in all. Every class keeps its first floor(size / classes seen) images.",
        least=1,
        marks=True,
    )
    strategy: tuple[Strategy, ...] = flag(
        ("retrain",),
        "retrain: new networks from the memory alone at every step. In Avalanche: gdumb does so too; "
        "replay trains one network on each step's real images mixed with the memory; naive without it.",
        least=1,
    )
    orders: int | None = flag(
        None,
        f"Class orders 0, 1, ..., each with a memory of its own; {by_protocol('orders')}. More narrow the intervals.",
        least=1,
        most=MOST_REPLICATES,
    )
    networks: int | None = flag(
        None, f"Networks trained on every memory and step; {by_protocol('networks')}.", least=1, most=MOST_REPLICATES
    )
    upper_bound: bool = flag(False, "Also train on all real data of the classes seen.")
    whole_epochs: int | None = flag(
        None,
        f"Epochs of training on real images: of --upper-bound, replay and naive; {by_protocol('whole_epochs')}.",
        least=1,
        marks=True,
    )
    augment: bool = flag(
        False, "Augment what gdumb, replay and naive train on, as retrain always does (DSA).", marks=True
    )
    out: Path | None = flag(None, "Output folder; default: out/continual/DATASET-STEPSsteps.")
    dry_run: bool = flag(False, "Print what is left to do: cells, images, FLOPs, memory and time on this device.")
