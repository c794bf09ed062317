"""Condensers by name: the selections, the matching recipes, and sums of terms such as `dm+sm+ridge:30`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite

from jaxtyping import Int64
from torch import Tensor

from condensers.core.matching import Recipe
from condensers.core.terms import Term
from condensers.methods import ddm, dm, herding, random, readouts
from search_spaces.names import unknown


@dataclass(frozen=True)
class Selection:
    """A condenser that picks real images: `select(source, classes, ipc, schedule, seed)` gives their positions."""

    name: str
    select: Callable[..., Int64[Tensor, "C ipc"]]
    separable: bool = True
    trained_on_real: bool = False

    def describe(self) -> dict[str, object]:
        """The selection as JSON values: part of a memory's config."""
        return {"select": self.select.__name__}


Condenser = Recipe | Selection

SELECTIONS = {
    "random": (Selection("random", random.random), "random real images"),
    "herding": (
        Selection("herding", herding.herding),
        "real images near the class mean, random-network features",
    ),
    "herding-trained": (
        Selection("herding-trained", herding.herding_trained, separable=False, trained_on_real=True),
        "the same in the features of a network trained on the real images",
    ),
}
RECIPES: dict[str, tuple[tuple[Term, ...], str]] = {
    "dm": ((dm.MEAN_MATCH,), "distribution matching: class means of random-network features"),
    "ours": (ddm.DEFAULT.objective, "decomposed DM, provisional reading: style + diversity + DM"),
    "ddm": (ddm.DEFAULT.objective, "the same as ours"),
    "ddm-paper": (ddm.PAPER.objective, "decomposed DM, the paper's equations to the letter"),
    "ddm-code": (ddm.CODE.objective, "decomposed DM, as the authors' code computes it"),
}
PLUS: dict[str, tuple[tuple[Term, ...], str]] = {
    "mm": ((ddm.DEFAULT.mm,), "moments of feature maps"),
    "cm": ((ddm.DEFAULT.cm,), "correlations of feature maps (Gram)"),
    "sm": ((ddm.DEFAULT.mm, ddm.DEFAULT.cm), "style: mm and cm"),
    "icd": ((ddm.DEFAULT.icd,), "intra-class diversity"),
    "ridge": ((dm.RIDGE,), "ridge readout; couples the classes condensed together"),
}
# Known by name, listed nowhere: readings on trial for the lead recipe.
TRIALS: dict[str, tuple[Term, ...]] = {
    "b4": (readouts.of_blocks(),),
    "b4r03": (readouts.of_blocks(ridge=0.03),),
    "b4r3": (readouts.of_blocks(ridge=0.3),),
    "b2": (readouts.of_blocks(side=2),),
    "b8": (readouts.of_blocks(side=8),),
    "b4u": (readouts.of_blocks(unit=True),),
    "b4ce": (readouts.of_blocks(loss="entropy"),),
    "b4ce25": (readouts.of_blocks(loss="entropy", scale=25.0),),
    "b4rev": (readouts.of_blocks(direction="reverse"),),
    "b4revce": (readouts.of_blocks(direction="reverse", loss="entropy"),),
}
ALIASES = {"ddm": "ours"}


def condenser(name: str) -> Condenser:
    """The condenser of that name: a registered one, or `BASE+TERM[:WEIGHT]...` with a recipe as base.

    The weight replaces the term's own. Raises ValueError on unknown names and on weights that are not numbers.
    """
    base, *extras = name.split("+")
    if base in SELECTIONS and not extras:
        return SELECTIONS[base][0]
    if base not in RECIPES and base != "bare":
        raise unknown("condenser", name, [*SELECTIONS, *RECIPES, *(f"dm+{term}" for term in PLUS)])
    terms = RECIPES[base][0] if base in RECIPES else ()
    for extra in extras:
        terms += _extra(extra)
    if not terms:
        raise ValueError(f"{name!r} has no terms: write bare+TERM")
    return Recipe("+".join([ALIASES.get(base, base), *extras]), terms)


def names() -> list[tuple[str, str]]:
    """Every registered name with its description, for lists and for the contract tests."""
    own = [(name, text) for name, (_, text) in (SELECTIONS | RECIPES).items()]
    return own + [(f"dm+{name}", f"dm and {text}") for name, (_, text) in PLUS.items()]


def _extra(text: str) -> tuple[Term, ...]:
    name, colon, weight = text.partition(":")
    if name not in PLUS and name not in TRIALS:
        raise unknown("term", name, PLUS)
    known = PLUS[name][0] if name in PLUS else TRIALS[name]
    try:
        terms = tuple(replace(term, weight=float(weight)) if colon else term for term in known)
    except ValueError as error:
        raise ValueError(f"the weight in {text!r} is not a number: write {name}:NUMBER") from error
    if not all(isfinite(term.weight) for term in terms):
        raise ValueError(f"the weight in {text!r} is not finite: write {name}:NUMBER")
    return terms
