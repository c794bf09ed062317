"""Differentiable Siamese augmentation (DSA): one operation and one strength, the same for real and synthetic images.

Source: Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation" (2021). A strategy such as
`color_crop_cutout_flip_scale_rotate` names the operations; each draw applies exactly one of them, chosen uniformly.
All operations are written as one affine warp, one colour map and one mask, so that every class can have its own
operation without a decision on the host. `standard` is not a strategy of DSA: it crops *and* flips, as whole
data sets are usually trained. `align_corners=True` is pinned: it was the default of the torch that the original ran on.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from condensers.device import draws
from search_spaces.names import unknown

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
STANDARD = "standard"
NUMBERS = 4  # uniform numbers a draw uses: the operation, and up to three strengths
SCALE = 1.2
ROTATE = math.radians(15)
CROP = 0.125  # of the side
CUTOUT = 0.5  # of the side


@dataclass(frozen=True)
class Draw:
    """What happens to each group of images; a stage that no group needs is None.

    Attributes:
        theta: affine maps from output to input coordinates, `[g, 2, 3]`.
        color: brightness added, saturation factor, contrast factor, `[g, 3]`.
        hole: top row and left column of the cut-out square, `[g, 2]`; beyond the image where nothing is cut.
    """

    theta: Float[Tensor, "g 2 3"] | None = None
    color: Float[Tensor, "g 3"] | None = None
    hole: Float[Tensor, "g 2"] | None = None

    def __getitem__(self, part: slice) -> "Draw":
        """What happens to some of the groups."""
        return Draw(*(stage if stage is None else stage[part] for stage in (self.theta, self.color, self.hole)))


def operations(strategy: str) -> list[str]:
    """The operations of a strategy, in its order; the empty strategy has none. Raises ValueError on others."""
    names = [name for name in strategy.split("_") if name]
    for name in names:
        if name not in OPERATIONS:
            raise unknown("augmentation", name, OPERATIONS)
    return names


def draw(strategy: str, numbers: Float[Tensor, "g 4"], side: int) -> Draw:
    """A draw for each group from its own uniform numbers: the first chooses the operation."""
    names = operations(strategy)
    if not names:
        return Draw()
    chosen = (numbers[:, 0] * len(names)).long()
    active = {name: chosen == names.index(name) for name in names}
    return _draw(active, numbers[:, 1:], side)


def draw_one(strategy: str, number: float, numbers: Float[Tensor, "g 3"], side: int) -> Draw:
    """The same operation for every group, chosen on the host by `number`; strengths by group."""
    if strategy == STANDARD:
        return Draw(theta=_crop_and_flip(numbers, side))
    names = operations(strategy)
    if not names:
        return Draw()
    everyone = torch.ones(len(numbers), dtype=torch.bool, device=numbers.device)
    return _draw({names[int(number * len(names))]: everyone}, numbers, side)


def apply(draw: Draw, images: Float[Tensor, "g b ch h w"]) -> Float[Tensor, "g b ch h w"]:
    """Apply each group's draw to all images of the group; differentiable in the images."""
    if draw.color is not None:
        images = _recolor(images, *draw.color.T)
    if draw.theta is not None:
        images = _warp(images, draw.theta)
    if draw.hole is not None:
        images = images * _mask(draw.hole, images.shape[-1])[:, None, None]
    return images


