"""What a search chooses: the weight of each term of a recipe, and which reading of it to take.

A recipe is taken apart into a condenser and the terms that can be written behind it, such as dm and +mm +cm +icd for
`ours`. So every trial has a name that all commands know, dm+mm-paper:413+cm:8020 for instance.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from condensers import registry
from condensers.core.by_ipc import at_ipc
from condensers.core.recipe import Condenser
from condensers.core.terms import Term

SPREAD = 10.0  # a weight lies between its start divided by this and its start times this
DIGITS = 3  # significant digits of a weight, so that names are short and hold the exact weight
Parameter = str | float


@dataclass(frozen=True)
class Part:
    """A term that is searched.

    Attributes:
        name: as it stands behind the + in the recipe that the search starts from.
        readings: names that may stand in its place, with the weight that each starts from; `name` is among them.
    """

    name: str
    readings: Mapping[str, float]

    def distributions(self, weights: bool) -> dict[str, BaseDistribution]:
        """What Optuna chooses: a factor of the weight, and a reading if there are several."""
        factor = {f"{self.name} factor": FloatDistribution(1 / SPREAD, SPREAD, log=True)} if weights else {}
        several = len(self.readings) > 1
        return factor | ({f"{self.name} reading": CategoricalDistribution([*self.readings])} if several else {})

    def written(self, chosen: Mapping[str, Parameter]) -> str:
        """The term as it stands in a condenser's name."""
        reading = chosen.get(f"{self.name} reading", self.name)
        weight = self.readings[reading] * chosen.get(f"{self.name} factor", 1.0)
        return f"{reading}:{_rounded(weight)}"

    def longest(self) -> str:
        """The longest text that `written` can give."""
        texts = [f"{reading}:{weight}" for reading, start in self.readings.items() for weight in _longest(start)]
        return max(texts, key=len)


@dataclass(frozen=True)
class Space:
    """What a search can choose.

    Attributes:
        base: the condenser that terms are added to.
        parts: the terms that are searched.
        weights: whether their weights are searched.
    """

    base: str
    parts: tuple[Part, ...]
    weights: bool

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """What Optuna chooses, by the names of the parameters."""
        return {name: one for part in self.parts for name, one in part.distributions(self.weights).items()}

    @property
    def start(self) -> dict[str, Parameter]:
        """The parameters of the recipe that the search starts from."""
        factors = {f"{part.name} factor": 1.0 for part in self.parts}
        chosen = factors | {f"{part.name} reading": part.name for part in self.parts}
        return {name: chosen[name] for name in self.distributions}

    def name(self, chosen: Mapping[str, Parameter]) -> str:
        """The name of the condenser with these parameters."""
        return "+".join([self.base, *(part.written(chosen) for part in self.parts)])

    @property
    def longest(self) -> str:
        """The longest name of a trial, also of those in `names`, because names of files have an end."""
        return "+".join([self.base, *(part.longest() for part in self.parts)])

    def names(self, count: int) -> list[str]:
        """The names of so many different trials, to count the work of a batch."""
        factors = SPREAD ** np.linspace(-1, 1, count)
        return [self.name(self.start | {f"{part.name} factor": one for part in self.parts}) for one in factors]

    def describe(self) -> dict[str, object]:
        """The space as JSON values: part of a search's key."""
        parts = [[part.name, dict(part.readings)] for part in self.parts]
        return {"base": self.base, "parts": parts, "spread": SPREAD if self.weights else 1.0}


def space_of(name: str, search: Collection[str], ipc: int) -> Space:
    """The space around a recipe.

    Args:
        name: of the recipe, as users write it.
        search: `weights`, `readings`, or both.
        ipc: stored images per class, on which weights may depend.

    Raises:
        ValueError: an unknown name, or a space with nothing to choose.
    """
    base, terms = _apart(name)
    found = [_part(own, term, ipc, "readings" in search) for own, term in terms]
    space = Space(base, tuple(found), "weights" in search)
    if not space.distributions:
        raise ValueError(f"no term of {name} has another reading: search its weights")
    return space


def _apart(name: str) -> tuple[str, list[tuple[str, Term]]]:
    """The condenser that is left of a recipe without the terms that have names, and these terms by their names.

    If what is left is no known condenser, only the terms that were written behind a + are taken off.
    """
    recipe = registry.condenser(name)
    known = {_bare(terms[0]): name for name, (terms, _) in registry.PLUS.items() if len(terms) == 1}
    found = [(known[_bare(term)], term) for term in recipe.terms if _bare(term) in known] if recipe.takes_terms else []
    rest = [term for term in recipe.terms if _bare(term) not in known] if found else []
    bases = [made.name for made in registry.CONDENSERS.values() if rest and _is_same(made, recipe, rest)]
    if bases:
        return bases[0], found
    base = registry.condenser(name.partition("+")[0])
    added = recipe.terms[len(base.terms) :] if recipe.takes_terms else ()
    if not added or not all(_bare(term) in known for term in added):
        named = " and ".join(f"+{name}" for name, _ in found)
        why = f"without {named} it is no method that is known here; " if rest else ""
        raise ValueError(
            f"no term of {recipe.name} is searched: {why}add some that can be written behind a +, as in datadam+sm, to "
            "a feature-matching method"
        )
    return base.name, [(known[_bare(term)], term) for term in added]


def _bare(term: Term) -> Term:
    """The term at weight 1, to compare terms whatever their weights."""
    return replace(term, weight=1.0)


def _is_same(made: Condenser, recipe: Condenser, terms: Sequence[Term]) -> bool:
    """Whether the recipe, reduced to these terms, is the condenser `made`."""
    called = {"name": made.name, "description": made.description, "paper": made.paper}
    return made.takes_terms and replace(recipe, terms=tuple(terms), **called) == made


def _part(name: str, term: Term, ipc: int, all_readings: bool) -> Part:
    family = next((names for names in registry.READINGS if all_readings and name in names), (name,))
    # The term itself starts from the weight that the recipe gives it, its other readings from their own.
    weights = {other: at_ipc(registry.PLUS[other][0][0].weight, ipc) for other in family}
    weights |= {name: at_ipc(term.weight, ipc)}
    if none := next((other for other, weight in weights.items() if not 0 < weight < math.inf), None):
        raise ValueError(f"+{none} has the weight {weights[none]}, and a search wants one above 0: leave it out")
    return Part(name, weights)


def _longest(start: float) -> Iterator[str]:
    """Weights that a search can reach from a start, the one that takes the most letters among them."""
    low, high = start * (1 / SPREAD), start * SPREAD
    most = (10**DIGITS - 1) / 10 ** (DIGITS - 1)  # 9.99: all digits, below the next power of ten
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    return (_rounded(one) for one in (low, high, *(most * 10.0**power for power in powers)) if low <= one <= high)


def _rounded(weight: float) -> str:
    """The weight as text without an exponent, because the + of an exponent would start another term."""
    return np.format_float_positional(float(f"{weight:.{DIGITS}g}"), trim="-")
