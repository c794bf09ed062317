"""The matching loop: several recipes in lockstep on one stream of networks, real images and augmentations.

Per iteration: draw a network, draw real images of every class, augment both sides alike, take features of both, add
up each recipe's terms, step each recipe's pixels. The real side is over 90 % of the cost and the same for every
recipe, so it is done once; each recipe gets the values that it would get alone.

Every draw is a function of (seed, iteration, class), not of which classes or recipes run together. Work is cut into
chunks of classes to bound memory; the mathematics is that of the loop over classes.
"""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from condensers.core.terms import EMBEDDING, Term
from condensers.device import augmentation, draws
from condensers.device.augmentation import Draw
from condensers.device.capture import Captured
from condensers.device.images import LabelledImages
from condensers.device.threads import Lanes
from search_spaces import registry

Statistics = dict[tuple, list[Tensor]]  # what a term reads -> one tensor per layer
DRAWS = 3  # of an iteration: the network, the real images, the augmentation


@dataclass(frozen=True)
class Recipe:
    """An objective and how pixels follow it: the whole of a matching method."""

    name: str
    terms: tuple[Term, ...]
    pixel_lr: float = 1.0
    momentum: float = 0.5

    @property
    def separable(self) -> bool:
        """Whether its terms let classes be condensed apart."""
        return all(term.separable for term in self.terms)

    def loss(self, real: Statistics, synthetic: Statistics) -> Float[Tensor, ""]:
        """The objective, summed over the classes at hand."""
        return sum(
            term.value(real.get(term.reads, synthetic[term.reads]), synthetic[term.reads]) for term in self.terms
        )

    def describe(self) -> dict[str, object]:
        """The recipe as JSON values: part of a memory's config."""
        terms = [term.describe() for term in self.terms]
        return {"terms": terms, "pixel_lr": self.pixel_lr, "momentum": self.momentum}


@dataclass(frozen=True)
class Schedule:
    """What recipes in lockstep share. Defaults: DM (Zhao and Bilen, 2023).

    Attributes:
        iterations: steps of the pixels, each with a new network.
        real_batch: real images per class and step (fewer if the data set's smallest class is smaller).
        network: name of the random networks.
        augmentation: DSA strategy; empty for none.
        chunk: images that go through a network at once; bounds memory, changes nothing but rounding.
        real_dtype: arithmetic of the real branch, `float32` or `bfloat16`; its statistics are float32 in any case.
    """

    iterations: int = 20_000
    real_batch: int = 256
    network: str = "ConvNet-W128-D3-IN-ReLU-Avg"
    augmentation: str = "color_crop_cutout_flip_scale_rotate"
    chunk: int = 16
    real_dtype: str = "float32"

    def describe(self) -> dict[str, object]:
        """The schedule as JSON values: part of a memory's config. Without the chunk, which another device has other."""
        return {name: value for name, value in asdict(self).items() if name != "chunk"}


class Pools:
    """The real images of each class, to be drawn from by number."""

    def __init__(self, source: LabelledImages, classes: Sequence[int]) -> None:
        self.source = source
        members = [(source.labels == label).nonzero().squeeze(1) for label in classes]
        self.sizes = [len(member) for member in members]
        self.counts = torch.tensor(self.sizes, device=source.labels.device)
        self.table = nn.utils.rnn.pad_sequence(members, batch_first=True)

    def draw(self, keys: Int64[Tensor, "C"], n: int) -> Int64[Tensor, "C n"]:
        """Positions in the source of `n` different images of each class."""
        return self.table.gather(1, draws.without_replacement(keys, self.counts, max(self.sizes), n))


