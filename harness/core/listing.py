"""What `--list` prints: every name a flag takes, from the registries themselves."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from condensers.core.grids import Grid
    from condensers.core.recipe import Condenser
    from search_spaces.spaces import Space


def print_names() -> None:
    """Condensers, proxies, data sets, networks, search spaces, protocols and whole-set trainings, one a line."""
    from condensers import registry
    from condensers.core.leagues import LEAGUES
    from harness.core.protocols import BASELINES, PROTOCOLS, SURVEYS, WHOLE_TRAININGS
    from scenarios.datasets import DATASETS
    from search_spaces.registry import ADDED, EXAMPLES
    from search_spaces.spaces import SPACES

    condensers = [
        (name, f"{text} ({', '.join(traits_of(registry.condenser(name)))})") for name, text in registry.names()
    ]
    _section("Condensers (any recipe takes +TERM[:WEIGHT], such as dm+sm+ridge:30)", condensers)
    _section("Leagues: memories are compared within one", list(LEAGUES.items()))
    added = [(name, "of a plugin") for name in ADDED]
    _section("Their papers", [(name, made.paper) for name, made in registry.CONDENSERS.items() if made.paper])
    _section("Grids of ablate", [(name, _variants(grid)) for name, grid in registry.GRIDS.items()])
    _section("Proxies beside condensers and memory files", list(BASELINES.items()))
    _section("Data sets", [(name, source.description) for name, source in DATASETS.items()])
    _section("Networks (ConvNet-W{width}-D{depth}-{norm}-{activation}-{pooling})", [*EXAMPLES.items(), *added])
    _section("Search spaces", [(name, _axes(space)) for name, space in SPACES.items()])
    _section("Protocols", [(name, _fields(protocol)) for name, protocol in PROTOCOLS.items()])
    _section("Protocols of surveys (nas)", [(name, _fields(SURVEYS[own.name])) for name, own in PROTOCOLS.items()])
    _section(
        "Ways to train on whole data sets, as --recipe or --proxy of nas",
        [(name, training.description) for name, training in WHOLE_TRAININGS.items()],
    )


def _variants(grid: "Grid") -> str:
    from condensers import registry

    paper = f" ({grid.paper})" if grid.paper else ""
    named = [f"{label} = {made.name}" for label, made in registry.variants(grid).items()]
    return f"{grid.description}{paper}: {'; '.join(named)}"


def traits_of(condenser: "Condenser") -> list[str]:
    """What follows from how a condenser is made: league, coupling, decoded images, and what it trains on the way."""
    from condensers.core.recipe import league_of

    apart = condenser.separable("a network whose norm mixes no images")
    traits = [f"{league_of(condenser)} league", *([] if apart else ["couples classes"])]
    traits += [f"decodes {condenser.decoded} images from one"] if condenser.decoded > 1 else []
    memory = condenser.makes_pixels and condenser.networks.trains_on == "synthetic"
    trained = "the memory" if memory else "real images" if condenser.trained_on_real else ""
    return traits + ([f"trains networks on {trained}"] if trained else [])


def _fields(defaults: object) -> str:
    return str(defaults).partition("(")[2][:-1]


def _axes(space: "Space") -> str:
    return "; ".join(f"{axis} {' '.join(map(str, values))}" for axis, values in space.axes.items())


def _section(title: str, rows: list[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    print(title, *(f"  {name:{width}}  {text}" for name, text in rows), "", sep="\n")
