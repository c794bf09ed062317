"""Counted work: what a cell takes, before it is run."""

from dataclasses import dataclass

from condensers.core.cost import TRAINING


@dataclass(frozen=True)
class Work:
    """Counted work, whose sum is that of several pieces.

    Attributes:
        forward: images through a network without a gradient.
        trained: images through a network and back.
        forward_flop: floating-point operations of the former.
        trained_flop: of the latter.
    """

    forward: int = 0
    trained: int = 0
    forward_flop: float = 0
    trained_flop: float = 0

    @classmethod
    def of(cls, flop: float, forward: int = 0, trained: int = 0) -> "Work":
        """Of images through a network that takes `flop` for the forward pass of one."""
        return cls(forward, trained, flop * forward, TRAINING * flop * trained)

    @property
    def flop(self) -> float:
        """All its floating-point operations."""
        return self.forward_flop + self.trained_flop

    @property
    def gflop(self) -> float:
        """The same in thousand millions, by which time left is foreseen."""
        return self.flop / 1e9

    def __add__(self, other: "Work") -> "Work":
        return Work(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))


NONE = Work()
