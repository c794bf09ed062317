"""How pixels follow their gradient."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from condensers.core.by_ipc import ByIPC, at_ipc
from condensers.core.identity import beyond, changed, identity

LATER = ("fall", "average", "per_image", "unit_pixels")  # fields of SGD that keys hold only where they are set


@runtime_checkable
class Optimizer(Protocol):
    """What moves pixels: a frozen dataclass, because it is part of a memory's key.

    Attributes:
        fall: `cosine` scales the gradient by half a cosine that falls from 1 to 0 over the run; `none` leaves it.
        average: share of the run, at its end, over which pixels are averaged into the memory; 0: only the last count.
        state: torch's names for the tensors that it keeps beside the pixels.
    """

    fall: Literal["none", "cosine"]
    average: float
    state: tuple[str, ...]

    def of(self, pixels: Tensor, ipc: int) -> torch.optim.Optimizer:
        """Torch's optimiser of the pixels, at `ipc` stored images per class."""

    def describe(self) -> dict[str, object]:
        """The optimiser as JSON values."""


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent. Defaults: DM (Zhao and Bilen, 2023).

    Attributes:
        lr: step size, one number or by images per class.
        momentum: of torch's SGD.
        fall: see Optimizer.
        average: see Optimizer.
        per_image: whether `lr` is to be multiplied by the images per class.
        unit_pixels: whether `lr` is for pixels from 0 to 1. Here pixels are normalised, so a step of the same size in
            pixels from 0 to 1 takes a gradient that is 1 / std^2 times as large, channel by channel.

    Raises:
        ValueError: a fall that does not exist, or a share that is not from 0 to 1.
    """

    lr: float | ByIPC[float] = 1.0
    momentum: float = 0.5
    fall: Literal["none", "cosine"] = "none"
    average: float = 0.0
    per_image: bool = False
    unit_pixels: bool = False
    state = ("momentum_buffer",)

    def __post_init__(self) -> None:
        if self.fall not in ("none", "cosine"):
            raise ValueError(f"fall is {self.fall!r}: give none or cosine")
        _check_share(self.average)

    def of(self, pixels: Tensor, ipc: int) -> torch.optim.Optimizer:
        """Torch's SGD of the pixels."""
        lr = at_ipc(self.lr, ipc) * (ipc if self.per_image else 1)
        return torch.optim.SGD([pixels], lr=lr, momentum=self.momentum)

    def describe(self) -> dict[str, object]:
        """The optimiser as JSON values."""
        later = {name: value for name, value in changed(self).items() if name in LATER}
        optimizer = {"optimizer": own} if (own := beyond(self, SGD)) else {}
        return {"pixel_lr": identity(self.lr), "momentum": self.momentum, **later, **optimizer}


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba, 2015): each pixel moves by about `lr` a step, however small its gradient.

    Attributes:
        lr: step size, one number or by images per class.
        betas: decays of the moving averages of the gradient and of its square.
        average: see Optimizer.

    Raises:
        ValueError: a share that is not from 0 to 1.
    """

    lr: float | ByIPC[float] = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    average: float = 0.0
    fall = "none"  # a smaller gradient would not make its steps smaller
    state = ("exp_avg", "exp_avg_sq", "step")

    def __post_init__(self) -> None:
        _check_share(self.average)

    def of(self, pixels: Tensor, ipc: int) -> torch.optim.Optimizer:
        """Torch's Adam of the pixels."""
        lr, on_cuda = at_ipc(self.lr, ipc), pixels.device.type == "cuda"
        return torch.optim.Adam([pixels], lr=lr, betas=self.betas, capturable=on_cuda)

    def describe(self) -> dict[str, object]:
        """The optimiser as JSON values."""
        return {"optimizer": identity(self)}


def _check_share(average: float) -> None:
    if not 0 <= average <= 1:
        raise ValueError(f"average is {average}: give a share of the run, from 0 to 1")
