"""Grids: the variants that an ablation compares, declared in a method's own file beside its terms."""

from collections.abc import Mapping
from dataclasses import dataclass

from condensers.core.recipe import Condenser


@dataclass(frozen=True)
class Grid:
    """Variants of one thing, which `harness.ablate` condenses in lockstep and compares.

    Attributes:
        name: as users write it.
        description: one line for lists: what varies.
        variants: for each label that tables show, the name of a registered condenser, or a condenser that only this
            grid declares; users can ask for it by its own name, too.
        paper: the figure or table that has this experiment; empty if none has.
        base: the label of the variant that the others are compared with; empty for the first.
    """

    name: str
    description: str
    variants: Mapping[str, str | Condenser]
    paper: str = ""
    base: str = ""

    @property
    def reference(self) -> str:
        """The label of the variant that the others are compared with."""
        return self.base or next(iter(self.variants))
