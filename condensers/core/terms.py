"""Terms: what a condenser wants real and synthetic images to have in common.

A term reads one activation (a *tap*) of a network on both sides, reduces the images of every class to a *statistic*,
and measures a *distance* between the two, summed over classes. Statistics of real images do not depend on the
memory, so recipes that run together share them. All functions here are pure and take all classes at once:
`C` classes, `B` real and `M` synthetic images per class.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from search_spaces.compiled import compiles, run

EMBEDDING = "embedding"
VERSION = 2  # part of every config: raise it when a formula here, or a draw of the matching loop, changes
Statistic = Callable[[Tensor], Tensor]
Distance = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Term:
    """One weighted summand of an objective.

    Attributes:
        statistic: activations `[C, B, ...]` of one layer to what is compared, which is not a view of them.
        distance: statistics of the real and of the synthetic side to a scalar.
        weight: its factor in the objective.
        tap: which activations: the final `embedding`, or one per block: `conv`, `norm`, `act` or `block` output.
        real: `mean` if the statistic is a mean over images (it may then be computed in parts), `each` if the
            distance sees every image, `none` if it does not look at real images.
        layers: how the distances of several blocks are combined.
        separable: whether classes can be condensed apart.
    """

    statistic: Statistic
    distance: Distance
    weight: float = 1.0
    tap: str = EMBEDDING
    real: Literal["mean", "each", "none"] = "mean"
    layers: Literal["sum", "mean"] = "sum"
    separable: bool = True

    @property
    def reads(self) -> tuple[str, Statistic, str]:
        """What it needs from an image set; terms that read the same share it."""
        return self.tap, self.statistic, self.real

    def value(self, real: list[Tensor], synthetic: list[Tensor]) -> Float[Tensor, ""]:
        """The weighted distance over all layers."""
        total = sum(self.distance(r, s) for r, s in zip(real, synthetic, strict=True))
        return self.weight * total / (len(synthetic) if self.layers == "mean" else 1)

    def describe(self) -> dict[str, object]:
        """The term as JSON values: part of a memory's config."""
        return {
            "version": VERSION,
            "statistic": self.statistic.__name__,
            "distance": self.distance.__name__,
            "weight": self.weight,
            "tap": self.tap,
            "layers": self.layers,
        }


# Statistics: activations [C, B, ...] to a mean over the B images, or to every image.


def mean_activation(x: Float[Tensor, "C B *rest"]) -> Float[Tensor, "C *rest"]:
    """Mean feature or feature map of the set."""
    return x.mean(1)


def every_image(x: Float[Tensor, "C B d"]) -> Float[Tensor, "C B d"]:
    """Nothing is averaged; a copy, for without gradients the network goes on in place."""
    return x.clone()


def mean_and_deviation(x: Float[Tensor, "C B ch h w"]) -> Float[Tensor, "C 2 ch"]:
    """Channel mean and standard deviation of each image's map, averaged over the set (AdaIN statistics)."""
    mean, variance = _moments(x)
    # The root's slope is infinite at 0, where a dead ReLU channel sits.
    return torch.stack((mean.mean(1), (variance + 1e-5).sqrt().mean(1)), dim=1)


def mean_and_variance(x: Float[Tensor, "C B ch h w"]) -> Float[Tensor, "C 2 ch"]:
    """Channel mean and variance of each image's map, averaged over the set (DDM, Eq. 4 as printed)."""
    mean, variance = _moments(x)
    return torch.stack((mean.mean(1), variance.mean(1)), dim=1)


def gram(x: Float[Tensor, "C B ch h w"]) -> Float[Tensor, "C ch ch"]:
    """Correlation between channels, F F^T / (ch h w), averaged over the set (Gatys et al.; DDM, Eq. 5)."""
    return _Products.apply(x.movedim(2, -1).flatten(2, 3)) / x[0].numel()


def _moments(x: Float[Tensor, "C B ch h w"]) -> tuple[Float[Tensor, "C B ch"], Float[Tensor, "C B ch"]]:
    """Mean and variance over space, as E[x^2] - E[x]^2: 12 times faster on CPU than `torch.var_mean` (measured)."""
    mean, square = _Powers.apply(x.movedim(2, -1).flatten(2, 3))
    return mean, (square - mean.square()).clamp_min(0)


# Both with a gradient of one pass over the maps where autograd's own takes several: with them the gradient of `ours`
# takes 0.75 of the time (CIFAR-10 IPC 10, width 128, CPU time of one thread). Differentiable once.


class _Products(torch.autograd.Function):
    """`map^T map` summed over the images of each class, `[C, B, h * w, ch]` to `[C, ch, ch]`."""

    @staticmethod
    def forward(ctx: FunctionCtx, maps: Tensor) -> Tensor:
        ctx.save_for_backward(maps)
        if maps.device.type != "cpu":
            # Image by image: a single product a class would leave most processors of a GPU without work.
            return (maps.transpose(2, 3) @ maps).sum(1)
        # BLAS has a routine that leaves out half of a symmetric product, 1.5 times as fast; NumPy calls it, torch does
        # not.
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
            # The norm is taken in one pass; squares would be written and read again.
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


