"""A labelled set of images as it lives on the device: one uint8 tensor, normalised on use."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor


@dataclass(frozen=True)
class LabelledImages:
    """Images with integer labels and the mean and deviation that normalise them.

    Attributes:
        images: raw pixels, `[n, channels, height, width]`, 0 to 255.
        labels: class of each image, `[n]`, 0 to classes - 1.
        mean: per-channel mean of pixels in [0, 1].
        std: per-channel standard deviation of pixels in [0, 1].
    """

    images: UInt8[Tensor, "n ch h w"]
    labels: Int64[Tensor, "n"]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        return tuple(self.images.shape[1:])

    def to(self, device: torch.device | str) -> "LabelledImages":
        """The same set on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def subset(self, index: Int64[Tensor, "m"]) -> "LabelledImages":
        """The images at `index`, in that order."""
        return replace(self, images=self.images[index], labels=self.labels[index])

    def of_classes(self, classes: list[int]) -> "LabelledImages":
        """Only the images of the given classes, in their old order and with their old labels."""
        wanted = torch.as_tensor(classes, device=self.labels.device)
        return self.subset(torch.isin(self.labels, wanted).nonzero().squeeze(1))

    def normalise(self, images: UInt8[Tensor, "*batch ch h w"]) -> Float[Tensor, "*batch ch h w"]:
        """Raw pixels to zero-mean, unit-variance floats, on the device of the set."""
        mean, std = self._normalisation
        return (images.float() / 255 - mean) / std

    def denormalise(self, images: Float[Tensor, "*batch ch h w"]) -> Float[Tensor, "*batch ch h w"]:
        """Normalised pixels back to [0, 1], clamped: for pictures only, memories are never clamped."""
        mean, std = self._normalisation
        return (images * std + mean).clamp(0, 1)

    @cached_property
    def _normalisation(self) -> tuple[Tensor, Tensor]:
        # Cached on the device: building them anew would make every call wait for a copy from the host.
        mean, std = (torch.tensor(x, device=self.images.device).view(-1, 1, 1) for x in (self.mean, self.std))
        return mean, std


def position_in_class(labels: Int64[Tensor, "n"]) -> Int64[Tensor, "n"]:
    """For each image, how many of the same class stand before it."""
    order = labels.argsort(stable=True)
    grouped = labels[order]
    position = torch.empty_like(labels)
    position[order] = torch.arange(len(labels), device=labels.device) - torch.searchsorted(grouped, grouped)
    return position
