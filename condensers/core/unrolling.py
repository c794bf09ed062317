"""The unrolling loop: networks trained on the memory for a few steps are to classify real images.

Per iteration: train the iteration's network on the memory for `window` steps, each of them differentiable in the
pixels; take the cross-entropy of real images; and follow its gradient back through the steps (truncated
back-propagation through time).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, func

from condensers.core.identity import beyond
from condensers.core.loop import Loop, Losses
from condensers.core.recipe import Iterative, Schedule, require_float32
from condensers.core.terms import Context
from condensers.device import augmentation, draws
from condensers.device.augmentation import Draw

Weights = dict[str, Tensor]  # by the parameter's name


@dataclass(frozen=True)
class UnrolledRecipe(Iterative):
    """A bi-level method.

    Attributes:
        window: steps of training that are differentiated.
        lr: rate of these steps.
        momentum: of these steps, whose velocity starts at 0.
    """

    window: int = 10
    lr: float = 0.01
    momentum: float = 0.9
    couples_classes = True
    loop = "unrolling"
    real_passes = 3  # forward, and gradients of activations and weights

    @property
    def synthetic_passes(self) -> int:
        """Eight passes for a step of the window, as for a step of gradient matching."""
        return 8 * self.window

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError for other arithmetic than float32."""
        require_float32(self, schedule)

    def objective(self) -> dict[str, object]:
        """The steps as JSON values."""
        unrolled = {"window": self.window, "lr": self.lr, "momentum": self.momentum}
        return {"unrolled": unrolled, **beyond(self, UnrolledRecipe)}


class Unrolling(Loop):
    """The state of a run of bi-level recipes. Raises ValueError as a `Loop`."""

    def _losses(self, chosen: Int64[Tensor, "C B"], draw: Draw, context: Context) -> Losses:
        images = self._real_images(chosen).flatten(0, 1)
        labels = self.classes.repeat_interleave(chosen.shape[1])
        return {name: self._unrolled(name, images, labels, context) for name in self.sides}

    def _unrolled(self, name: str, real: Tensor, labels: Tensor, context: Context) -> Float[Tensor, ""]:
        recipe, pixels = self.sides[name].recipe, self.sides[name].pixels
        leaf = pixels.detach().requires_grad_()
        trained = self._trained(recipe, leaf, context)
        loss, slopes = self._on_real(trained, real, labels)
        pixels.grad = torch.autograd.grad(list(trained.values()), leaf, slopes)[0]
        return loss

    def _trained(self, recipe: UnrolledRecipe, pixels: Float[Tensor, "C M ch h w"], context: Context) -> Weights:
        """The network's weights after the window, as a function of the pixels."""
        images = recipe.pixels.decode(pixels)
        labels = self.classes.repeat_interleave(images.shape[1])
        weights = {name: p.detach().clone().requires_grad_() for name, p in self.network.named_parameters()}
        velocity = {name: torch.zeros_like(p) for name, p in weights.items()}
        for key in draws.keys(context.key, torch.arange(recipe.window, device=self.device)).split(1):
            batch = self._augmented(images.flatten(0, 1), key)
            loss = F.cross_entropy(self._logits(weights, batch), labels)
            slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            velocity = {name: recipe.momentum * velocity[name] + s for name, s in zip(weights, slopes, strict=True)}
            weights = {name: weight - recipe.lr * velocity[name] for name, weight in weights.items()}
        return weights

    def _augmented(self, images: Float[Tensor, "n ch h w"], key: Int64[Tensor, "1"]) -> Float[Tensor, "n ch h w"]:
        """All images under one operation, with a strength drawn for each, as when a memory is evaluated."""
        numbers = draws.uniform(key, 1 + 3 * len(images))[0]
        numbers = torch.cat((numbers[:1].expand(len(images), 1), numbers[1:].view(-1, 3)), dim=1)
        draw = augmentation.draw(self.schedule.augmentation, numbers, images.shape[-1])
        return augmentation.apply(draw, images[:, None])[:, 0]

    def _on_real(self, weights: Weights, images: Tensor, labels: Tensor) -> tuple[Float[Tensor, ""], list[Tensor]]:
        """The mean loss of real images, and its gradient with respect to the weights; in chunks."""
        ends = {name: weight.detach().requires_grad_() for name, weight in weights.items()}

        def back(part: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
            loss = F.cross_entropy(self._logits(ends, part[0]), part[1], reduction="sum") / len(labels)
            return loss.detach(), *torch.autograd.grad(loss, list(ends.values()))

        size = len(labels) if self.mixes else self.schedule.chunk
        parts = self.lanes.map(back, zip(images.split(size), labels.split(size), strict=True))
        loss, *slopes = (sum(several) for several in zip(*parts, strict=True))
        return loss, slopes

    def _logits(self, weights: Weights, images: Tensor) -> Float[Tensor, "n classes"]:
        return func.functional_call(self.network, weights, images.contiguous(memory_format=torch.channels_last))
