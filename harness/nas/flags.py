"""Flags of `python -m harness.nas`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harness.core.flags import MOST_REPLICATES, Common, CondensingFlags, SharingFlags, TrainingFlags, flag
from harness.core.protocols import PROTOCOLS, SURVEYS


def by_survey(name: str) -> str:
    """The default of a survey's flag under each protocol, for its help text."""
    values = {key: getattr(SURVEYS[protocol.name], name) for key, protocol in PROTOCOLS.items()}
    said = (f"{'all' if value is None else value} under {key}" for key, value in values.items())
    return f"default: {', '.join(said)}"


@dataclass(frozen=True, kw_only=True)
class WholeFlags:
    """Flags of the whole-set training that proxies are compared with."""

    box: ClassVar[str] = "whole set"
    recipe: str | None = flag(
        None, f"How networks are trained on the whole set, by name (--list); {by_survey('recipe')}."
    )
    whole_replicates: int = flag(
        2,
        "Whole-set networks per architecture: the first is what proxies are compared with, the second the ceiling.",
        least=1,
        most=MOST_REPLICATES,
    )
    whole_table: Path | None = flag(
        None, "Whole-set accuracies to use and to add to; default: OUT/whole_DATASET.csv and the published table."
    )
    merge: tuple[Path, ...] = flag((), "Rows of the same command from other machines, to be added first.")


@dataclass(frozen=True, kw_only=True)
class SearchFlags:
    """Flags of a search, which trains sampled architectures instead of all."""

    box: ClassVar[str] = "search"
    search: tuple[Literal["tpe", "evolution", "random"], ...] = flag(
        (), "Search the whole space by these samplers instead of training every architecture, on proxies alone."
    )
    trials: int = flag(40, "Architectures that a search tries.", least=1, most=MOST_REPLICATES)
    searches: int = flag(
        5, "Searches per proxy and sampler, each with networks and draws of its own.", least=1, most=MOST_REPLICATES
    )
    train_winner: bool = flag(
        False, "Train the architecture that won on each proxy on the whole set, too, and give its test accuracy."
    )


@dataclass(frozen=True, kw_only=True)
class Nas(WholeFlags, SearchFlags, CondensingFlags, TrainingFlags, SharingFlags, Common):
    """Flags of the command; None stands for the protocol's default."""

    box: ClassVar[str] = "survey"
    proxy: tuple[str, ...] = flag(
        ("ours",),
        "What to train on: condensers, memory files, whole (the whole set once more), early (stopped early), or the "
        "whole set trained on in another way (--list).",
    )
    space: str | None = flag(
        None, "Search space by name (--list); default: the largest whose poolings the images allow."
    )
    subset: int | None = flag(None, f"Architectures, the first of one stratified sequence; {by_survey('subset')}.")
    ipc: int | None = flag(
        None, f"Stored images per class of the memories; {by_survey('ipc')}, or what memory files have.", marks=True
    )
    replicates: int = flag(
        1,
        "Networks per architecture and memory, averaged before architectures are ranked.",
        least=1,
        most=MOST_REPLICATES,
    )
    memories: int = flag(1, "Memories per condenser, each with draws of its own.", least=1, most=MOST_REPLICATES)
    validation: int | None = flag(
        None,
        f"Training images per class to choose an architecture on, which no proxy sees; {by_survey('validation')}.",
    )
    dataset: str | None = flag(None, f"Data set by name (--list), or folder:PATH; {by_survey('dataset')}.")
    epochs: int | None = flag(None, f"Epochs of training on a proxy; {by_survey('epochs')}.", least=1, marks=True)
    out: Path | None = flag(None, "Output folder; default: out/nas/DATASET.")
    dry_run: bool = flag(False, "Print what is left to do: trainings, images, FLOPs and time on this device.")
