"""Analyse memories: how far they are from real images in style, diversity, texture and matching loss.

    python -m harness.analyse out/memories/*.safetensors                             seconds a memory on a CPU
    python -m harness.analyse FILE... --scores out/evaluate/results.csv              does the loss predict accuracy?
    python -m harness.analyse raw.pt --dataset cifar10 --mean 0 --std 1              pixels from 0 to 1
    python -m harness.analyse FILE... --drift-from out/memories/herding*.safetensors trains networks: minutes

Each memory is seen by a few networks of random weights, beside as many real images of each class (`real`):

- style gap: distance between the mean first-layer style (mean and deviation of each map) of a class and that of its
  real images, in standard deviations of the real ones (DDM, Figure 1a);
- diversity: distance of an image's embedding from its nearest neighbours in its class, over that of real images (1b);
- GLCM dissimilarity and entropy: texture, averaged over neighbouring pixels at distance 1 and 2 (DDM, Figure 5d);
- loss of dm, ours, readout: the objectives on real images, without augmentation; with --scores, their rank correlation
  with accuracy over memories and over condensers;
- with --drift-from: accuracy of networks trained on that memory while the style of its first feature map is moved, by
  a ratio, to the mean style of each other memory (DDM, Figure 1c-d, Eq. 12-14), and to its own mean as a control.

Finished cells in the output folder are not computed again. Intervals are over memories.
"""

from harness.analyse.flags import Analyse
from harness.core.command import command


def main(config: Analyse) -> None:
    """Run the command. Raises ValueError for whatever a user can get wrong."""
    from harness.analyse.report import report
    from harness.analyse.running import prepare, run

    analysis = prepare(config)
    run(analysis)
    report(analysis)


if __name__ == "__main__":
    command(Analyse, main, __doc__)
