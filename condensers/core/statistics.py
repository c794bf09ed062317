"""Statistics of feature maps that several papers compare: moments and Gram matrices, fast on a CPU.

Each averages over the images of a class: activations `[C, B, ch, h, w]` to one statistic a class.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from search_spaces.compiled import compiles, run


def mean_and_deviation(x: Float[Tensor, "C B ch h w"]) -> Float[Tensor, "C 2 ch"]:
    """Channel mean and standard deviation of each image's map, averaged over the set (AdaIN statistics)."""
    mean, variance = _moments(x)
    # 1e-5, because the square root has an infinite slope at 0, and a dead ReLU channel has variance 0.
    return torch.stack((mean.mean(1), (variance + 1e-5).sqrt().mean(1)), dim=1)


def mean_and_variance(x: Float[Tensor, "C B ch h w"]) -> Float[Tensor, "C 2 ch"]:
    """Channel mean and variance of each image's map, averaged over the set (DDM, Eq. 4 as printed)."""
    mean, variance = _moments(x)
    return torch.stack((mean.mean(1), variance.mean(1)), dim=1)


def gram(x: Float[Tensor, "C B ch h w"]) -> Float[Tensor, "C ch ch"]:
    """Correlation between channels, F F^T / (ch h w), averaged over the set (Gatys et al.; DDM, Eq. 5)."""
    return _Products.apply(x.movedim(2, -1).flatten(2, 3)) / x[0].numel()


def _moments(x: Float[Tensor, "C B ch h w"]) -> tuple[Float[Tensor, "C B ch"], Float[Tensor, "C B ch"]]:
    """Mean and variance over space, as E[x^2] - E[x]^2, which is much faster on a CPU than `torch.var_mean`.

    Where a map hardly varies, the two are nearly equal and their difference is inexact: in float32, for maps up to
    32 x 32, the relative error of the variance is at most 5e-6 (1 + (mean / deviation)^2). After the rectifiers of a
    ConvNet that is below a thousandth, at mean / deviation 1000 above 1. Both are tested.
    """
    mean, square = _Powers.apply(x.movedim(2, -1).flatten(2, 3))
    return mean, (square - mean.square()).clamp_min(0)


# These two write their gradients by hand: one pass over the maps, where autograd takes several. Both can be
# differentiated once only.


class _Products(torch.autograd.Function):
    """`map^T map` summed over the images of each class, `[C, B, h * w, ch]` to `[C, ch, ch]`."""

    @staticmethod
    def forward(ctx: FunctionCtx, maps: Tensor) -> Tensor:
        ctx.save_for_backward(maps)
        if maps.device.type != "cpu":
            # A product per image: one per class would leave most processors of a GPU idle.
            return (maps.transpose(2, 3) @ maps).sum(1)
        # By NumPy: for a symmetric product it calls the BLAS routine that computes only one half; torch does not.
        return torch.stack([torch.from_numpy(one.T @ one) for one in maps.detach().flatten(1, 2).numpy()])

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, slope: Tensor) -> Tensor:
        (maps,) = ctx.saved_tensors
        return (maps.flatten(1, 2) @ (slope + slope.transpose(1, 2))).view_as(maps)


class _Powers(torch.autograd.Function):
    """Means of `maps` and of their squares over space, `[C, B, h * w, ch]` to two `[C, B, ch]`."""

    @staticmethod
    def forward(ctx: FunctionCtx, maps: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(maps)
        if not compiles(maps):
            # By the norm, one pass: computing the squares first would write them to memory and read them again.
            return maps.mean(2), torch.linalg.vector_norm(maps, dim=2).square() / maps.shape[2]
        mean, square = maps.new_empty(2, *maps.shape[:2], maps.shape[3])
        run("powers", *(tensor.flatten(0, 1) for tensor in (maps.contiguous(), mean, square)))
        return mean, square

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, of_mean: Tensor, of_square: Tensor) -> Tensor:
        (maps,) = ctx.saved_tensors
        pixels = maps.shape[2]
        return torch.addcmul(of_mean[:, :, None] / pixels, maps, of_square[:, :, None] * (2 / pixels))
