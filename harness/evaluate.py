"""Score memories: train fresh networks on each, test on the whole test set.

    python -m harness.evaluate out/memories/*.safetensors                      quick on a CPU
    python -m harness.evaluate published.pt --dataset cifar10 --protocol paper
    python -m harness.evaluate memory.safetensors --network ResNet18           across architectures

Memories that differ in nothing but their seed are replicates: one line with an interval. Other makings of memories,
another condenser or another precision, get lines of their own and their difference to the first, paired by seed.

Also reads sets that others published as `.pt`, without running what they carry. The last epoch counts; nothing is
chosen on test data. Finished scores in the output folder are not computed again.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from harness.command import command
from harness.flags import Common


@dataclass(frozen=True, kw_only=True)
class Evaluate(Common):
    """Flags of the command; None stands for the protocol's default."""

    memories: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Memory files: .safetensors of this project, or published .pt."""
    dataset: str | None = None
    """Data set; default: the one the first memory was made from."""
    networks: int = 5
    """Networks trained on every memory."""
    epochs: int | None = None
    """Epochs of training on a memory."""
    validation: int = 0
    """Score on that many held-out training images per class instead of the test set."""
    out: Path = Path("out/evaluate")
    """Output folder."""


def main(config: Evaluate) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.scoring import score

    return score(config)


if __name__ == "__main__":
    command(Evaluate, main, __doc__)
