"""The feature-matching loop: several recipes in lockstep on one stream of networks, real images and augmentations.

Per iteration: compute features of real and synthetic images under the same augmentation on the iteration's network, and
add up each recipe's terms; for recipes with views real images are not augmented. The real side is most of the cost and
the same for every recipe, so it is computed once; each recipe gets the values that it would get alone. Chunks of
classes bound the memory; the mathematics is that of a loop over single classes.
"""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from condensers.core.activations import Found, concatenate, in_order, merge, of_classes, read
from condensers.core.identity import identity
from condensers.core.loop import Loop, Losses
from condensers.core.recipe import Recipe, Schedule
from condensers.core.terms import EMBEDDING, LOGITS, Context, Reads, Statistics, Term
from condensers.device import augmentation, draws
from condensers.device.augmentation import Draw
from condensers.device.images import LabelledImages
from search_spaces.forward import depth


class Matching(Loop):
    """The state of a lockstep run of feature-matching recipes.

    Raises ValueError as a `Loop`, and for a tap or a block that the network does not have.
    """

    def __init__(
        self,
        source: LabelledImages,
        classes: Sequence[int],
        ipc: int,
        recipes: Sequence[Recipe],
        schedule: Schedule,
        seed: int,
    ) -> None:
        super().__init__(source, classes, ipc, [recipe.at(ipc) for recipe in recipes], schedule, seed)
        self.reader = _in_dtype(self.network, schedule.real_dtype)
        _check_taps(recipes, self.network, schedule.network)
        _check_blocks(recipes, depth(schedule.network, self.network.classifier.out_features, source.shape))
        terms = [term for recipe in recipes for term in recipe.terms]
        self.wanted = in_order({reads for term in terms if term.reads_real for reads in term.reads})
        self.reads = {name: in_order(set(side.recipe.reads)) for name, side in self.sides.items()}
        self.followed = self._followed(terms)
        self.averages: dict[tuple, list[Tensor]] = {}

    def state(self) -> dict[str, Tensor]:
        """Everything a later run needs to go on from here."""
        tensors = super().state()
        for followed, layers in self.averages.items():
            tensors |= {f"{_name(followed)}/{layer}": tensor for layer, tensor in enumerate(layers)}
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a `state`. Raises KeyError or RuntimeError, and changes nothing, if it lacks what this run has.

        The shape of moving averages is not checked: a checkpoint's name tells networks apart.
        """
        averages = {(*reads, decay): _layers(tensors, _name((*reads, decay))) for reads, decay in self.followed}
        if int(tensors["iteration"]) > 0 and not all(averages.values()):
            raise KeyError("a moving average")
        super().restore(tensors)
        # Copies, because averages are updated in place.
        self.averages = {
            followed: [layer.to(self.device, copy=True) for layer in layers]
            for followed, layers in averages.items()
            if layers
        }

    def _losses(self, chosen: Int64[Tensor, "C B"], draw: Draw, context: Context) -> Losses:
        if self.reader is not self.network:
            for rounded, drawn in zip(self.reader.parameters(), self.network.parameters(), strict=True):
                rounded.copy_(drawn)
        chunks = self._chunks(self.batch)
        real = concatenate(self.lanes.map(lambda part: self._real(chosen[part], draw[part], context[part]), chunks))
        return self._matched(real | self._follow(real), draw, context)

    def _chunks(self, images_per_class: int) -> list[slice]:
        """Classes that go through the network together; all of them if it mixes the images of a batch."""
        classes = len(self.classes)
        size = classes if self.mixes else max(1, self.schedule.chunk // images_per_class)
        return [slice(first, first + size) for first in range(0, classes, size)]

    @torch.no_grad()
    def _real(self, chosen: Int64[Tensor, "C B"], draw: Draw, context: Context) -> Found:
        images = self._real_images(chosen)
        if not self.schedule.views:
            images = augmentation.apply(draw, images)
        parts = images.split(self.batch if self.mixes else self.schedule.chunk, dim=1)
        return merge([read(self.reader, part, self.wanted, context) for part in parts], [x.shape[1] for x in parts])

    @torch.no_grad()
    def _follow(self, real: Found) -> dict[tuple, list[Tensor]]:
        """The moving averages of real statistics that terms ask for, updated by this iteration."""
        for reads, decay in self.followed:
            followed = (*reads, decay)
            if followed not in self.averages:
                self.averages[followed] = [torch.zeros_like(layer) for layer in real[reads]]
            for average, layer in zip(self.averages[followed], real[reads], strict=True):
                # At iteration 0 there is no average yet: the weight is then 1, which copies the layer.
                average.lerp_(layer, 1 - decay * (self._at > 0))
        return self.averages

    def _followed(self, terms: Sequence[Term]) -> list[tuple[Reads, float]]:
        """What terms want moving averages of, with their decay, in the same order in every process."""
        found = {(reads, term.decay) for term in terms if term.decay for reads in term.reads}
        return [(reads, decay) for reads in self.wanted for decay in sorted({d for r, d in found if r == reads})]

    def _matched(self, real: Statistics, draw: Draw, context: Context) -> Losses:
        parts = {name: self._chunks(side.recipe.shown(self.schedule, side.ipc)) for name, side in self.sides.items()}
        apart = [recipe for recipe in self.recipes if not recipe.couples_classes or len(parts[recipe.name]) == 1]
        jobs = [(recipe, part) for recipe in apart for part in parts[recipe.name]]
        # One map for all recipes, because each map ends by waiting for its slowest chunk.
        found = iter(self.lanes.map(lambda job: self._direct_gradient(*job, real, draw, context), jobs))
        losses = {recipe.name: sum(next(found) for _ in parts[recipe.name]) for recipe in apart}
        coupled = [recipe for recipe in self.recipes if recipe not in apart]
        return losses | {
            recipe.name: self._coupled_gradient(recipe, real, draw, context, parts[recipe.name]) for recipe in coupled
        }

    def _direct_gradient(
        self, recipe: Recipe, part: slice, real: Statistics, draw: Draw, context: Context
    ) -> Float[Tensor, ""]:
        pixels = self.sides[recipe.name].pixels
        leaf = pixels.detach()[part].requires_grad_()
        loss = recipe.loss(of_classes(real, part), self._read(recipe, leaf, draw[part], context[part]))
        pixels.grad[part] = torch.autograd.grad(loss, leaf)[0]
        return loss.detach()

    def _coupled_gradient(
        self, recipe: Recipe, real: Statistics, draw: Draw, context: Context, parts: list[slice]
    ) -> Float[Tensor, ""]:
        """Chain rule by hand: one pass over chunks for the statistics of all classes, one for the pixels' gradient."""
        side = self.sides[recipe.name]
        pixels = side.pixels.detach()

        @torch.no_grad()
        def known(part: slice) -> Found:
            return self._read(recipe, pixels[part], draw[part], context[part])

        statistics = concatenate(self.lanes.map(known, parts))
        leaves = [x.requires_grad_() for layers in statistics.values() for x in layers]
        loss = recipe.loss(real, statistics)
        # A block that was read but that no term uses (`Term.blocks`) gets a gradient of zeros.
        slopes = torch.autograd.grad(loss, leaves, materialize_grads=True)

        def back(part: slice) -> None:
            leaf = pixels[part].requires_grad_()
            found = self._read(recipe, leaf, draw[part], context[part])
            outputs = [x for layers in found.values() for x in layers]
            side.pixels.grad[part] = torch.autograd.grad(outputs, leaf, [slope[part] for slope in slopes])[0]

        self.lanes.map(back, parts)
        return loss.detach()

    def _read(self, recipe: Recipe, pixels: Tensor, draw: Draw, context: Context) -> Found:
        images = recipe.pixels.decode(pixels)
        if self.schedule.views:
            keys = draws.keys(context.key, context.labels)
            images = augmentation.views(self.schedule.augmentation, images, self.schedule.views, keys)
        else:
            images = augmentation.apply(draw, images)
        return read(self.network, images, self.reads[recipe.name], context)


