"""An Avalanche experience as labelled images: checked, and with the normalisation that its strategy trains on."""

import warnings

import torch
from avalanche.benchmarks import CLExperience
from jaxtyping import Float
from torch import Tensor

from condensers.device.images import LabelledImages

_TRANSFORM = "give the benchmark a transform to normalised tensors, such as Compose([ToTensor(), Normalize(mean, std)])"


def check_numbers(experience: CLExperience, of_the_data_set: bool) -> None:
    """Check that a class has one number over the whole stream.

    Args:
        experience: of any benchmark.
        of_the_data_set: whether it must also be its number in the data set.

    Raises:
        ValueError: the benchmark numbers classes anew, or the experience has task labels other than 0.
    """
    benchmark = getattr(experience, "benchmark", None)
    if getattr(benchmark, "class_ids_from_zero_in_each_exp", False):
        raise ValueError(
            "the benchmark counts classes from zero in each experience, so other classes have one number: "
            "make it with class_ids_from_zero_in_each_exp=False"
        )
    if of_the_data_set and getattr(benchmark, "class_ids_from_zero_from_first_exp", False):
        raise ValueError(
            "the benchmark numbers classes as they arrive, a memory as its data set does: "
            "make it with class_ids_from_zero_from_first_exp=False"
        )
    tasks = set(experience.dataset.targets_task_labels.uniques) if has_task_labels(experience) else {0}
    if tasks != {0}:
        raise ValueError(f"the experience has task labels {sorted(tasks)}: make the benchmark with task_labels=False")


def has_task_labels(experience: CLExperience) -> bool:
    """Whether the experience hands out a task label with each image.

    `class_incremental_benchmark` adds none to data sets that are Avalanche's already.
    """
    return hasattr(experience.dataset, "targets_task_labels")


def images_of(experience: CLExperience) -> LabelledImages:
    """The images of an experience as its strategy sees them, without the random part of their transforms.

    Pixels may be normalised in any way: the range of each channel is cut into 256 levels, and `normalise` gives the
    pixels back, to half a grey level.

    Raises:
        ValueError: the experience hands out no float tensors `[channels, height, width]` of one shape, or holds pixels
            that are NaN or infinite.
    """
    data = experience.dataset.eval()
    pixels = _stacked([data[index][0] for index in range(len(data))])
    if pixels.min() >= 0:
        warnings.warn(f"no pixel of the experience is below 0, are they normalised? {_TRANSFORM}", stacklevel=2)
    low, high = pixels.amin((0, 2, 3)), pixels.amax((0, 2, 3))
    span = torch.where(high > low, high - low, 1.0)
    levels = ((pixels - low.view(-1, 1, 1)) / span.view(-1, 1, 1) * 255).round().to(torch.uint8)
    labels = torch.tensor(list(data.targets), dtype=torch.int64)
    return LabelledImages(levels, labels, tuple((-low / span).tolist()), tuple((1 / span).tolist()))


def _stacked(items: list[object]) -> Float[Tensor, "n ch h w"]:
    for item in items:
        if not isinstance(item, Tensor) or not item.is_floating_point() or item.dim() != 3:
            found = f"{item.dtype} of {list(item.shape)}" if isinstance(item, Tensor) else type(item).__name__
            raise ValueError(f"the experience hands out {found}, not [channels, height, width]: {_TRANSFORM}")
        if item.shape != items[0].shape:
            raise ValueError(
                f"the experience holds images of {list(items[0].shape)} and {list(item.shape)}: resize them"
            )
    pixels = torch.stack(items).float().cpu()
    if not pixels.isfinite().all():
        raise ValueError("the experience holds pixels that are NaN or infinite")
    return pixels