# Distances: statistics of both sides to a scalar, summed over classes.


def squared(real: Float[Tensor, "C *rest"], synthetic: Float[Tensor, "C *rest"]) -> Float[Tensor, ""]:
    """Squared distance, summed over everything (DM; also the Gram distance of the authors' code)."""
    return (real - synthetic).square().sum()


def quarter_squared(real: Float[Tensor, "C *rest"], synthetic: Float[Tensor, "C *rest"]) -> Float[Tensor, ""]:
    """DDM, Eq. 6: a quarter of the squared distance between Gram matrices."""
    return squared(real, synthetic) / 4


def half_squared(real: Float[Tensor, "C 2 ch"], synthetic: Float[Tensor, "C 2 ch"]) -> Float[Tensor, ""]:
    """DDM, Eq. 4: half the squared distance of both moments, summed over channels."""
    return squared(real, synthetic) / 2


def half_squared_mean(real: Float[Tensor, "C 2 ch"], synthetic: Float[Tensor, "C 2 ch"]) -> Float[Tensor, ""]:
    """The same, averaged over channels (the authors' code)."""
    return half_squared(real, synthetic) / real.shape[-1]


def half_squared_of_mean_map(
    real: Float[Tensor, "C ch h w"], synthetic: Float[Tensor, "C ch h w"]
) -> Float[Tensor, ""]:
    """Moments of the batch-averaged map, averaged over channels (the authors' code)."""
    return half_squared_mean(mean_and_deviation(real[:, None]), mean_and_deviation(synthetic[:, None]))


def crowding(real: Tensor, synthetic: Float[Tensor, "C M d"]) -> Float[Tensor, ""]:
    """Minus the KL divergence of each image's softmax from that of its nearest neighbours' mean, summed over images.

    DDM, Eq. 8 and 9: k = max(1, round(0.2 M)) neighbours of the same class, itself excluded; 0 for a single image.
    Real images play no part.
    """
    images = synthetic.shape[1]
    if images == 1:
        return synthetic.sum() * 0
    k = max(1, round(0.2 * images))
    return _crowding(synthetic, k)


def mean_crowding(real: Tensor, synthetic: Float[Tensor, "C M d"]) -> Float[Tensor, ""]:
    """Crowding averaged over the images of a class (the authors' code; Eq. 8 sums)."""
    return crowding(real, synthetic) / synthetic.shape[1]


def mean_crowding_of_two(real: Tensor, synthetic: Float[Tensor, "C M d"]) -> Float[Tensor, ""]:
    """Mean crowding with two neighbours at any number of images (the authors' code)."""
    images = synthetic.shape[1]
    if images == 1:
        return synthetic.sum() * 0
    return _crowding(synthetic, min(2, images - 1)) / images


def _crowding(features: Tensor, k: int) -> Tensor:
    with torch.no_grad():
        apart = torch.cdist(features, features)
        apart.diagonal(dim1=1, dim2=2).fill_(float("inf"))
        nearest = apart.topk(k, dim=2, largest=False).indices
    classes = torch.arange(len(features), device=features.device)[:, None, None]
    neighbours = features[classes, nearest].mean(2)
    log_p, log_q = F.log_softmax(features, dim=2), F.log_softmax(neighbours, dim=2)
    return -F.kl_div(log_q, log_p, reduction="sum", log_target=True)


def ridge_readout(
    real: Float[Tensor, "C B d"], synthetic: Float[Tensor, "C M d"], ridge: float = 0.1
) -> Float[Tensor, ""]:
    """Error on real images of a ridge regression fitted to the synthetic ones; it couples the classes.

    One-hot labels less 1/C are regressed on features centred by the real mean and divided by sqrt(d). The squared
    error is summed over outputs, averaged over the real images of a class and summed over classes. Known with
    trained networks and learned labels from KIP, FRePo and RFAD; here beside DM on fresh random networks.
    """
    classes, _, size = synthetic.shape
    center = real.mean((0, 1))
    t, s = ((x.flatten(0, 1) - center) / size**0.5 for x in (real, synthetic))
    targets = torch.eye(classes, device=s.device) - 1 / classes
    kernel = s @ s.T
    kernel = kernel + ridge * kernel.trace() / len(s) * torch.eye(len(s), device=s.device)
    # Unchecked: to check whether the matrix is singular, which the ridge rules out, the host would wait.
    readout = torch.linalg.solve_ex(kernel, targets.repeat_interleave(synthetic.shape[1], 0)).result
    error = (t @ s.T) @ readout - targets.repeat_interleave(real.shape[1], 0)
    return error.square().sum() / real.shape[1]
