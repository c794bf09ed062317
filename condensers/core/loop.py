"""What every loop that moves pixels has in common: draws, recipes in lockstep, steps, and a state to resume from.

Per iteration: fill the network, draw real images of every class and an augmentation for each class, let the subclass
compute each recipe's loss and gradient, step each recipe's pixels.

Every draw is a function of (seed, iteration, class), not of which classes or recipes run together.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from condensers.core.networks import Images, NetworkSource, Run
from condensers.core.recipe import Iterative, Schedule
from condensers.core.sampling import Pools, check_enough, initial_images
from condensers.core.side import Side
from condensers.core.terms import Context
from condensers.device import augmentation, draws
from condensers.device.augmentation import Draw
from condensers.device.capture import Captured
from condensers.device.images import LabelledImages
from condensers.device.threads import Lanes
from condensers.device.training import Training
from search_spaces import registry

DRAWS = 4  # keys an iteration needs: for the network, the real images, the augmentation, and for terms
Losses = dict[str, Float[Tensor, ""]]  # on the device, by the recipe's name


class Loop(ABC):
    """The state of a lockstep run.

    Args:
        source: the training set, on the device that does the work.
        classes: classes to condense.
        ipc: stored images per class.
        recipes: with different names, and the same networks.
        schedule: that of all recipes.
        seed: names every draw together with iteration and class.

    Raises:
        ValueError: unknown network or augmentation, more images per class than a class has, recipes that cannot run
            in lockstep, or one that cannot run by this schedule.
    """

    def __init__(
        self,
        source: LabelledImages,
        classes: Sequence[int],
        ipc: int,
        recipes: Sequence[Iterative],
        schedule: Schedule,
        seed: int,
    ) -> None:
        self.recipes, self.schedule, self.seed = recipes, schedule, seed
        for recipe in recipes:
            recipe.check(schedule)
        self.device = source.images.device
        self.classes = torch.tensor(list(classes), device=self.device)
        # The number that names each class's augmentation draw: 0 for all classes if they share one.
        self.alike = torch.zeros_like(self.classes) if schedule.shared_augmentation else self.classes
        self.pools = Pools(source, classes)
        check_enough(self.pools.sizes, ipc, max(recipe.decoded for recipe in recipes))
        # Bounded by the smallest class of the whole data set, so that draws do not depend on which classes are here.
        self.batch = min(schedule.real_batch, int(source.labels.unique(return_counts=True)[1].min()))
        network = recipes[0].networks.build(schedule.network, int(source.labels.max()) + 1, source.shape)
        self.network = network.requires_grad_(False).to(device=self.device, memory_format=torch.channels_last)
        self.mixes = registry.mixes_samples(schedule.network)
        self.networks = self._begin(list(classes), ipc)
        self.sides = self._start(ipc)
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

    def step(self) -> Losses:
        """Run an iteration of every recipe. Returns the losses, on the device, where the next step overwrites them."""
        self._begin_iteration()
        losses = self._captured(self._step)
        self.iteration += 1
        return losses

    def gradients(self) -> Losses:
        """Losses at the current iteration; leaves their gradients in the pixels' `.grad`."""
        self._begin_iteration()
        return self._gradients()

    def memory(self, recipe: str) -> tuple[Float[Tensor, "n ch h w"], Int64[Tensor, "n"]]:
        """A recipe's stored images and their labels after the iterations done so far."""
        pixels = self.sides[recipe].memory(self.iteration)
        return pixels.flatten(0, 1), self.classes.repeat_interleave(pixels.shape[1])

    def decoded(self, recipe: str) -> Images:
        """A recipe's current pixels decoded to images, and their labels."""
        side = self.sides[recipe]
        images = side.recipe.pixels.decode(side.pixels.detach())
        return images.flatten(0, 1), self.classes.repeat_interleave(images.shape[1])

    def state(self) -> dict[str, Tensor]:
        """Everything a later run needs to go on from here."""
        tensors = {"iteration": torch.tensor(self.iteration)}
        for name, side in self.sides.items():
            tensors |= {f"{part}/{name}": tensor for part, tensor in side.state().items()}
        return tensors | {f"networks/{name}": tensor for name, tensor in self.networks.state().items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a `state`. Raises KeyError or RuntimeError, and changes nothing, if it is not one of this run."""
        # All tensors are checked before any is written: a half-restored run would look like a whole one.
        iteration = int(tensors["iteration"])
        found = {name: side.check(_under(tensors, name)) for name, side in self.sides.items()}
        self.networks.restore(
            {name.partition("/")[2]: x for name, x in tensors.items() if name.startswith("networks/")}
        )
        for name, side in self.sides.items():
            side.restore(found[name])
        self.iteration = iteration
        self._captured = Captured(self.device)

    @abstractmethod
    def _losses(self, chosen: Int64[Tensor, "C B"], draw: Draw, context: Context) -> Losses:
        """The losses of all recipes on the loop's network; leaves gradients in the pixels' `.grad`.

        Args:
            chosen: positions of the iteration's real images, by class.
            draw: the iteration's augmentation of each class.
            context: the classes, and the key of further random numbers.
        """

    def _begin(self, classes: list[int], ipc: int) -> NetworkSource:
        if len({recipe.networks for recipe in self.recipes}) != 1:
            raise ValueError("recipes that are matched on different networks cannot run in lockstep")
        training = Training(augmentation=self.schedule.augmentation, chunk=self.schedule.chunk)
        networks, source = self.recipes[0].networks, self.pools.source
        # Networks must not train on classes of later steps. Where nothing is trained on real images, no copy is needed.
        seen = source.of_classes(classes) if networks.trains_on == "real" else source
        return networks.begin(Run(self.network, seen, training, self.seed, ipc))

    def _start(self, ipc: int) -> dict[str, Side]:
        most = ipc * max(recipe.decoded for recipe in self.recipes)
        # A larger draw begins with the images of a smaller one, so all recipes start from the same images.
        real = initial_images(self.pools.source, self.pools, self.classes, most, self.seed)
        iterations, source = self.schedule.iterations, self.pools.source
        return {recipe.name: Side(recipe, real, ipc, iterations, source) for recipe in self.recipes}

    def _begin_iteration(self) -> None:
        self._at.fill_(self.iteration)
        self.networks.advance(self.iteration, lambda: self.decoded(self.recipes[0].name))

    def _step(self) -> Losses:
        losses = self._gradients()
        for side in self.sides.values():
            side.step(self._at)
        return losses

    def _gradients(self) -> Losses:
        key = draws.keys(draws.key_of(self.seed, "iterations"), self._at)
        _, of_images, of_augmentation, of_terms = draws.keys(key, self._draws).split(1)
        self.networks.load(self._at)
        numbers = draws.uniform(draws.keys(of_augmentation, self.alike), augmentation.NUMBERS)
        draw = augmentation.draw(self.schedule.augmentation, numbers, self.pools.source.shape[-1])
        chosen = self.pools.draw(draws.keys(of_images, self.classes), self.batch)
        for side in self.sides.values():
            side.pixels.grad = torch.zeros_like(side.pixels)
        return self._losses(chosen, draw, Context(self.classes, of_terms))

    def _real_images(self, chosen: Int64[Tensor, "C B"]) -> Float[Tensor, "C B ch h w"]:
        """Normalised real images."""
        return self.pools.source.normalise(self.pools.source.images[chosen])


def _under(tensors: dict[str, Tensor], recipe: str) -> dict[str, Tensor]:
    """The tensors of one recipe, by the part before the slash in their name."""
    return {name.partition("/")[0]: x for name, x in tensors.items() if name.partition("/")[2] == recipe}
