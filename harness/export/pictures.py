"""A memory as pictures: 8-bit levels, what they change, and class folders of PNGs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from condensers.memory import Memory


@dataclass(frozen=True)
class Pictures:
    """The images that networks are trained on, as pictures can show them.

    Attributes:
        levels: 0 (black) to 255 (white), `[n, channels, height, width]`.
        labels: class of each image, `[n]`.
        clamped: share of the pixels' values that were darker than black or brighter than white.
        least: the least value before clamping, where black is 0 and white 1.
        most: the greatest value before clamping.
    """

    levels: UInt8[Tensor, "n ch h w"]
    labels: Int64[Tensor, "n"]
    clamped: float
    least: float
    most: float

    @property
    def loss(self) -> str:
        """What was changed, for people."""
        within = "no pixel value was out of black and white"
        if self.clamped:
            within = (
                f"{self.clamped:.1%} of the pixel values were clamped to black or white (they went from "
                f"{self.least:z.2f} to {self.most:z.2f}, black is 0 and white 1)"
            )
        return f"{within}; values are rounded to 8 bits, at most 1/510 away"


def pictures_of(memory: Memory, mean: Sequence[float], std: Sequence[float]) -> Pictures:
    """Decode a memory, undo its normalisation, clamp and round.

    Args:
        memory: with hard labels.
        mean: that was taken off raw pixels from 0 to 1; one number, or one for each channel.
        std: that they were divided by; one number, or one for each channel.

    Raises:
        ValueError: soft labels, images of other than one or three channels, or a `mean` or `std` of another size.
    """
    decoded, channels = memory.decoded(), memory.images.shape[1]
    if memory.soft_labels is not None:
        raise ValueError("it has soft labels, which class folders cannot hold: give --format pt")
    if channels not in (1, 3):
        raise ValueError(f"it has images of {channels} channels, and a picture has 1 or 3: give --format pt")
    if not {len(mean), len(std)} <= {1, channels}:
        raise ValueError(f"{len(mean)} means and {len(std)} deviations: give one of each, or {channels}, one a channel")
    raw = decoded.images * torch.tensor(std).view(-1, 1, 1) + torch.tensor(mean).view(-1, 1, 1)
    rounded = (255 * raw).round()
    out = (rounded < 0) | (rounded > 255)
    least, most = (end.item() for end in raw.aminmax())
    return Pictures(rounded.clamp(0, 255).byte(), decoded.labels, out.float().mean().item(), least, most)


def folder_names(labels: Sequence[int], names: Sequence[str] | None) -> dict[int, str]:
    """A folder for each label: the classes' names, or numbers if these are unknown or cannot name folders."""
    named = {label: names[label] for label in labels} if names else {}
    distinct = len({name.casefold() for name in named.values()}) == len(labels)
    if distinct and all(re.fullmatch(r"[^./\\][^/\\]*", name) and len(name.encode()) < 200 for name in named.values()):
        return named
    digits = len(str(max(labels)))
    return {label: f"{label:0{digits}}" for label in labels}


def write_pictures(folder: Path, levels: Tensor, labels: Tensor, names: Mapping[int, str]) -> None:
    """Write `folder/CLASS/NUMBER.png`, numbered within their class in their order.

    Args:
        folder: the folder to make.
        levels: as in `Pictures`.
        labels: as in `Pictures`.
        names: the folder of each class.
    """
    for label, name in names.items():
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(levels[labels == label]):
            pixels = image.permute(1, 2, 0).squeeze(-1).numpy()
            Image.fromarray(pixels).save(folder / name / f"{number:05}.png")
