"""A rehearsal buffer that condenses what arrives, by a condenser's name, on any class-incremental benchmark."""

import torch
from avalanche.benchmarks import CLExperience

from condensers import registry
from condensers.condense import Group, condense
from condensers.core.recipe import Schedule
from condensers.memory import Memory
from scenarios.buffers import ClassBuffer
from scenarios.experiences import images_of
from search_spaces.registry import default_depth


class CondensingBuffer(ClassBuffer):
    """Condenses every experience from its own images alone:

        buffer = CondensingBuffer("dm", per_class=10)
        strategy = Naive(model=network, optimizer=optimizer, train_mb_size=32, plugins=[gdumb(buffer)])
        strategy.train(benchmark.train_stream)

    Images are taken as the strategy sees them, normalised by the benchmark's transforms but without their random part.
    A class is condensed to its share at arrival; later it shrinks by the size rule of `ClassBuffer`.
    """

    numbered_by_data_set = False

    def __init__(
        self,
        condenser: str,
        per_class: int | None = None,
        max_size: int | None = None,
        *,
        schedule: Schedule | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        """An empty buffer.

        Args:
            condenser: by name, as `python -m harness.condense --list` prints them.
            per_class: images of each class.
            max_size: images in all; give this or `per_class`, or both.
            schedule: how matching condensers run; without it 200 iterations of a narrow ConvNet, for a CPU.
            seed: names every draw.
            device: where the condensing is done.

        Raises:
            ValueError: an unknown condenser, no size, or a size below 1.
        """
        if per_class is None and max_size is None:
            raise ValueError("how many images? give per_class, max_size, or both")
        super().__init__(per_class, max_size)
        self.condenser = registry.condenser(condenser)
        self.schedule, self.seed, self.device = schedule, seed, device

    def _arriving(self, exp: CLExperience, classes: list[int], share: int | None) -> Memory:
        source = images_of(exp).of_classes(classes)
        schedule = self.schedule or _short(source.shape[1])
        made = condense([self.condenser], source.to(self.device), [Group(tuple(classes), share)], schedule, self.seed)
        return made[self.condenser.name]


def _short(side: int) -> Schedule:
    network = f"ConvNet-W32-D{default_depth(side)}-IN-ReLU-Avg"
    # No flip, because it is not known here whether a mirrored image keeps its class.
    return Schedule(iterations=200, real_batch=64, network=network, augmentation="color_crop_cutout_scale_rotate")
