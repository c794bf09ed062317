"""Counted work: what a cell will take, known before it runs."""

from dataclasses import dataclass

from condensers.core.cost import TRAINING


@dataclass(frozen=True)
class Work:
    """Counted work; `+` adds the work of two pieces.

    Attributes:
        forward: images through a network without a gradient.
        trained: images through a network and back.
        forward_flop: floating-point operations for the images of `forward`.
        trained_flop: floating-point operations for the images of `trained`.
    """

    forward: int = 0
    trained: int = 0
    forward_flop: float = 0
    trained_flop: float = 0

    @classmethod
    def of(cls, flop: float, forward: int = 0, trained: int = 0) -> "Work":
        """The work on images in a network whose forward pass takes `flop` operations per image."""
        return cls(forward, trained, flop * forward, TRAINING * flop * trained)

    @property
    def flop(self) -> float:
        """All its floating-point operations."""
        return self.forward_flop + self.trained_flop

    @property
    def gflop(self) -> float:
        """All floating-point operations in units of 10^9, in which progress bars count."""
        return self.flop / 1e9

    def __add__(self, other: "Work") -> "Work":
        return Work(*(mine + theirs for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)))


NONE = Work()
