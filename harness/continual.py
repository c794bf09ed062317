"""Compare condensers on a class-incremental stream: condense each step, retrain from the memory, test on all seen.

    python -m harness.continual                                 digits, quick on a CPU: about 1 minute on two cores
    python -m harness.continual --dataset cifar100 --steps 5    the field's benchmark: paper on CUDA, quick on a CPU

Writes results.csv (one row per cell, network and metric), accuracy.png and the memories into the output folder. The
same command again goes on where it stopped.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from harness.command import command
from harness.devices import Precision


@dataclass(frozen=True)
class Continual:
    """Flags of the command; None stands for the protocol's default."""

    dataset: str = "digits"
    """Data set by name (--list), or folder:PATH."""
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
    protocol: Literal["paper", "quick"] | None = None
    """Set of defaults. Without it: paper on CUDA, quick on a CPU."""
    network: str | None = None
    """Network that condenses and is trained; default: the protocol's ConvNet."""
    iterations: int | None = None
    """Iterations of matching condensers."""
    real_batch: int | None = None
    """Real images per class and iteration."""
    epochs: int | None = None
    """Epochs of training on a memory."""
    resolution: int | None = None
    """Side of the images in pixels, if not the data set's own."""
    seed: int = 0
    """Names all draws, together with data set, class order and replicate."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Precision = "fp32"
    """Arithmetic of the networks; tf32 on CUDA only."""
    store: Literal["float32", "float16", "uint8"] = "float32"
    """How synthetic pixels are kept, and scored; memories of real images keep indices."""
    chunk: int | None = None
    """Images that go through a network at once; bounds memory. Default: 64 on a CPU, 8192 on CUDA."""
    data_root: Path = Path("data")
    """Folder of the data sets."""
    out: Path | None = None
    """Output folder; default: out/continual/DATASET-STEPS."""
    dry_run: bool = False
    """Print the plan: cells, images, FLOPs, memory and time on this device."""
    list_names: Annotated[bool, tyro.conf.arg(name="list")] = False
    """Print condensers, data sets, networks and protocols."""


def main(config: Continual) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    if config.list_names:
        from harness.listing import print_names

        return print_names()
    from harness.experiment import prepare

    experiment = prepare(config)
    if config.dry_run:
        from harness.costs import print_plan

        return print_plan(experiment)
    from harness.report import report
    from harness.stream import configs, run

    run(experiment)
    return report(experiment, configs(experiment))


if __name__ == "__main__":
    command(Continual, main, __doc__)
