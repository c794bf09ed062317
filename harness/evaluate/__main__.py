"""Score memories: train fresh networks on each, test on the whole test set.

    python -m harness.evaluate out/memories/*.safetensors                      quick on a CPU
    python -m harness.evaluate published.pt --dataset cifar10 --protocol paper
    python -m harness.evaluate raw.pt --dataset cifar10 --mean 0 --std 1       pixels from 0 to 1
    python -m harness.evaluate memory.safetensors --network ResNet18           across architectures

Memories that differ only in their seed are replicates and share a line, with an interval. Memories that were made
otherwise, by another condenser or precision for example, have a line of their own, with their difference to the first
line, paired by seed.

Also reads sets that others published as `.pt`, without running what they carry; such a set has no seed, so differences
to it are not paired. Soft labels are trained on, in the open league. The last epoch counts; nothing is chosen on test
data. Finished scores in the output folder are not computed again.
"""

from harness.core.command import command
from harness.evaluate.flags import Evaluate


def main(config: Evaluate) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.evaluate.scoring import score

    return score(config)


if __name__ == "__main__":
    command(Evaluate, main, __doc__)
