"""Class-incremental streams: the classes of a data set arrive in steps, each class once, under its own label.

Protocol of the field (CIFAR-100 in 5 or 10 steps): for order 0 .. 4, `np.random.seed(order)` then
`np.random.permutation(100)`; the first 20 (or 10) classes are the first step, and so on. One head over all
classes, no task labels at test time.
"""

from collections.abc import Callable

import numpy as np
from avalanche.benchmarks import CLScenario, class_incremental_benchmark
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from condensers.device.images import LabelledImages
from scenarios.datasets import Dataset


def class_order(classes: int, order: int) -> list[int]:
    """The published class order `order`: what numpy's legacy global generator draws, without touching it.

    Raises:
        ValueError: `order` is not in 0 .. 2^32 - 1.
    """
    return np.random.RandomState(order).permutation(classes).tolist()


def step_classes(classes: int, steps: int, order: int) -> list[list[int]]:
    """The classes of every step, equally many in each.

    Raises:
        ValueError: `steps` does not divide `classes`: the rest would belong to no step.
    """
    if steps < 1 or classes % steps:
        divisors = ", ".join(str(d) for d in range(1, classes + 1) if classes % d == 0)
        raise ValueError(f"{classes} classes cannot be split into {steps} equal steps; choose one of {divisors} steps")
    ordered = class_order(classes, order)
    size = classes // steps
    return [ordered[start : start + size] for start in range(0, classes, size)]


class TensorImages(TorchDataset):
    """Images and labels held as tensors, handed out one by one on the CPU as Avalanche's loaders expect them.

    Attributes:
        images: `[n, channels, height, width]`.
        targets: class of each image, as plain integers, under the name by which Avalanche finds them.
        prepare: function from a stored image to normalised floats; None if images are stored normalised.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Int64[Tensor, "n"],
        prepare: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        # On the CPU, because a loader pins what it is given, and only host memory can be pinned.
        self.images = images.cpu()
        self.targets = labels.tolist()
        self.prepare = prepare

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image as floats `[channels, height, width]` and its class."""
        image = self.images[index]
        return (self.prepare(image) if self.prepare else image), self.targets[index]


def continual_stream(dataset: Dataset, steps: int, order: int) -> CLScenario:
    """A benchmark with a `train_stream` and a `test_stream` of `steps` experiences each.

    Experience `t` of either stream holds the images of `step_classes(...)[t]` under their original labels: a
    network has one output per class of the data set from the start. No global generator is touched.

    Raises:
        ValueError: `steps` does not divide the classes.
    """
    by_step = step_classes(dataset.classes, steps, order)
    # Raw data sets with `.targets`, not `as_classification_dataset`: only these get the task labels
    # without which Avalanche's class-balanced buffers cannot collate.
    return class_incremental_benchmark(
        {"train": _items(dataset.train), "test": _items(dataset.test)},
        class_order=[label for classes in by_step for label in classes],
        num_experiences=steps,
    )


def _items(images: LabelledImages) -> TensorImages:
    return TensorImages(images.images, images.labels, images.normalise)
