"""Terms: what a condenser wants real and synthetic images to have in common.

A term reads one activation (a *tap*) of a network on both sides, reduces the images of every class to a *statistic*,
and measures a *distance* between the two, summed over classes. Statistics of real images do not depend on the
memory, so recipes that run together share them. All functions here are pure and take all classes at once:
`C` classes, `B` real and `M` synthetic images per class.

Statistics and distances are functions of a module or frozen dataclasses with `__call__`: their whole state is in a
recipe's key (`condensers.core.identity`). What the loop must know of them is in their attributes:

- a statistic that keeps every image, instead of averaging over them, has `per_image = True` (`of_each_image`);
- one that needs class labels or random numbers has `contextual = True` and is called with a `Context` as well
  (`contextual`);
- a distance that couples classes has `couples_classes = True` (`coupling`);
- one that does not look at real images has `reads_real = False` (`of_synthetic_images`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from jaxtyping import Float, Int64
from torch import Tensor

from condensers.core.by_ipc import ByIPC, at_ipc
from condensers.core.identity import beyond, identity
from condensers.device import draws

EMBEDDING, LOGITS, JUDGE = "embedding", "logits", "judge"
FIRST_VERSION = 2  # version 1 had other draws; from here each term counts its own versions
Statistic = Callable[..., Tensor]
Distance = Callable[[Any, Any], Tensor]
Reads = tuple[str, Statistic]  # a tap, and what its activations are reduced to
# A tensor per layer, by (tap, statistic); moving averages by (tap, statistic, decay).
Statistics = Mapping[tuple, Sequence[Tensor]]
NAMED_BLOCKS = ("all", "inner", "last")  # values of `Term.blocks` other than numbers
Function = TypeVar("Function", bound=Callable[..., Tensor])


@dataclass(frozen=True)
class Context:
    """What both sides of an iteration share beside the network.

    Attributes:
        labels: the classes at hand in the data set's numbering, `[C]`.
        key: names the iteration's further random numbers, `[1]`: both sides draw the same ones from it.
        drawn: random numbers that have been drawn from `key`, by how many were asked for.
    """

    labels: Int64[Tensor, "C"]
    key: Int64[Tensor, "1"]
    drawn: dict[int, Float[Tensor, "n"]] = field(default_factory=dict, repr=False, compare=False)

    def __getitem__(self, part: slice) -> "Context":
        """The context of some of the classes."""
        return Context(self.labels[part], self.key, self.drawn)

    def normal(self, n: int) -> Float[Tensor, "n"]:
        """`n` normal random numbers, the same for both sides and all chunks: drawn once, then kept."""
        if n not in self.drawn:
            self.drawn[n] = draws.normal(self.key, n)[0]
        return self.drawn[n]


@dataclass(frozen=True)
class Term:
    """One weighted summand of an objective.

    Attributes:
        statistic: function of one layer's activations `[C, B, ...]`; gives what is compared, a new tensor and not a
            view. Or several such functions: the distance then gets a tuple for each side.
        distance: function of the real and the synthetic statistic; gives a scalar.
        weight: factor in the objective, one number or by images per class (`at` takes the one that holds).
        tap: which activations: the final `embedding`, the `logits`, one per block (`conv`, `norm`, `act` or `block`
            output), or the embedding of a `judge` (`condensers.core.judged`).
        layers: how the distances of several blocks are combined.
        blocks: which blocks count: `all`, `inner` (all but the last), the `last`, or their numbers, from 1.
        decay: of a moving average over iterations that replaces the real statistics; 0 for no average.
        version: part of the key. Raise it when a formula of this term changes: only memories made with it are then
            made anew.

    Raises:
        ValueError: a weight that is none, or blocks or a way to combine layers that do not exist.
    """

    statistic: Statistic | tuple[Statistic, ...]
    distance: Distance
    weight: float | ByIPC[float] = 1.0
    tap: str = EMBEDDING
    layers: Literal["sum", "mean"] = "sum"
    blocks: Literal["all", "inner", "last"] | tuple[int, ...] = "all"
    decay: float = 0.0
    version: int = FIRST_VERSION

    def __post_init__(self) -> None:
        if not isinstance(self.weight, int | float | tuple):
            raise ValueError(f"weight is {self.weight!r}: give a number, or pairs of images per class and a number")
        if self.layers not in ("sum", "mean"):
            raise ValueError(f"layers are {self.layers!r}: give sum or mean")
        numbered = isinstance(self.blocks, tuple)
        if min(self.blocks, default=0) < 1 if numbered else self.blocks not in NAMED_BLOCKS:
            raise ValueError(f"blocks are {self.blocks!r}: give {', '.join(NAMED_BLOCKS)}, or their numbers, from 1")

    @property
    def reads(self) -> tuple[Reads, ...]:
        """The (tap, statistic) pairs that it needs of a set of images; terms with the same pair share its values."""
        several = self.statistic if isinstance(self.statistic, tuple) else (self.statistic,)
        return tuple((self.tap, statistic) for statistic in several)

    def at(self, ipc: int) -> "Term":
        """The term for `ipc` stored images per class, with one number as weight."""
        return replace(self, weight=at_ipc(self.weight, ipc))

    @property
    def couples_classes(self) -> bool:
        """Whether it lets one class influence another that is condensed with it."""
        return getattr(self.distance, "couples_classes", False)

    @property
    def deepest(self) -> int:
        """The last of the blocks that it names by number; 0 if it names none."""
        return max(self.blocks) if isinstance(self.blocks, tuple) else 0

    @property
    def reads_real(self) -> bool:
        """Whether it looks at real images."""
        return getattr(self.distance, "reads_real", True)

    def value(self, real: Statistics, synthetic: Statistics) -> Float[Tensor, ""]:
        """The weighted distance, over all blocks that count."""
        theirs = self._layers(real, self.decay) if self.reads_real else self._layers(synthetic)
        own = self._layers(synthetic)
        total = sum(self.distance(r, s) for r, s in zip(theirs, own, strict=True))
        return self.weight * total / (len(own) if self.layers == "mean" else 1)

    def _layers(self, side: Statistics, decay: float = 0.0) -> list[Tensor | tuple[Tensor, ...]]:
        by_layer = list(zip(*(side[(*reads, decay) if decay else reads] for reads in self.reads), strict=True))
        chosen = self._counted(by_layer)
        return chosen if isinstance(self.statistic, tuple) else [only for (only,) in chosen]

    def _counted(self, by_layer: list[tuple[Tensor, ...]]) -> list[tuple[Tensor, ...]]:
        if isinstance(self.blocks, tuple):
            return [by_layer[block - 1] for block in self.blocks]
        return {"all": by_layer, "inner": by_layer[:-1], "last": by_layer[-1:]}[self.blocks]

    def describe(self) -> dict[str, object]:
        """The term as JSON values: part of a memory's config. Raises TypeError if a part of it has no identity."""
        return {
            "version": self.version,
            "statistic": identity(self.statistic),
            "distance": identity(self.distance),
            "weight": identity(self.weight),
            "tap": self.tap,
            "layers": self.layers,
            # Left out at their defaults, so that memories made before these fields existed keep their keys.
            **({} if self.blocks == "all" else {"blocks": identity(self.blocks)}),
            **({"decay": self.decay} if self.decay else {}),
            **beyond(self, Term),
        }


def of_each_image(statistic: Function) -> Function:
    """Mark a statistic that keeps every image."""
    statistic.per_image = True
    return statistic


def contextual(statistic: Function) -> Function:
    """Mark a statistic that is called with a `Context` as well."""
    statistic.contextual = True
    return statistic


def coupling(distance: Function) -> Function:
    """Mark a distance by which one class influences another, so that they cannot be condensed separately."""
    distance.couples_classes = True
    return distance


def of_synthetic_images(distance: Function) -> Function:
    """Mark a distance that does not look at real images."""
    distance.reads_real = False
    return distance


# What nearly every method needs.


def mean_activation(x: Float[Tensor, "C B *rest"]) -> Float[Tensor, "C *rest"]:
    """Mean feature or feature map of the set."""
    return x.mean(1)


@of_each_image
def every_image(x: Float[Tensor, "C B d"]) -> Float[Tensor, "C B d"]:
    """Each image's feature. Cloned, because without gradients the network's next ReLU overwrites its input."""
    return x.clone()


def squared(real: Float[Tensor, "*rest"], synthetic: Float[Tensor, "*rest"]) -> Float[Tensor, ""]:
    """Squared distance, summed over everything."""
    return (real - synthetic).square().sum()