class Matching:
    """The state of a lockstep run.

    Args:
        source: the training set, on the device that does the work.
        classes: classes to condense.
        ipc: synthetic images per class.
        recipes: objectives with different names.
        schedule: what they share.
        seed: names every draw together with iteration and class.

    Raises:
        ValueError: unknown network, augmentation or tap, or more images per class than a class has.
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
        self.recipes, self.schedule, self.seed = recipes, schedule, seed
        self.device = source.images.device
        self.classes = torch.tensor(list(classes), device=self.device)
        self.pools = Pools(source, classes)
        check_enough(self.pools.sizes, ipc)
        # Of the whole data set, so that a class's draws do not depend on the classes beside it.
        self.batch = min(schedule.real_batch, int(source.labels.unique(return_counts=True)[1].min()))
        network = registry.build(schedule.network, int(source.labels.max()) + 1, source.shape)
        self.network = network.requires_grad_(False).to(device=self.device, memory_format=torch.channels_last)
        self.reader = _in_dtype(self.network, schedule.real_dtype)
        _check_taps(recipes, self.network, schedule.network)
        self.mixes = registry.mixes_samples(schedule.network)
        start = initial_images(source, self.pools, self.classes, ipc, seed)
        self.pixels = {recipe.name: start.clone() for recipe in recipes}
        self.optimizers = {
            recipe.name: torch.optim.SGD([self.pixels[recipe.name]], lr=recipe.pixel_lr, momentum=recipe.momentum)
            for recipe in recipes
        }
        self.lanes = Lanes(self.device)
        self.iteration = 0
        # The iteration as the device sees it: a captured step reads a new number there.
        self._at = torch.zeros(1, dtype=torch.int64, device=self.device)
        self._draws = torch.arange(DRAWS, device=self.device)
        self._captured = Captured(self.device)

    def step(self) -> dict[str, Float[Tensor, ""]]:
        """One iteration for every recipe; returns each one's loss, still on the device and good until the next."""
        self._at.fill_(self.iteration)
        losses = self._captured(self._step)
        self.iteration += 1
        return losses

    def gradients(self) -> dict[str, Float[Tensor, ""]]:
        """Losses at the current iteration; leaves their gradients in the pixels' `.grad`."""
        self._at.fill_(self.iteration)
        return self._gradients()

    def _step(self) -> dict[str, Float[Tensor, ""]]:
        losses = self._gradients()
        for optimizer in self.optimizers.values():
            optimizer.step()
        return losses

    def _gradients(self) -> dict[str, Float[Tensor, ""]]:
        key = draws.keys(draws.key_of(self.seed, "iterations"), self._at)
        of_network, of_images, of_augmentation = draws.keys(key, self._draws).split(1)
        self._draw_network(of_network)
        numbers = draws.uniform(draws.keys(of_augmentation, self.classes), augmentation.NUMBERS)
        draw = augmentation.draw(self.schedule.augmentation, numbers, self.pools.source.shape[-1])
        chosen = self.pools.draw(draws.keys(of_images, self.classes), self.batch)
        chunks = self._chunks(self.batch)
        real = _concatenate(self.lanes.map(lambda part: self._real(chosen[part], draw[part]), chunks))
        return self._losses(real, draw)

    def memory(self, recipe: str) -> tuple[Float[Tensor, "n ch h w"], Int64[Tensor, "n"]]:
        """Images and labels of a recipe as they stand."""
        pixels = self.pixels[recipe].detach()
        return pixels.flatten(0, 1), self.classes.repeat_interleave(pixels.shape[1])

    def state(self) -> dict[str, Tensor]:
        """Everything a later run needs to go on from here."""
        tensors = {"iteration": torch.tensor(self.iteration)}
        for name, pixels in self.pixels.items():
            tensors[f"pixels/{name}"] = pixels.detach()
            buffer = self.optimizers[name].state[pixels].get("momentum_buffer")
            tensors[f"momentum/{name}"] = torch.zeros_like(pixels) if buffer is None else buffer
        return tensors

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a `state`. Raises KeyError or RuntimeError, and changes nothing, if it is not one of this run."""
        # Looked up and shaped before anything is written: half a state would pass for a whole one.
        iteration = int(tensors["iteration"])
        found = {
            name: [tensors[f"{part}/{name}"].to(self.device).view(pixels.shape) for part in ("pixels", "momentum")]
            for name, pixels in self.pixels.items()
        }
        for name, pixels in self.pixels.items():
            pixels.data.copy_(found[name][0])
            self.optimizers[name].state[pixels]["momentum_buffer"] = found[name][1]
        self.iteration = iteration
        self._captured = Captured(self.device)

    def _chunks(self, images_per_class: int) -> list[slice]:
        """Classes that go through together; all of them where the network mixes the images of a batch."""
        classes = len(self.classes)
        size = classes if self.mixes else max(1, self.schedule.chunk // images_per_class)
        return [slice(first, first + size) for first in range(0, classes, size)]

    def _draw_network(self, key: Int64[Tensor, "1"]) -> None:
        draws.draw_network(self.network, key)
        if self.reader is not self.network:
            for rounded, drawn in zip(self.reader.parameters(), self.network.parameters(), strict=True):
                rounded.copy_(drawn)

    @torch.no_grad()
    def _real(self, chosen: Int64[Tensor, "C B"], draw: Draw) -> Statistics:
        wanted = {term.reads for recipe in self.recipes for term in recipe.terms if term.real != "none"}
        source = self.pools.source
        images = augmentation.apply(draw, source.normalise(source.images[chosen]))
        parts = images.split(self.batch if self.mixes else self.schedule.chunk, dim=1)
        return _merge([read(self.reader, part, wanted) for part in parts], [part.shape[1] for part in parts])

    def _losses(self, real: Statistics, draw: Draw) -> dict[str, Float[Tensor, ""]]:
        """The losses of all recipes; leaves gradients in the pixels' `.grad`."""
        for pixels in self.pixels.values():
            pixels.grad = torch.zeros_like(pixels)
        parts = self._chunks(self.pixels[self.recipes[0].name].shape[1])
        apart = [recipe for recipe in self.recipes if recipe.separable or len(parts) == 1]
        # In one go: every map over chunks ends with a wait for the last of them.
        found = self.lanes.map(
            lambda job: self._direct_gradient(*job, real, draw), [(recipe, part) for recipe in apart for part in parts]
        )
        losses = {recipe.name: sum(found[len(parts) * i : len(parts) * (i + 1)]) for i, recipe in enumerate(apart)}
        coupled = (recipe for recipe in self.recipes if recipe not in apart)
        return losses | {recipe.name: self._coupled_gradient(recipe, real, draw, parts) for recipe in coupled}

    def _direct_gradient(self, recipe: Recipe, part: slice, real: Statistics, draw: Draw) -> Float[Tensor, ""]:
        pixels = self.pixels[recipe.name]
        leaf = pixels.detach()[part].requires_grad_()
        statistics = {reads: [x[part] for x in layers] for reads, layers in real.items()}
        loss = recipe.loss(statistics, self._read_synthetic(recipe, leaf, draw[part]))
        pixels.grad[part] = torch.autograd.grad(loss, leaf)[0]
        return loss.detach()

    def _coupled_gradient(self, recipe: Recipe, real: Statistics, draw: Draw, parts: list[slice]) -> Float[Tensor, ""]:
        """Chain rule by hand: statistics of all classes first, then each chunk again with their gradient."""
        pixels = self.pixels[recipe.name].detach()

        @torch.no_grad()
        def known(part: slice) -> Statistics:
            return self._read_synthetic(recipe, pixels[part], draw[part])

        statistics = _concatenate(self.lanes.map(known, parts))
        leaves = [x.requires_grad_() for layers in statistics.values() for x in layers]
        loss = recipe.loss(real, statistics)
        slopes = torch.autograd.grad(loss, leaves)

        def back(part: slice) -> None:
            leaf = pixels[part].requires_grad_()
            outputs = [x for layers in self._read_synthetic(recipe, leaf, draw[part]).values() for x in layers]
            gradient = torch.autograd.grad(outputs, leaf, [slope[part] for slope in slopes])[0]
            self.pixels[recipe.name].grad[part] = gradient

        self.lanes.map(back, parts)
        return loss.detach()

    def _read_synthetic(self, recipe: Recipe, pixels: Tensor, draw: Draw) -> Statistics:
        return read(self.network, augmentation.apply(draw, pixels), {term.reads for term in recipe.terms})


