"""Random: real images drawn without replacement, the same number of each class."""

import torch
from jaxtyping import Int64
from torch import Tensor

from condensers.core.recipe import Schedule, Selection
from condensers.core.sampling import Pools, check_enough
from condensers.device import draws
from condensers.device.images import LabelledImages


def random(
    source: LabelledImages, classes: list[int], ipc: int, schedule: Schedule, seed: int
) -> Int64[Tensor, "C ipc"]:
    """Positions of `ipc` random images of each class; the schedule plays no part.

    The draw is the one that matching methods start from. Raises ValueError if a class has fewer images.
    """
    pools = Pools(source, classes)
    check_enough(pools.sizes, ipc)
    labels = torch.tensor(classes, device=source.labels.device)
    return pools.draw(draws.keys(draws.key_of(seed, "initial images"), labels), ipc)


CONDENSERS = (Selection("random", random, "random real images"),)
