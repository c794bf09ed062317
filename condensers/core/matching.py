"""The matching loop: several recipes in lockstep on one stream of networks, real images and augmentations.

Per iteration: draw a network, draw real images of every class, augment both sides alike, take features of both, add
up each recipe's terms, step each recipe's pixels. The real side is most of the cost and the same for every
recipe, so it is done once; each recipe gets the values that it would get alone.

Every draw is a function of (seed, iteration, class), not of which classes or recipes run together. Work is cut into
chunks of classes to bound memory; the mathematics is that of the loop over classes.
"""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from condensers.core.networks import Images, Run, Source
from condensers.core.reading import Found, concatenate, in_order, merge, of_classes, read
from condensers.core.recipe import Recipe, Schedule
from condensers.core.sampling import Pools, check_enough, initial_images
from condensers.core.side import Side
from condensers.core.terms import EMBEDDING, LOGITS, Context, Reads, Statistics, Term
from condensers.device import augmentation, draws
from condensers.device.augmentation import Draw
from condensers.device.capture import Captured
from condensers.device.images import LabelledImages
from condensers.device.threads import Lanes
from condensers.device.training import Training
from search_spaces import registry

DRAWS = 4  # keys an iteration needs: for the network, the real images, the augmentation, and for terms


class Matching:
    """The state of a lockstep run.

    Args:
        source: the training set, on the device that does the work.
        classes: classes to condense.
        ipc: stored images per class.
        recipes: with different names, and the same networks.
        schedule: what they share.
        seed: names every draw together with iteration and class.

    Raises:
        ValueError: unknown network, augmentation or tap, more images per class than a class has, or recipes that
            cannot run in lockstep.
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
        self.recipes, self.schedule, self.seed = [recipe.at(ipc) for recipe in recipes], schedule, seed
        self.device = source.images.device
        self.classes = torch.tensor(list(classes), device=self.device)
        self.pools = Pools(source, classes)
        check_enough(self.pools.sizes, ipc)
        # Bounded by the smallest class of the whole data set, so that draws do not depend on which classes are here.
        self.batch = min(schedule.real_batch, int(source.labels.unique(return_counts=True)[1].min()))
        network = recipes[0].networks.build(schedule.network, int(source.labels.max()) + 1, source.shape)
        self.network = network.requires_grad_(False).to(device=self.device, memory_format=torch.channels_last)
        self.reader = _in_dtype(self.network, schedule.real_dtype)
        _check_taps(recipes, self.network, schedule.network)
        self.mixes = registry.mixes_samples(schedule.network)
        self.networks = self._begin(list(classes))
        self.sides = self._start(ipc)
        terms = [term for recipe in recipes for term in recipe.terms]
        self.wanted = in_order({reads for term in terms if term.reads_real for reads in term.reads})
        self.reads = {name: in_order(set(side.recipe.reads)) for name, side in self.sides.items()}
        self.followed = self._followed(terms)
        self.averages: dict[tuple, list[Tensor]] = {}
        self.lanes = Lanes(self.device)
        self.iteration = 0
        # The iteration as a tensor: a captured step always reads the same memory, so the number changes in place.
        self._at = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._draws = torch.arange(DRAWS, device=self.device)
        self._captured = Captured(self.device)

    @property
    def pixels(self) -> dict[str, Float[Tensor, "C M ch h w"]]:
        """What each recipe stores, by its name."""
        return {name: side.pixels for name, side in self.sides.items()}

    def step(self) -> dict[str, Float[Tensor, ""]]:
        """One iteration for every recipe; returns each one's loss, on the device; the next step overwrites it."""
        self._begin_iteration()
        losses = self._captured(self._step)
        self.iteration += 1
        return losses

    def gradients(self) -> dict[str, Float[Tensor, ""]]:
        """Losses at the current iteration; leaves their gradients in the pixels' `.grad`."""
        self._begin_iteration()
        return self._gradients()

    def memory(self, recipe: str) -> tuple[Float[Tensor, "n ch h w"], Int64[Tensor, "n"]]:
        """Stored images and labels of a recipe as they stand."""
        pixels = self.sides[recipe].memory(self.iteration)
        return pixels.flatten(0, 1), self.classes.repeat_interleave(pixels.shape[1])

    def decoded(self, recipe: str) -> Images:
        """Decoded images and labels of a recipe as they stand."""
        side = self.sides[recipe]
        images = side.recipe.pixels.decode(side.pixels.detach())
        return images.flatten(0, 1), self.classes.repeat_interleave(images.shape[1])

    def state(self) -> dict[str, Tensor]:
        """Everything a later run needs to go on from here."""
        tensors = {"iteration": torch.tensor(self.iteration)}
        for name, side in self.sides.items():
            tensors |= {f"{part}/{name}": tensor for part, tensor in side.state().items()}
        tensors |= {f"networks/{name}": tensor for name, tensor in self.networks.state().items()}
        for number, layers in enumerate(self.averages.values()):
            tensors |= {f"averages/{number}/{layer}": tensor for layer, tensor in enumerate(layers)}
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a `state`. Raises KeyError or RuntimeError, and changes nothing, if it is not one of this run."""
        # All tensors are checked before any is written: a half-restored run could not be told from a whole one.
        iteration = int(tensors["iteration"])
        found = {name: side.check(_under(tensors, name)) for name, side in self.sides.items()}
        self.networks.restore(
            {name.partition("/")[2]: x for name, x in tensors.items() if name.startswith("networks/")}
        )
        for name, side in self.sides.items():
            side.restore(found[name])
        self._restore_averages(tensors)
        self.iteration = iteration
        self._captured = Captured(self.device)

    def _begin(self, classes: list[int]) -> Source:
        if len({recipe.networks for recipe in self.recipes}) != 1:
            raise ValueError("recipes that are matched on different networks cannot run in lockstep")
        training = Training(augmentation=self.schedule.augmentation, chunk=self.schedule.chunk)
        networks, source = self.recipes[0].networks, self.pools.source
        # Networks must not train on classes of later steps. Where nothing is trained on real images, no copy is needed.
        seen = source.of_classes(classes) if networks.trains_on == "real" else source
        return networks.begin(Run(self.network, seen, training, self.seed))

    def _start(self, ipc: int) -> dict[str, Side]:
        most = ipc * max(recipe.decoded for recipe in self.recipes)
        check_enough(self.pools.sizes, most)
        # A larger draw begins with the images of a smaller one, so all recipes start from the same images.
        real = initial_images(self.pools.source, self.pools, self.classes, most, self.seed)
        iterations, source = self.schedule.iterations, self.pools.source
        return {recipe.name: Side(recipe, real, ipc, iterations, source) for recipe in self.recipes}

    def _begin_iteration(self) -> None:
        self._at.fill_(self.iteration)
        self.networks.advance(self.iteration, lambda: self.decoded(self.recipes[0].name))

    def _step(self) -> dict[str, Float[Tensor, ""]]:
        losses = self._gradients()
        for side in self.sides.values():
            side.step(self._at)
        return losses

    def _gradients(self) -> dict[str, Float[Tensor, ""]]:
        key = draws.keys(draws.key_of(self.seed, "iterations"), self._at)
        _, of_images, of_augmentation, of_terms = draws.keys(key, self._draws).split(1)
        self._load_network()
        numbers = draws.uniform(draws.keys(of_augmentation, self.classes), augmentation.NUMBERS)
        draw = augmentation.draw(self.schedule.augmentation, numbers, self.pools.source.shape[-1])
        chosen = self.pools.draw(draws.keys(of_images, self.classes), self.batch)
        context = Context(self.classes, of_terms)
        chunks = self._chunks(self.batch)
        real = concatenate(self.lanes.map(lambda part: self._real(chosen[part], draw[part], context[part]), chunks))
        return self._losses(real | self._follow(real), draw, context)

    def _load_network(self) -> None:
        self.networks.load(self._at)
        if self.reader is not self.network:
            for rounded, drawn in zip(self.reader.parameters(), self.network.parameters(), strict=True):
                rounded.copy_(drawn)

    def _chunks(self, images_per_class: int) -> list[slice]:
        """Classes that go through together; all of them where the network mixes the images of a batch."""
        classes = len(self.classes)
        size = classes if self.mixes else max(1, self.schedule.chunk // images_per_class)
        return [slice(first, first + size) for first in range(0, classes, size)]

    @torch.no_grad()
    def _real(self, chosen: Int64[Tensor, "C B"], draw: Draw, context: Context) -> Found:
        source = self.pools.source
        images = augmentation.apply(draw, source.normalise(source.images[chosen]))
        parts = images.split(self.batch if self.mixes else self.schedule.chunk, dim=1)
        return merge([read(self.reader, part, self.wanted, context) for part in parts], [x.shape[1] for x in parts])

    @torch.no_grad()
    def _follow(self, real: Found) -> dict[tuple, list[Tensor]]:
        """The moving averages of real statistics that terms ask for, brought to this iteration."""
        for reads, decay in self.followed:
            layers = self.averages.setdefault((*reads, decay), [torch.zeros_like(layer) for layer in real[reads]])
            for average, layer in zip(layers, real[reads], strict=True):
                # At iteration 0 there is no average yet: the weight is then 1, which copies the layer.
                average.lerp_(layer, 1 - decay * (self._at > 0))
        return self.averages

    def _followed(self, terms: Sequence[Term]) -> list[tuple[Reads, float]]:
        """What moving averages are wanted of, in an order that no process decides."""
        found = {(reads, term.decay) for term in terms if term.decay for reads in term.reads}
        return [(reads, decay) for reads in self.wanted for decay in sorted({d for r, d in found if r == reads})]

    def _restore_averages(self, tensors: dict[str, Tensor]) -> None:
        for number, (reads, decay) in enumerate(self.followed):
            names = [name for name in tensors if name.startswith(f"averages/{number}/")]
            layers = [tensors[f"averages/{number}/{layer}"] for layer in range(len(names))]
            if layers:
                self.averages[(*reads, decay)] = [layer.to(self.device) for layer in layers]

    def _losses(self, real: Statistics, draw: Draw, context: Context) -> dict[str, Float[Tensor, ""]]:
        """The losses of all recipes; leaves gradients in the pixels' `.grad`."""
        parts = {}
        for name, side in self.sides.items():
            side.pixels.grad = torch.zeros_like(side.pixels)
            parts[name] = self._chunks(side.ipc * side.recipe.decoded)
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
        """Chain rule by hand: a first pass over chunks gives the statistics of all classes, a second their gradient."""
        side = self.sides[recipe.name]
        pixels = side.pixels.detach()

        @torch.no_grad()
        def known(part: slice) -> Found:
            return self._read(recipe, pixels[part], draw[part], context[part])

        statistics = concatenate(self.lanes.map(known, parts))
        leaves = [x.requires_grad_() for layers in statistics.values() for x in layers]
        loss = recipe.loss(real, statistics)
        slopes = torch.autograd.grad(loss, leaves)

        def back(part: slice) -> None:
            leaf = pixels[part].requires_grad_()
            found = self._read(recipe, leaf, draw[part], context[part])
            outputs = [x for layers in found.values() for x in layers]
            side.pixels.grad[part] = torch.autograd.grad(outputs, leaf, [slope[part] for slope in slopes])[0]

        self.lanes.map(back, parts)
        return loss.detach()

    def _read(self, recipe: Recipe, pixels: Tensor, draw: Draw, context: Context) -> Found:
        images = augmentation.apply(draw, recipe.pixels.decode(pixels))
        return read(self.network, images, self.reads[recipe.name], context)


def _under(tensors: dict[str, Tensor], recipe: str) -> dict[str, Tensor]:
    """The tensors of one recipe, by the part before the slash in their name."""
    return {name.partition("/")[0]: x for name, x in tensors.items() if name.partition("/")[2] == recipe}


def _in_dtype(network: nn.Module, name: str) -> nn.Module:
    """The network itself, or a copy in other arithmetic. Raises ValueError for one that is not supported."""
    if name not in ("float32", "bfloat16"):
        raise ValueError(f"the real branch knows float32 and bfloat16, not {name!r}")
    return network if name == "float32" else copy.deepcopy(network).to(torch.bfloat16)


def _check_taps(recipes: Sequence[Recipe], network: nn.Module, name: str) -> None:
    for recipe in recipes:
        for tap in {term.tap for term in recipe.terms} - {EMBEDDING, LOGITS, *network.TAPS}:
            raise ValueError(f"{recipe.name} taps {tap!r}, which {name} does not have ({', '.join(network.TAPS)})")