def views(
    strategy: str, images: Float[Tensor, "g n ch h w"], number: int, keys: Int64[Tensor, "g"]
) -> Float[Tensor, "g m ch h w"]:
    """`number` augmented copies of every image, adjacent, each with another draw from the key of its group.

    If the strategy flips, every second copy is the mirror image of the copy before it; `number` must then be even.
    """
    mirrored = "flip" in operations(strategy)
    copies = images.repeat_interleave(number // 2 if mirrored else number, dim=1)
    of_copies = draws.keys(keys[:, None], torch.arange(copies.shape[1], device=keys.device))
    drawn = draw(strategy, draws.uniform(of_copies.flatten(), NUMBERS), images.shape[-1])
    copies = apply(drawn, copies.flatten(0, 1)[:, None]).view_as(copies)
    return torch.stack((copies, copies.flip(-1)), dim=2).flatten(1, 2) if mirrored else copies


def _draw(active: dict[str, Tensor], numbers: Tensor, side: int) -> Draw:
    warps = {name: on for name, on in active.items() if name in ("crop", "flip", "scale", "rotate")}
    return Draw(
        theta=_theta(warps, numbers, side) if warps else None,
        color=_colors(active["color"], numbers) if "color" in active else None,
        hole=_hole(active["cutout"], numbers, side) if "cutout" in active else None,
    )


def _theta(active: dict[str, Tensor], numbers: Tensor, side: int) -> Tensor:
    """The affine map of the active operation, or the identity; a crop moves by whole pixels into a zero padding."""
    r = numbers[:, 0]
    zero, one = torch.zeros_like(r), torch.ones_like(r)
    shift = _shift(numbers, side)
    zoom = numbers[:, :2] * (SCALE - 1 / SCALE) + 1 / SCALE
    angle = (r * 2 - 1) * ROTATE
    maps = {
        "flip": (torch.where(r < 0.5, -one, one), zero, zero, zero, one, zero),
        "scale": (zoom[:, 0], zero, zero, zero, zoom[:, 1], zero),
        "rotate": (angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero),
        "crop": (one, zero, shift[:, 0], zero, one, shift[:, 1]),
    }
    theta = torch.stack((one, zero, zero, zero, one, zero), dim=1)
    for name, on in active.items():
        theta = torch.where(on[:, None], torch.stack(maps[name], dim=1), theta)
    return theta.view(-1, 2, 3)


def _crop_and_flip(numbers: Float[Tensor, "g 3"], side: int) -> Float[Tensor, "g 2 3"]:
    """A crop by the first two numbers, and a flip with probability 1/2 by the third."""
    shift, sign = _shift(numbers, side), torch.where(numbers[:, 2] < 0.5, -1.0, 1.0)
    zero, one = torch.zeros_like(sign), torch.ones_like(sign)
    return torch.stack((sign, zero, shift[:, 0], zero, one, shift[:, 1]), dim=1).view(-1, 2, 3)


def _shift(numbers: Tensor, side: int) -> Float[Tensor, "g 2"]:
    """Shifts by whole pixels, horizontal and vertical, in the warp's coordinates."""
    reach = int(side * CROP + 0.5)
    return ((numbers[:, :2] * (2 * reach + 1)).floor() - reach) * (2 / (side - 1))


def _colors(active: Tensor, numbers: Tensor) -> Tensor:
    strengths = torch.stack((numbers[:, 0] - 0.5, numbers[:, 1] * 2, numbers[:, 2] + 0.5), dim=1)
    neutral = torch.zeros_like(strengths) + (torch.arange(3, device=numbers.device) > 0)
    return torch.where(active[:, None], strengths, neutral)


def _hole(active: Tensor, numbers: Tensor, side: int) -> Tensor:
    size = int(side * CUTOUT + 0.5)
    corner = (numbers[:, :2] * (side + 1 - size % 2)).floor() - size // 2
    return torch.where(active[:, None], corner, torch.full_like(corner, side))


def _recolor(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    brightness, saturation, contrast = (x.view(-1, 1, 1, 1, 1) for x in (brightness, saturation, contrast))
    images = images + brightness
    grey = images.mean(dim=2, keepdim=True)
    images = (images - grey) * saturation + grey
    level = images.mean(dim=(2, 3, 4), keepdim=True)
    return (images - level) * contrast + level


def _warp(images: Tensor, theta: Tensor) -> Tensor:
    """Warp bilinearly, with zeros outside. A group's images are passed as channels, because they share one grid."""
    g, b, ch, h, w = images.shape
    grid = F.affine_grid(theta, [g, 1, h, w], align_corners=True)
    return F.grid_sample(images.reshape(g, b * ch, h, w), grid, align_corners=True).view(images.shape)


def _mask(hole: Tensor, side: int) -> Tensor:
    """0 inside the square, 1 elsewhere: `[g, side, side]`."""
    size = int(side * CUTOUT + 0.5)
    offset = torch.arange(side, device=hole.device) - hole[:, :, None]
    inside = (offset >= 0) & (offset < size)
    return 1.0 - (inside[:, 0, :, None] & inside[:, 1, None, :]).float()