def read(network: nn.Module, images: Float[Tensor, "C b ch h w"], wanted: set[tuple]) -> Statistics:
    """One forward pass of all images; the statistics that terms want of it."""
    # Sorted by name: the order of a set of functions changes from process to process, and with it the rounding.
    ordered = sorted(wanted, key=lambda reads: (reads[0], reads[1].__name__, reads[2]))
    found: Statistics = {reads: [] for reads in ordered}

    def reduce(name: str, activation: Tensor) -> None:
        by_class = activation.float().unflatten(0, images.shape[:2])
        for reads in ordered:
            if reads[0] == name:
                found[reads].append(reads[1](by_class))

    taps = {reads[0]: partial(reduce, reads[0]) for reads in ordered}
    dtype = next(network.parameters()).dtype
    flat = images.flatten(0, 1).to(dtype, memory_format=torch.channels_last)
    reduce(EMBEDDING, network.features(flat, taps))
    return found


def initial_images(
    source: LabelledImages, pools: Pools, classes: Int64[Tensor, "C"], ipc: int, seed: int
) -> Float[Tensor, "C ipc ch h w"]:
    """Random real images of each class: where every recipe starts."""
    chosen = pools.draw(draws.keys(draws.key_of(seed, "initial images"), classes), ipc)
    return source.normalise(source.images[chosen])


def check_enough(sizes: Sequence[int], ipc: int) -> None:
    """Raise ValueError unless every class has `ipc` images."""
    if not 1 <= ipc <= min(sizes):
        raise ValueError(f"{ipc} images per class asked for, but the smallest class has {min(sizes)}")


def _merge(parts: list[Statistics], images: list[int]) -> Statistics:
    """Statistics of parts of each class's images as those of all of them."""
    if len(parts) == 1:
        return parts[0]
    total = sum(images)
    merged: Statistics = {}
    for reads in parts[0]:
        layers = zip(*(part[reads] for part in parts), strict=True)
        if reads[2] == "each":
            merged[reads] = [torch.cat(layer, dim=1) for layer in layers]
        else:
            merged[reads] = [sum(x * (n / total) for x, n in zip(layer, images, strict=True)) for layer in layers]
    return merged


def _concatenate(parts: list[Statistics]) -> Statistics:
    """Statistics of chunks of classes as those of all classes."""
    return {
        reads: [torch.cat(layer) for layer in zip(*(part[reads] for part in parts), strict=True)] for reads in parts[0]
    }


def _in_dtype(network: nn.Module, name: str) -> nn.Module:
    """The network itself, or a copy in other arithmetic. Raises ValueError for one that is not supported."""
    if name not in ("float32", "bfloat16"):
        raise ValueError(f"the real branch knows float32 and bfloat16, not {name!r}")
    return network if name == "float32" else copy.deepcopy(network).to(torch.bfloat16)


def _check_taps(recipes: Sequence[Recipe], network: nn.Module, name: str) -> None:
    for recipe in recipes:
        for tap in {term.tap for term in recipe.terms} - {EMBEDDING, *network.TAPS}:
            raise ValueError(f"{recipe.name} taps {tap!r}, which {name} does not have ({', '.join(network.TAPS)})")
