"""Score memories: train fresh networks on each, test on the whole test set.

    python -m harness.evaluate out/memories/*.safetensors                      quick on a CPU
    python -m harness.evaluate published.pt --dataset cifar10 --protocol paper
    python -m harness.evaluate memory.safetensors --network ResNet18           across architectures

Also reads sets that others published as `.pt`, without running what they carry. The last epoch counts; nothing is
chosen on test data. Finished scores in the output folder are not computed again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from harness.command import command
from harness.devices import Precision


@dataclass(frozen=True)
class Evaluate:
    """Flags of the command; None stands for the protocol's default."""

    memories: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Memory files: .safetensors of this project, or published .pt."""
    dataset: str | None = None
    """Data set; default: the one the first memory was made from."""
    networks: int = 5
    """Networks trained on every memory."""
    network: str | None = None
    """Network to train; default: the protocol's ConvNet."""
    epochs: int | None = None
    """Epochs of training on a memory."""
    validation: int = 0
    """Score on that many held-out training images per class instead of the test set."""
    protocol: Literal["paper", "quick"] | None = None
    """Set of defaults. Without it: paper on CUDA, quick on a CPU."""
    resolution: int | None = None
    """Side of the images in pixels, if not the data set's own."""
    seed: int = 0
    """Names all draws, together with data set and replicate."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Precision = "fp32"
    """Arithmetic of the networks; tf32 on CUDA only."""
    chunk: int | None = None
    """Images that go through a network at once. Default: 64 on a CPU, 8192 on CUDA."""
    data_root: Path = Path("data")
    """Folder of the data sets."""
    out: Path = Path("out/evaluate")
    """Output folder."""
    list_names: Annotated[bool, tyro.conf.arg(name="list")] = False
    """Print condensers, data sets, networks and protocols."""


def main(config: Evaluate) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    if config.list_names:
        from harness.listing import print_names

        return print_names()
    from harness.scoring import score

    return score(config)


if __name__ == "__main__":
    command(Evaluate, main, __doc__)
