"""One recipe's synthetic images in a lockstep run: what is stored, and how it follows its gradient."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from condensers.core.recipe import Iterative
from condensers.device.images import LabelledImages


class Side:
    """The stored pixels of a recipe, `[C, M, ch, h, w]`, and the state of their optimiser.

    Args:
        recipe: the recipe that the pixels belong to.
        real: images of each class to start from, at least `M * decoded`, `[C, n, ch, h, w]`.
        ipc: stored images per class, M.
        iterations: of the whole run: a falling rate and an average depend on it.
        source: images whose normalisation the pixels have.
    """

    def __init__(
        self, recipe: Iterative, real: Float[Tensor, "C n ch h w"], ipc: int, iterations: int, source: LabelledImages
    ) -> None:
        self.recipe, self.ipc, self.iterations = recipe, ipc, iterations
        asked = recipe.optimizer
        self.pixels = recipe.pixels.start(real[:, : ipc * recipe.decoded])
        self.optimizer = asked.of(self.pixels, ipc)
        self.first_averaged = iterations - round(asked.average * iterations)
        self.average = self.pixels.detach().clone() if asked.average else None
        self.unit = self._steps_of_unit_pixels(source)
        black, white = (torch.full_like(self.pixels[0, 0], value) for value in (0, 255))
        self.low, self.high = (source.normalise(level.to(torch.uint8)) for level in (black, white))

    def step(self, at: Int64[Tensor, "1"]) -> None:
        """Follow the gradient in the pixels' `.grad`; `at` is the iteration, counted on the device."""
        if self.recipe.optimizer.fall == "cosine":
            # Scale the gradient and not the rate, which a captured step reads only once. Momentum delays it a little.
            self.pixels.grad.mul_((1 + torch.cos(at * (math.pi / self.iterations))) / 2)
        if self.unit is not None:
            self.pixels.grad.mul_(self.unit)
        self.optimizer.step()
        self.recipe.pixels.project(self.pixels, self.low, self.high)
        if self.average is not None:
            behind = (at - self.first_averaged + 1).clamp_min(1)
            self.average.lerp_(self.pixels, 1 / behind)

    def memory(self, iteration: int) -> Float[Tensor, "C M ch h w"]:
        """The pixels after `iteration` steps: their average, if averaging has begun."""
        averaged = self.average is not None and iteration > self.first_averaged
        return (self.average if averaged else self.pixels).detach()

    def state(self) -> dict[str, Tensor]:
        """Everything a later run needs to go on from here."""
        own = {"pixels": self.pixels.detach()} | self._optimizer_state()
        return own if self.average is None else own | {"average": self.average}

    def check(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of a `state` in this side's shape. Raises KeyError or RuntimeError if it is not one."""
        wanted = self.state()
        return {name: tensors[name].to(self.pixels.device).view(tensor.shape) for name, tensor in wanted.items()}

    def restore(self, found: Mapping[str, Tensor]) -> None:
        """Go on from what `check` has found."""
        self.pixels.data.copy_(found["pixels"])
        self.optimizer.state[self.pixels] = {name: found[name] for name in self._names}
        if self.average is not None:
            self.average.copy_(found["average"])

    def _optimizer_state(self) -> dict[str, Tensor]:
        """What the optimiser keeps; before its first step it keeps nothing, which stands for zeros."""
        kept = self.optimizer.state[self.pixels]
        empty = {name: torch.zeros(()) if name == "step" else torch.zeros_like(self.pixels) for name in self._names}
        return {name: empty[name] if kept.get(name) is None else kept[name] for name in self._names}

    def _steps_of_unit_pixels(self, source: LabelledImages) -> Float[Tensor, "ch 1 1"] | None:
        """What gradients are multiplied by if the rate is for pixels from 0 to 1, else None."""
        if not getattr(self.recipe.optimizer, "unit_pixels", False):
            return None
        std = torch.tensor(source.std, device=self.pixels.device)
        return std.square().reciprocal()[:, None, None]

    @property
    def _names(self) -> tuple[str, ...]:
        return self.recipe.optimizer.state
