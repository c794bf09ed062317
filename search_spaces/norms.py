"""Instance norm, rectifier and pooling in one pass on a CPU, where each of them alone mostly waits for memory.

Torch's own kernels read and write every map once per layer. The compiled pass (`search_spaces.kernels`) does norm, ReLU
and average pooling while a map lies in the cache, several times as fast. Other devices use torch's layers one after
another, and so does a CPU on which numba cannot compile.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from search_spaces.compiled import compiles, run

Parts = tuple[Tensor | None, Tensor | None]  # rectified maps, and their means over 2 x 2 pixels


class InstanceNorm(nn.GroupNorm):
    """Affine instance norm: GroupNorm with one channel a group."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, x: Float[Tensor, "n ch h w"]) -> Float[Tensor, "n ch h w"]:
        """Every map brought to mean 0 and variance 1, then scaled and shifted."""
        return self.rectified(x, slope=1.0, keep=True, average=False)[0] if compiles(x) else super().forward(x)

    def rectified(self, x: Float[Tensor, "n ch h w"], slope: float, keep: bool, average: bool) -> Parts:
        """The norm, then a rectifier of that slope, then average pooling 2x2, in one pass; needs `compiles(x)`.

        Args:
            x: maps, of an even side if they are to be pooled.
            slope: what negative values are multiplied by: 0 for ReLU, 1 for none.
            keep: whether the maps before pooling are wanted.
            average: whether the pooled maps are wanted.

        Raises:
            ValueError: maps of an odd side are to be pooled.
        """
        if average and (x.shape[2] % 2 or x.shape[3] % 2):
            raise ValueError(f"maps of {x.shape[2]}x{x.shape[3]} have a row or column that no 2x2 pooling takes in")
        wide = torch.promote_types(x.dtype, torch.float32)
        inputs = (tensor.to(wide) for tensor in (x, self.weight, self.bias))
        parts = _Fused.apply(*inputs, slope, self.eps, keep, average)
        return tuple(part if part is None else part.to(x.dtype) for part in parts)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor, slope: float, eps: float, keep: bool, average: bool
    ) -> Parts:
        n, channels, height, width = x.shape
        rows = _rows(x)
        activation = rows.new_empty(n * height if keep else 0, width, channels)
        pooled = rows.new_empty(n * height // 2 if average else 0, width // 2, channels)
        mean, inverse = rows.new_empty(2, n, channels)
        run("rectified_norm", rows, weight, bias, slope, eps, activation, pooled, mean, inverse)
        ctx.save_for_backward(x, weight, bias, mean, inverse)
        ctx.set_materialize_grads(False)
        ctx.constants = slope, eps, keep, average
        return tuple(_maps(part, n) if len(part) else None for part in (activation, pooled))

    @staticmethod
    def backward(ctx: FunctionCtx, *slopes: Tensor | None) -> tuple[Tensor | None, ...]:
        *inputs, mean, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable(inputs, ctx.constants, slopes), None, None, None, None
        rows = _rows(inputs[0])
        incoming = [rows.new_empty(0, 1, 1) if part is None else _rows(part) for part in slopes]
        of_x, of_weight, of_bias = (torch.empty_like(tensor) for tensor in (rows, mean, mean))
        known = (rows, *inputs[1:], ctx.constants[0], mean, inverse, *incoming)
        run("rectified_norm_gradient", *known, of_x, of_weight, of_bias)
        return _maps(of_x, len(mean)), of_weight.sum(0), of_bias.sum(0), None, None, None, None


def layers(x: Tensor, weight: Tensor, bias: Tensor, slope: float, eps: float, keep: bool, average: bool) -> Parts:
    """The results of the compiled pass, computed by torch's layers."""
    activation = F.leaky_relu(F.group_norm(x, len(weight), weight, bias, eps), slope)
    return activation if keep else None, F.avg_pool2d(activation, 2) if average else None


def _differentiable(inputs: list[Tensor], constants: tuple, slopes: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Gradients by torch's layers: unlike those of the compiled pass, they can be differentiated again."""
    found = zip(layers(*inputs, *constants), slopes, strict=True)
    outputs, slopes = zip(*((part, slope) for part, slope in found if slope is not None), strict=True)
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    gradients = iter(torch.autograd.grad(outputs, wanted, slopes, create_graph=True))
    return [next(gradients) if tensor.requires_grad else None for tensor in inputs]


def _rows(x: Float[Tensor, "n ch h w"]) -> Float[Tensor, "rows w ch"]:
    return x.movedim(1, -1).contiguous().flatten(0, 1)


def _maps(rows: Float[Tensor, "rows w ch"], n: int) -> Float[Tensor, "n ch h w"]:
    return rows.unflatten(0, (n, -1)).movedim(-1, 1)
