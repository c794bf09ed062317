"""Architecture search spaces as data: what there is to choose from, in a fixed order, and the size of each choice.

Sizes are plain arithmetic: nothing is built, and torch is not imported.

Source of the space of 720 ConvNets: Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching" (2021).
"""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise, product, starmap

from search_spaces.names import unknown

# Written out, not read from the ConvNet's tables: a norm added there must not turn the 720 networks into 864.
CHOICES = {
    "norm": ("NN", "BN", "LN", "IN", "GN"),
    "activation": ("Sigmoid", "ReLU", "LeakyReLU"),
    "pooling": ("None", "Max", "Avg"),
}


@dataclass(frozen=True)
class Architecture:
    """One ConvNet: `depth` blocks of conv 3x3, norm, activation and pooling, each `width` channels wide.

    Raises:
        ValueError: a norm, activation or pooling that no ConvNet has.
    """

    width: int
    depth: int
    norm: str
    activation: str
    pooling: str

    def __post_init__(self) -> None:
        for kind, choices in CHOICES.items():
            if getattr(self, kind) not in choices:
                raise unknown(kind, getattr(self, kind), choices)

    @property
    def name(self) -> str:
        """What `search_spaces.registry.build` builds it from, such as `ConvNet-W128-D3-IN-ReLU-Avg`."""
        return f"ConvNet-W{self.width}-D{self.depth}-{self.norm}-{self.activation}-{self.pooling}"

    def parameters(self, classes: int, shape: tuple[int, int, int]) -> int:
        """Number of trained values for images of `shape` (channels, height, width).

        Raises:
            ValueError: the images are too small for so many poolings.
        """
        *blocks, (_, last) = self._maps(shape)
        return sum(self._block_parameters(*block) for block in blocks) + (self.width * last**2 + 1) * classes

    def macs(self, shape: tuple[int, int, int], classes: int) -> int:
        """Multiply-accumulates of one image's forward pass: convolutions and classifier, half of torch's FLOPs.

        Norms, activations and poolings are left out, as FLOP counters do. A training step is about three times this.

        Raises:
            ValueError: the images are too small for so many poolings.
        """
        *blocks, (_, last) = self._maps(shape)
        return sum(9 * inputs * self.width * side**2 for inputs, side in blocks) + self.width * last**2 * classes

    def activations(self, shape: tuple[int, int, int]) -> int:
        """Values that the layers of all blocks put out for one image.

        Raises:
            ValueError: the images are too small for so many poolings.
        """
        sides = [side for _, side in self._maps(shape)]
        return sum(self.width * (3 * side**2 + pooled**2) for side, pooled in pairwise(sides))

    def _maps(self, shape: tuple[int, int, int]) -> list[tuple[int, int]]:
        """Channels and side of what enters every block, and then of what enters the classifier."""
        maps = [shape[:2]]
        for _ in range(self.depth):
            side = maps[-1][1]
            if side < 2 and self.pooling != "None":
                raise ValueError(f"{self.name} pools a {shape[1]} px image away; use less depth")
            maps.append((self.width, side if self.pooling == "None" else side // 2))
        return maps

    def _block_parameters(self, inputs: int, side: int) -> int:
        # A scale and a shift: for every value of the map in layer norm, for every channel in the other norms.
        scales = {"NN": 0, "LN": self.width * side**2}.get(self.norm, self.width)
        return (9 * inputs + 1) * self.width + 2 * scales


@dataclass(frozen=True)
class Space(Sequence[Architecture]):
    """Every combination of the axes' values; a sequence whose order is part of what its name means.

    Indices count through the axes in the order of the fields, the last one (pooling) fastest.
    """

    name: str
    width: tuple[int, ...]
    depth: tuple[int, ...]
    norm: tuple[str, ...] = CHOICES["norm"]
    activation: tuple[str, ...] = CHOICES["activation"]
    pooling: tuple[str, ...] = CHOICES["pooling"]

    @property
    def axes(self) -> dict[str, tuple]:
        """The values of each axis, in the order of the index."""
        return {field.name: getattr(self, field.name) for field in fields(Architecture)}

    @property
    def least_side(self) -> int:
        """Side in pixels of the smallest images that every architecture can pool."""
        return 2 ** max(self.depth)

    @cached_property
    def _all(self) -> tuple[Architecture, ...]:
        return tuple(starmap(Architecture, product(*self.axes.values())))

    def __len__(self) -> int:
        return math.prod(map(len, self.axes.values()))

    def __getitem__(self, index: int) -> Architecture:
        return self._all[index]

    def index(self, architecture: Architecture) -> int:
        """Where the architecture is: `space[space.index(a)] == a`.

        Raises:
            ValueError: it is not in the space.
        """
        if architecture not in self._all:
            raise ValueError(f"{architecture.name} is not one of the {len(self)} architectures of {self.name}")
        return self._all.index(architecture)

    def subset(self, size: int, seed: int = 0) -> list[Architecture]:
        """The first `size` of one balanced sequence of the whole space, so that a larger subset holds a smaller one.

        Next comes the architecture whose axis values have been used least so far, summed over the axes; a seeded
        shuffle decides ties. Every value of every axis is there as soon as `size` reaches the longest axis; in the
        spaces here the counts of an axis's values never differ by more than 2.

        Args:
            size: number of architectures.
            seed: of the shuffle; each seed has its own sequence.

        Raises:
            ValueError: a size below 1 or above that of the space.
        """
        if not 1 <= size <= len(self):
            raise ValueError(
                f"{self.name} has {len(self)} architectures: a subset of {size} is none, give 1 to {len(self)}"
            )
        left, used, chosen = list(self), Counter(), []
        random.Random(seed).shuffle(left)
        while len(chosen) < size:
            chosen.append(min(left, key=lambda architecture: sum(used[value] for value in vars(architecture).items())))
            left.remove(chosen[-1])
            used.update(vars(chosen[-1]).items())
        return chosen


CONVNETS_720 = Space("convnets-720", width=(32, 64, 128, 256), depth=(1, 2, 3, 4))
# For the 8x8 digits, which three poolings bring to 1x1.
CONVNETS_405 = Space("convnets-405", width=(8, 16, 32), depth=(1, 2, 3))
BUILT_IN = (CONVNETS_720, CONVNETS_405)
SPACES = {space.name: space for space in BUILT_IN}


def add(spaces: Mapping[str, Space]) -> None:
    """Register further search spaces by name. Raises ValueError for a name that is taken or not the space's own."""
    for name, space in spaces.items():
        if not isinstance(space, Space):
            raise TypeError(f"the search space {name!r} is {space!r}; give a Space")
        if name in SPACES or name != space.name:
            raise ValueError(f"the name {name!r} is taken, or not that of the space: give another one")
    SPACES.update(spaces)


def largest_space(side: int) -> Space:
    """The largest search space whose poolings images of `side` pixels allow.

    Raises:
        ValueError: the images are too small for all of them.
    """
    fitting = [space for space in SPACES.values() if space.least_side <= side]
    if not fitting:
        least = min(space.least_side for space in SPACES.values())
        raise ValueError(f"no search space fits images of {side} px: give --resolution {least} or more")
    return max(fitting, key=len)


def space(name: str) -> Space:
    """The search space of that name.

    Raises:
        ValueError: no such space.
    """
    if name not in SPACES:
        raise unknown("search space", name, SPACES)
    return SPACES[name]
