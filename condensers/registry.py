"""Condensers by name: those of `condensers.methods`, and sums of terms such as `dm+sm+ridge:30`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf

from condensers.core.grids import Grid
from condensers.core.identity import identity
from condensers.core.pixels import pixels_of
from condensers.core.recipe import Condenser, Schedule
from condensers.core.terms import Term
from condensers.methods import (
    blockwise,
    bptt,
    cafe,
    cf,
    datadam,
    dc,
    ddm,
    ddm_grids,
    ddm_released,
    dm,
    dsdm,
    forgetting,
    hdd,
    herding,
    idm,
    iid,
    kcenter,
    m3d,
    random,
    readouts,
    selftrained,
    views,
    whitening,
)
from search_spaces.names import unknown

SELECTIONS = (random, herding, kcenter, forgetting)
MAKERS = (dm, readouts, blockwise, views, ddm, ddm_released, m3d, datadam, hdd, cf, dsdm, idm, iid, cafe)
TRAINERS = (selftrained, dc, bptt)
METHODS = SELECTIONS + MAKERS + TRAINERS
PARTS = (ddm_grids, whitening)  # modules of terms and grids, without condensers
CONDENSERS: dict[str, Condenser] = {made.name: made for method in METHODS for made in method.CONDENSERS}
ALIASES = {"ddm": "ours"}
# Terms that can be added to any recipe by name, and their description in lists.
Plus = tuple[tuple[Term, ...], str]
PLUS: dict[str, Plus] = {}
GRIDS: dict[str, Grid] = {}
VARIANTS: dict[str, Condenser] = {}  # condensers that only grids declare, by name
READINGS: list[tuple[str, ...]] = []  # each tuple: names of terms that are alternatives to each other


def add(
    condensers: Iterable[Condenser] = (),
    plus: Mapping[str, Plus] | None = None,
    grids: Iterable[Grid] = (),
    readings: Iterable[tuple[str, ...]] = (),
) -> None:
    """Register further condensers, terms that can be added to any recipe, grids, and groups of alternative terms.

    Raises:
        ValueError: a name that is taken, unknown, or not made of small letters, digits and hyphens; pixels of a kind
            that `condensers.core.pixels.pixels_of` does not know; a grid whose base is none of its variants; or an
            alternative that adds several terms.
        TypeError: a function or constant without identity (`condensers.core.identity`), or a value of `plus` that
            is not terms and a text.
    """
    condensers, plus = list(condensers), plus or {}
    for made in condensers:
        if not isinstance(made, Condenser):
            raise TypeError(f"{made!r} is no condenser: give a Recipe, a Selection, or another class of condensers")
    given = [*(made.name for made in condensers), *plus]
    for name in given:
        if name in CONDENSERS or name in ALIASES or name in PLUS or given.count(name) > 1:
            raise ValueError(f"the name {name!r} is taken: give the condenser or term another one")
        if not re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", name):
            raise ValueError(f"the name {name!r} cannot be written in a sum: use small letters, digits and hyphens")
    for made in condensers:
        made.describe(Schedule())
        if made.makes_pixels:
            pixels_of(identity(made.pixels))
    for name, value in plus.items():
        _check_plus(name, value)
    CONDENSERS.update((made.name, made) for made in condensers)
    PLUS.update(plus)
    for names in readings:
        _add_readings(names)
    for one in grids:
        _add_grid(one)


def grid(name: str) -> Grid:
    """The grid of that name. Raises ValueError on an unknown one."""
    if name not in GRIDS:
        raise unknown("grid", name, GRIDS)
    return GRIDS[name]


def variants(grid: Grid) -> dict[str, Condenser]:
    """A grid's condensers by their labels."""
    return {label: condenser(one) if isinstance(one, str) else one for label, one in grid.variants.items()}


def condenser(name: str) -> Condenser:
    """The condenser of that name: a registered one, or `BASE+TERM[:WEIGHT]...` with a recipe as base.

    The weight replaces the term's own. Raises ValueError on unknown names, on a base that takes no terms, and on
    weights that are not finite and above 0.
    """
    if name in VARIANTS:
        return VARIANTS[name]
    base, *extras = name.split("+")
    found = VARIANTS.get(base) or CONDENSERS.get(ALIASES.get(base, base))
    if found is None:
        raise unknown("condenser", name, known())
    if extras and not found.takes_terms:
        raise ValueError(f"{found.name} takes no terms; add them to a feature-matching method, as in dm+{extras[0]}")
    if not extras:
        return found
    return found.plus("+".join(extras), *(term for extra in extras for term in _extra(extra)))


def known() -> list[str]:
    """Names for messages: all condensers and aliases, and for each term its sum with `dm` as an example."""
    return [*CONDENSERS, *ALIASES, *(f"dm+{term}" for term in PLUS)]


def names() -> list[tuple[str, str]]:
    """Every name with its description, for lists and for the contract tests."""
    own = [(name, made.description) for name, made in CONDENSERS.items()]
    own += [(alias, f"the same as {name}") for alias, name in ALIASES.items()]
    return own + [(f"dm+{name}", f"dm and {text}") for name, (_, text) in PLUS.items()]


def _add_grid(grid: Grid) -> None:
    if grid.name in GRIDS:
        raise ValueError(f"the name {grid.name!r} is taken: give the grid another one")
    if grid.reference not in grid.variants:
        raise ValueError(f"the grid {grid.name} is compared with {grid.reference!r}, which is none of its variants")
    for one in grid.variants.values():
        made = condenser(one) if isinstance(one, str) else one
        made.describe(Schedule())
        if _is_another(made):
            raise ValueError(f"the name {made.name!r} is taken: give the variant of {grid.name} another one")
        if one is made:
            VARIANTS[made.name] = made
    GRIDS[grid.name] = grid


def _is_another(made: Condenser) -> bool:
    """Whether the condenser's name already stands for another one."""
    try:
        return condenser(made.name) != made
    except ValueError:
        return False


def _add_readings(names: tuple[str, ...]) -> None:
    for name in names:
        if name not in PLUS:
            raise unknown("term", name, PLUS)
        if len(PLUS[name][0]) > 1:
            raise ValueError(f"{name!r} adds several terms: name each of them by itself among readings")
    READINGS.append(names)


def _check_plus(name: str, value: object) -> None:
    match value:
        case ((Term(), *_) as terms, str()) if all(isinstance(term, Term) for term in terms):
            for term in terms:
                term.describe()
        case _:
            raise TypeError(f'PLUS[{name!r}] is {value!r}; give a tuple of terms, and a text: ((Term(...),), "text")')


def _extra(text: str) -> tuple[Term, ...]:
    name, colon, weight = text.partition(":")
    if name not in PLUS:
        raise unknown("term", name, PLUS)
    try:
        terms = tuple(replace(term, weight=float(weight)) if colon else term for term in PLUS[name][0])
    except ValueError as error:
        raise ValueError(f"the weight in {text!r} is not a number: write {name}:NUMBER") from error
    if colon and not all(0 < term.weight < inf for term in terms):
        raise ValueError(f"the weight in {text!r} is not above 0 and finite: write {name}:NUMBER")
    return terms


for _part in METHODS + PARTS:
    add(plus=getattr(_part, "PLUS", {}))
for _part in PARTS + METHODS:
    add(grids=getattr(_part, "GRIDS", ()), readings=getattr(_part, "READINGS", ()))
