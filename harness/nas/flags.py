"""Flags of `python -m harness.nas`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.flags import Common


@dataclass(frozen=True, kw_only=True)
class Nas(Common):
    """Flags of the command; None stands for the protocol's default."""

    dataset: str | None = None
    """Data set by name (--list), or folder:PATH. Default: cifar10 under paper, digits under quick."""
    proxy: tuple[str, ...] = ("ours",)
    """What to train on: condensers, memory files, whole (the whole set once more), early (stopped early), or the whole
    set by another recipe (--list)."""
    space: str | None = None
    """Search space by name (--list); default: the largest whose poolings the images allow."""
    subset: int | None = None
    """Architectures: the first of one stratified sequence (paper: all of the space)."""
    ipc: int | None = None
    """Stored images per class of the memories; default: that of memory files, else the protocol's (paper: 50)."""
    epochs: int | None = None
    """Epochs of training on a proxy (paper: 200)."""
    replicates: int = 1
    """Networks per architecture and memory, averaged before architectures are ranked."""
    memories: int = 1
    """Memories per condenser, each with draws of its own."""
    whole_replicates: int = 2
    """Whole-set networks per architecture: the first is what proxies are compared with, the second the ceiling."""
    recipe: str | None = None
    """How networks are trained on the whole set, by name (--list; paper: short-1)."""
    validation: int | None = None
    """Training images per class to choose an architecture on; no proxy sees them (paper: 500)."""
    iterations: int | None = None
    """Iterations of matching condensers."""
    real_batch: int | None = None
    """Real images per class and iteration."""
    store: Literal["float32", "float16", "uint8"] = "float32"
    """How synthetic pixels are kept, and trained on; memories of real images keep indices."""
    whole_table: Path | None = None
    """Whole-set accuracies to use and to add to; default: OUT/whole_DATASET.csv and the published table."""
    merge: tuple[Path, ...] = ()
    """Rows of the same command from other machines, to be added first."""
    storage: str | None = None
    """URL of the database that workers on several machines share; default with --workers: SQLite in OUT."""
    workers: int = 1
    """Processes on this machine."""
    out: Path | None = None
    """Output folder; default: out/nas/DATASET."""
    search: tuple[Literal["tpe", "evolution", "random"], ...] = ()
    """Search the whole space by these samplers, instead of training every architecture; none trains the whole set."""
    trials: int = 40
    """Architectures that a search tries."""
    searches: int = 5
    """Searches per proxy and sampler, each with networks and draws of its own."""
    dry_run: bool = False
    """Print the plan: trainings, images, FLOPs and time on this device."""
