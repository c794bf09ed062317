"""The gradient-matching loop: synthetic images are to move a network's weights as real ones do.

Per iteration and class: the gradients of the cross-entropy with respect to all weights, one from real and one from
synthetic images under the same augmentation, and a distance between the two, differentiated with respect to the pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from condensers.core.identity import beyond, identity
from condensers.core.loop import Loop, Losses
from condensers.core.recipe import Iterative, Schedule, require_float32
from condensers.core.terms import Context
from condensers.device import augmentation
from condensers.device.augmentation import Draw
from condensers.device.images import LabelledImages
from search_spaces.registry import mixes_samples

Gradients = Sequence[Tensor]  # one for each parameter, in the network's order
Distance = Callable[[Gradients, Gradients], Float[Tensor, ""]]


@dataclass(frozen=True)
class GradientRecipe(Iterative):
    """A gradient-matching method.

    Attributes:
        distance: function of the gradients from real and from synthetic images of one class; gives a scalar.
    """

    distance: Distance
    loop = "gradients"
    real_passes = 3  # forward, and gradients of activations and weights
    synthetic_passes = 8  # counted: these three, and about five more to differentiate them with respect to pixels

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError for networks that mix the images of a batch, and for other arithmetic than float32."""
        if mixes_samples(schedule.network):
            # Here a batch holds one class, so its statistics differ from those of the mixed batches in training.
            raise ValueError(f"{self.name} takes no batch norm, which would see one class only: not {schedule.network}")
        require_float32(self, schedule)

    def objective(self) -> dict[str, object]:
        """The distance as JSON values."""
        return {"gradients": identity(self.distance), **beyond(self, GradientRecipe)}


class GradientMatching(Loop):
    """The state of a lockstep run of gradient-matching recipes. Raises ValueError as a `Loop`."""

    def __init__(
        self,
        source: LabelledImages,
        classes: Sequence[int],
        ipc: int,
        recipes: Sequence[GradientRecipe],
        schedule: Schedule,
        seed: int,
    ) -> None:
        super().__init__(source, classes, ipc, recipes, schedule, seed)
        self.parameters = list(self.network.requires_grad_(True).parameters())

    def _losses(self, chosen: Int64[Tensor, "C B"], draw: Draw, context: Context) -> Losses:
        classes = range(len(self.classes))
        found = self.lanes.map(lambda at: self._class(slice(at, at + 1), chosen, draw), classes)
        return {name: sum(losses[name] for losses in found) for name in self.sides}

    def _class(self, at: slice, chosen: Int64[Tensor, "C B"], draw: Draw) -> Losses:
        """The losses of one class; leaves gradients in its pixels' `.grad`."""
        real = self._real_gradient(augmentation.apply(draw[at], self._real_images(chosen[at]))[0], at)
        return {name: self._synthetic_side(name, real, at, draw[at]) for name in self.sides}

    def _real_gradient(self, images: Float[Tensor, "B ch h w"], at: slice) -> Gradients:
        """The gradient of the mean loss, summed over chunks."""
        parts = [self._gradient(part, at) for part in images.split(self.schedule.chunk)]
        return [sum(layer) / len(images) for layer in zip(*parts, strict=True)]

    def _synthetic_side(self, name: str, real: Gradients, at: slice, draw: Draw) -> Float[Tensor, ""]:
        recipe, pixels = self.sides[name].recipe, self.sides[name].pixels
        leaf = pixels.detach()[at].requires_grad_()
        images = augmentation.apply(draw, recipe.pixels.decode(leaf))[0]
        summed = self._gradient(images, at, create_graph=True)
        loss = recipe.distance(real, [layer / len(images) for layer in summed])
        pixels.grad[at] = torch.autograd.grad(loss, leaf)[0]
        return loss.detach()

    def _gradient(self, images: Float[Tensor, "n ch h w"], at: slice, create_graph: bool = False) -> Gradients:
        """The gradient of the loss, summed over images of one class, with respect to every parameter."""
        logits = self.network(images.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits, self.classes[at].expand(len(images)), reduction="sum")
        return torch.autograd.grad(loss, self.parameters, create_graph=create_graph)
