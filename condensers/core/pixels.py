"""What a recipe stores, and how it is decoded to the images that networks see.

Stored pixels are `[C, M, ch, h, w]`, decoded images `[C, M * decoded, ch, h, w]`; those of one stored image are
adjacent. A memory's metadata names its kind of pixels, so that every reader decodes it as it was condensed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from search_spaces.names import unknown


@runtime_checkable
class Pixels(Protocol):
    """How images are stored."""

    @property
    def decoded(self) -> int:
        """Images that each stored one is decoded to."""

    def start(self, real: Float[Tensor, "C n ch h w"]) -> Float[Tensor, "C M ch h w"]:
        """What is stored at the start, from `n = M * decoded` real images of each class."""

    def decode(self, stored: Float[Tensor, "C M ch h w"]) -> Float[Tensor, "C n ch h w"]:
        """The images that networks see; differentiable."""

    def project(self, stored: Float[Tensor, "C M ch h w"], low: Tensor, high: Tensor) -> None:
        """Keep stored pixels within what is allowed, after a step; `low` and `high` are black and white, normalised."""


@dataclass(frozen=True)
class Raw:
    """Each stored image is one image as networks see it; never clamped."""

    decoded = 1

    def start(self, real: Float[Tensor, "C n ch h w"]) -> Float[Tensor, "C M ch h w"]:
        """Real images."""
        return real.clone()

    def decode(self, stored: Float[Tensor, "C M ch h w"]) -> Float[Tensor, "C n ch h w"]:
        """The images themselves."""
        return stored

    def project(self, stored: Float[Tensor, "C M ch h w"], low: Tensor, high: Tensor) -> None:
        """Do nothing: as in DM, pixels may go beyond black and white."""


@dataclass(frozen=True)
class Factor:
    """Each stored image is a mosaic of `factor` x `factor` small images, each decoded to full size.

    Sources: multi-formation of IDC (Kim et al., ICML 2022), which M3D takes over as its factor 2; partition and expand
    of IDM (Zhao et al., CVPR 2023) is the same map without the clamp.

    Attributes:
        factor: small images along a side; it must divide the side of the images.
        clamp: whether pixels are kept between black and white.

    Raises:
        ValueError: a factor that is no whole number from 1.
    """

    factor: int = 2
    clamp: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.factor, int) or self.factor < 1:
            raise ValueError(f"a mosaic cannot have {self.factor!r} images along a side: give a whole number from 1")

    @property
    def decoded(self) -> int:
        """One image for each tile."""
        return self.factor**2

    def start(self, real: Float[Tensor, "C n ch h w"]) -> Float[Tensor, "C M ch h w"]:
        """Mosaics of downscaled real images, row by row. Raises ValueError if `factor` does not divide the side."""
        side, f = real.shape[-1], self.factor
        if side % f:
            raise ValueError(f"images of {side} px cannot be cut into {f} x {f} tiles: choose another --resolution")
        small = F.interpolate(real.flatten(0, 1), size=side // f, mode="bilinear", antialias=True, align_corners=False)
        tiles = small.view(len(real), -1, f, f, *small.shape[1:])
        return tiles.permute(0, 1, 4, 2, 5, 3, 6).reshape(len(real), -1, *real.shape[2:])

    def decode(self, stored: Float[Tensor, "C M ch h w"]) -> Float[Tensor, "C n ch h w"]:
        """Every tile, brought to full size bilinearly."""
        classes, _, channels, side, _ = stored.shape
        f = self.factor
        tiles = stored.view(classes, -1, channels, f, side // f, f, side // f).permute(0, 1, 3, 5, 2, 4, 6)
        small = tiles.reshape(-1, channels, side // f, side // f)
        return F.interpolate(small, size=side, mode="bilinear", align_corners=False).unflatten(0, (classes, -1))

    def project(self, stored: Float[Tensor, "C M ch h w"], low: Tensor, high: Tensor) -> None:
        """Clamp pixels between black and white, if `clamp` is set."""
        if self.clamp:
            stored.clamp_(low, high)


KINDS = {kind.__name__: kind for kind in (Raw, Factor)}


def pixels_of(described: Mapping[str, object] | None) -> Pixels:
    """The kind of pixels that a memory's metadata describes; `Raw` for None.

    Raises:
        ValueError: unknown kind, or fields that it does not have or cannot take.
    """
    if described is None:
        return Raw()
    fields = dict(described)
    name = str(fields.pop("name", ""))
    if name not in KINDS:
        raise unknown("kind of pixels", name, KINDS)
    try:
        return KINDS[name](**fields)
    except TypeError as error:
        raise ValueError(f"pixels {described} are not understood: {error}") from error
