"""Condensers: selections of real images, and recipes by which images are made step by step."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar, Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

from condensers.core.by_ipc import ByIPC, at_ipc
from condensers.core.identity import beyond, changed, identity
from condensers.core.leagues import League, league
from condensers.core.networks import Fresh, Networks
from condensers.core.optimizers import SGD, Optimizer
from condensers.core.pixels import Pixels, Raw
from condensers.core.terms import JUDGE, Reads, Statistics, Term
from search_spaces.registry import identity_of, mixes_samples


@dataclass(frozen=True)
class Schedule:
    """What recipes in lockstep share. Defaults: DM (Zhao and Bilen, 2023).

    Attributes:
        iterations: steps of the pixels.
        real_batch: real images per class and step (fewer if the data set's smallest class is smaller).
        network: name of the networks that are matched on.
        augmentation: DSA strategy; empty for none.
        shared_augmentation: whether an iteration draws one augmentation for all classes; else one for each, as DM does.
        views: augmented copies of each synthetic image, real images not augmented; 0: one augmentation for both sides.
        chunk: images that go through a network at once; bounds memory, changes nothing but rounding.
        real_dtype: arithmetic of the real branch, `float32` or `bfloat16`; its statistics are float32 in any case.
        given: fields that `Iterative.schedule` must not scale: the user set them, or they are scaled already.
    """

    iterations: int = 20_000
    real_batch: int = 256
    network: str = "ConvNet-W128-D3-IN-ReLU-Avg"
    augmentation: str = "color_crop_cutout_flip_scale_rotate"
    shared_augmentation: bool = field(default=False, kw_only=True)
    views: int = field(default=0, kw_only=True)
    chunk: int = 16
    real_dtype: str = "float32"
    given: frozenset[str] = field(default=frozenset(), compare=False)

    def describe(self) -> dict[str, object]:
        """The schedule as JSON values: part of a memory's config. Without the chunk, which differs between devices."""
        # Later fields are left out at their defaults, so that memories made before they existed keep their keys.
        later = [name for name in ("shared_augmentation", "views") if not getattr(self, name)]
        own = {name: value for name, value in asdict(self).items() if name not in ("chunk", "given", *later)}
        return own | {"network": identity_of(self.network)}


FRESH, RAW, STEPS = Fresh(), Raw(), SGD()  # defaults, as in DM


@runtime_checkable
class Condenser(Protocol):
    """What every condenser has.

    One that makes pixels also has the attributes of `Iterative`, a selection also `passes` and `epochs`.
    """

    @property
    def name(self) -> str:
        """As users write it."""

    @property
    def description(self) -> str:
        """One line for lists."""

    @property
    def paper(self) -> str:
        """Authors, title, where and when; empty if it is of no paper."""

    @property
    def makes_pixels(self) -> bool:
        """Whether it makes images; otherwise it picks real ones, which can be stored as positions in the data set."""

    @property
    def trained_on_real(self) -> bool:
        """Whether it uses a network that was trained on real labels."""

    @property
    def decoded(self) -> int:
        """Images that each stored one is decoded to."""

    @property
    def takes_terms(self) -> bool:
        """Whether terms can be added to it by name, as in `dm+sm`."""

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError, before any work, if it cannot run by that schedule."""

    def separable(self, network: str) -> bool:
        """Whether a slice of a memory of all classes equals what condensing those classes alone would make."""

    def schedule(self, base: Schedule, ipc: int) -> Schedule:
        """The schedule that it runs by when a protocol asks for `base`."""

    def describe(self, schedule: Schedule) -> dict[str, object]:
        """All that decides its memories beside data, classes and seed, as JSON values."""


@dataclass(frozen=True)
class Selection:
    """A condenser that picks real images: `select(source, classes, ipc, schedule, seed)` gives their positions.

    `select` may use no field of the schedule but its network, unless it is `trained_on_real`: the key holds no other.

    Attributes:
        passes: how often each real image of the classes goes through a network other than to train it.
        epochs: for which a network is trained on these images.
    """

    name: str
    select: Callable[..., Int64[Tensor, "C ipc"]]
    description: str = ""
    paper: str = ""
    passes: int = field(default=0, kw_only=True)
    epochs: int = field(default=0, kw_only=True)
    makes_pixels = False
    takes_terms = False
    decoded = 1

    @property
    def trained_on_real(self) -> bool:
        """Whether it trains a network on real labels."""
        return self.epochs > 0

    def check(self, schedule: Schedule) -> None:
        """It can always run."""

    def separable(self, network: str) -> bool:
        """True unless a network is trained on all classes at once."""
        return not self.trained_on_real

    def schedule(self, base: Schedule, ipc: int) -> Schedule:
        """The base: selections have no iterations."""
        return base

    def describe(self, schedule: Schedule) -> dict[str, object]:
        """The selection as JSON values: part of a memory's config."""
        shared = schedule.describe() if self.trained_on_real else {"network": identity_of(schedule.network)}
        return {"select": identity(self.select), **shared, **beyond(self, Selection)}


@dataclass(frozen=True)
class Iterative:
    """A condenser that makes images step by step: its networks, its kind of pixels, and their optimiser.

    Attributes:
        name: as users write it.
        networks: which networks the loop works on.
        pixels: what is stored, and how it is decoded to images.
        optimizer: of the pixels.
        iterations: of its paper, one number or by images per class. A protocol that shortens DM's 20,000 shortens these
            in proportion.
        real_batch: of its paper, one number or by images per class; scaled as the protocol scales DM's 256.
        augments: whether images are augmented while it works.
        shares_augmentation: whether all classes of an iteration share one augmentation. Set it for terms that compare
            classes: if each class had its own augmentation, a readout could recognise the class by that.
        description: one line for lists.
        paper: authors, title, where and when.
        loop: what runs it, a key of `condensers.condense.LOOPS`.
        real_passes: work of an iteration for each real image, in forward passes of the network.
        synthetic_passes: the same for each decoded image.
        takes_terms: whether terms can be added to it by name.
    """

    name: str
    networks: Networks = field(default=FRESH, kw_only=True)
    pixels: Pixels = field(default=RAW, kw_only=True)
    optimizer: Optimizer = field(default=STEPS, kw_only=True)
    iterations: int | ByIPC[int] = field(default=Schedule.iterations, kw_only=True)
    real_batch: int | ByIPC[int] = field(default=Schedule.real_batch, kw_only=True)
    augments: bool = field(default=True, kw_only=True)
    shares_augmentation: bool = field(default=False, kw_only=True)
    description: str = field(default="", kw_only=True)
    paper: str = field(default="", kw_only=True)
    makes_pixels = True
    takes_terms = False
    couples_classes = False
    loop: ClassVar[str]
    real_passes: ClassVar[float]
    synthetic_passes: ClassVar[float]

    @property
    def decoded(self) -> int:
        """Images that each stored one is decoded to."""
        return self.pixels.decoded

    @property
    def trained_on_real(self) -> bool:
        """Whether its networks are trained on real images."""
        return self.networks.trains_on == "real"

    def shown(self, schedule: Schedule, ipc: int) -> int:
        """Images of a class that a network sees for `ipc` stored ones: decoded, and copied into views."""
        return ipc * self.decoded * max(1, schedule.views)

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError, before any work, if it cannot run by that schedule."""

    def separable(self, network: str) -> bool:
        """True if neither terms, nor norms, nor the training of its networks let one class influence another."""
        return not self.couples_classes and self.networks.trains_on == "nothing" and not mixes_samples(network)

    def schedule(self, base: Schedule, ipc: int) -> Schedule:
        """Its paper's schedule, shortened as `base` shortens DM's; fields in `base.given` stay as they are."""
        sizes = {
            name: max(1, round(getattr(base, name) * at_ipc(getattr(self, name), ipc) / getattr(Schedule, name)))
            for name in ("iterations", "real_batch")
            if name not in base.given and getattr(base, name)
        }
        augmentation = base.augmentation if self.augments else ""
        settled = frozenset(("iterations", "real_batch"))
        shared = self.shares_augmentation
        return replace(base, **sizes, augmentation=augmentation, shared_augmentation=shared, given=settled)

    def objective(self) -> dict[str, object]:
        """What it minimises, as JSON values."""
        raise NotImplementedError

    def describe(self, schedule: Schedule) -> dict[str, object]:
        """The condenser as JSON values: part of a memory's config."""
        own = {name: value for name, value in changed(self).items() if name in ("networks", "pixels")}
        return {**self.optimizer.describe(), **own, **schedule.describe(), **self.objective()}


@dataclass(frozen=True)
class Recipe(Iterative):
    """A feature-matching method: weighted terms of the activations of real and synthetic images.

    Attributes:
        terms: the objective.
        views: augmented copies of each synthetic image, an even number, each with another draw, or in mirrored pairs if
            the augmentation flips; real images are not augmented. 0: one augmentation for both sides.

    Raises:
        ValueError: an odd or negative number of views; views beside a shared augmentation, or without augmentation.
    """

    terms: tuple[Term, ...]
    views: int = field(default=0, kw_only=True)
    takes_terms = True
    loop = "matching"
    real_passes = 1

    def __post_init__(self) -> None:
        if not isinstance(self.views, int) or self.views < 0 or self.views % 2:
            raise ValueError(f"{self.name} has {self.views!r} views: give an even number, or 0 for none")
        if self.views and (self.shares_augmentation or not self.augments):
            raise ValueError(f"{self.name} has views: leave out shares_augmentation and augments")

    @property
    def reads(self) -> list[Reads]:
        """The (tap, statistic) pairs that its terms need of a set of images."""
        return [reads for term in self.terms for reads in term.reads]

    @property
    def couples_classes(self) -> bool:
        """Whether a term lets one class influence another."""
        return any(term.couples_classes for term in self.terms)

    @property
    def synthetic_passes(self) -> int:
        """Forward pass and gradient for every view, in the judge as well if a term reads it.

        If classes are coupled, one more forward pass first finds the statistics of all classes.
        """
        networks = 1 + any(term.tap == JUDGE for term in self.terms)
        return max(1, self.views) * networks * (2 + self.couples_classes)

    def check(self, schedule: Schedule) -> None:
        """Raise ValueError if there is no term, or if there are views but no augmentation to make them differ."""
        if not self.terms:
            raise ValueError(f"{self.name} has no terms: give it at least one")
        if self.views and not schedule.augmentation:
            raise ValueError(f"{self.name} has views: give the schedule an augmentation")

    def schedule(self, base: Schedule, ipc: int) -> Schedule:
        """The schedule that `Iterative` gives, with the recipe's views."""
        return replace(super().schedule(base, ipc), views=self.views)

    def at(self, ipc: int) -> "Recipe":
        """The recipe for `ipc` stored images per class, with one number as the weight of each term."""
        return replace(self, terms=tuple(term.at(ipc) for term in self.terms))

    def plus(self, added: str, *terms: Term) -> "Recipe":
        """The recipe with further terms, named by its name, a `+` and `added`; the sum has no paper."""
        return replace(self, name=f"{self.name}+{added}", terms=self.terms + terms, description="", paper="")

    def loss(self, real: Statistics, synthetic: Statistics) -> Float[Tensor, ""]:
        """The objective, summed over the classes at hand."""
        return sum(term.value(real, synthetic) for term in self.terms)

    def objective(self) -> dict[str, object]:
        """The terms as JSON values."""
        return {"terms": [term.describe() for term in self.terms], **beyond(self, Recipe)}


def require_float32(recipe: Iterative, schedule: Schedule) -> None:
    """Raise ValueError if the schedule asks for other arithmetic: only feature matching has it."""
    if schedule.real_dtype != "float32":
        raise ValueError(f"{recipe.name} computes in float32 only: leave out --precision")


def league_of(condenser: Condenser) -> League:
    """The league of a condenser's memories; their labels are always hard."""
    return league(1, condenser.decoded, condenser.trained_on_real)


def in_lockstep(recipes: Sequence[Iterative], base: Schedule, ipc: int) -> list[list[Iterative]]:
    """The recipes that can share networks and real images, group by group, each group in the place of its first recipe.

    Recipes whose networks are trained on their own memory run alone.
    """
    groups: dict[object, list[Iterative]] = {}
    for recipe in recipes:
        alone = recipe.name if recipe.networks.trains_on == "synthetic" else None
        groups.setdefault((recipe.loop, recipe.schedule(base, ipc), recipe.networks, alone), []).append(recipe)
    return list(groups.values())