def _name(followed: tuple) -> str:
    """Name of the average of (tap, statistic, decay) in a state: no number, which a dropped recipe would shift."""
    tap, statistic, decay = followed
    return f"averages/{tap}/{identity(statistic)}/{decay}"


def _layers(tensors: dict[str, Tensor], name: str) -> list[Tensor]:
    found = {key: tensor for key, tensor in tensors.items() if key.startswith(f"{name}/")}
    return [found[f"{name}/{layer}"] for layer in range(len(found))]


def _in_dtype(network: nn.Module, name: str) -> nn.Module:
    """The network itself, or a copy in other arithmetic. Raises ValueError for arithmetic that is not supported."""
    if name not in ("float32", "bfloat16"):
        raise ValueError(f"the real branch knows float32 and bfloat16, not {name!r}")
    return network if name == "float32" else copy.deepcopy(network).to(torch.bfloat16)


def _check_taps(recipes: Sequence[Recipe], network: nn.Module, name: str) -> None:
    for recipe in recipes:
        for tap in {term.tap for term in recipe.terms} - {EMBEDDING, LOGITS, *network.TAPS}:
            raise ValueError(f"{recipe.name} taps {tap!r}, which {name} does not have ({', '.join(network.TAPS)})")


def _check_blocks(recipes: Sequence[Recipe], depth: int) -> None:
    for recipe in recipes:
        deepest = max(term.deepest for term in recipe.terms)
        if deepest > depth:
            raise ValueError(f"{recipe.name} reads block {deepest}, but the network has {depth}: take a deeper one")
