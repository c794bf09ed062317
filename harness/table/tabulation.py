"""A table: its flags resolved into points, each with the plans of its memories and what they are scored with."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from condensers import registry
from harness.core.flags import COMPARED
from harness.core.points import Point, check_points, plan_of
from harness.core.progress import say
from harness.core.queue import Sharing
from harness.core.records import Records
from harness.core.schema import ScoreRow
from harness.core.scoring import scoring_of
from harness.core.settings import Setup, announced, place_of
from harness.table.flags import Table
from scenarios.datasets import Dataset, load
from search_spaces.registry import full_name

DEFAULT = {"dataset": ("digits",), "condensers": COMPARED}
NATURAL, SIZES = ("cifar10", "cifar100", "tinyimagenet"), (1, 10, 50)
OTHERS = ("AlexNet", "VGG11", "ResNet18")
DEFAULT_NETWORK = ""  # stands for the protocol's ConvNet in a preset
# The grids of DDM's tables, as far as products of lists describe them. The user gives Table 3's data sets as folders.
TABLES: dict[int, dict[str, tuple]] = {
    1: {"dataset": NATURAL, "ipc": SIZES, "condensers": ("random", "herding", "forgetting", "dc", "dsa", "dm", "ours")},
    2: {
        "dataset": NATURAL,
        "ipc": SIZES,
        "condensers": ("random", "dm", "ours"),
        "network": ("ResNet18",),
        "test_networks": ("ResNet18",),
    },
    3: {"ipc": (1, 10), "condensers": ("random", "dm", "ours")},
    4: {
        "dataset": ("cifar10",),
        "ipc": (10,),
        "condensers": ("dsa", "dm", "ours"),
        "test_networks": (DEFAULT_NETWORK, *OTHERS),
    },
    5: {
        "dataset": NATURAL,
        "ipc": SIZES,
        "condensers": ("dm", "dm+sm", "datadam", "datadam+sm", "idm", "idm+sm"),
    },
}


@dataclass(frozen=True)
class Tabulation:
    """A table with every default resolved."""

    points: tuple[Point, ...]
    tested: bool
    out: Path
    sharing: Sharing

    @cached_property
    def records(self) -> Records[ScoreRow]:
        """The CSV of the table."""
        return Records(self.out / "results.csv", ScoreRow)


def prepare(config: Table) -> Tabulation:
    """Resolve every default and check every name. Raises ValueError for whatever a user can get wrong."""
    config = _once_each(_with_preset(config))
    device, protocol = place_of(config)
    names = tuple(dict.fromkeys(registry.condenser(name).name for name in config.condensers))
    sets = [_load(config, name) for name in config.dataset]
    points = [point for dataset in sets for point in _points(Setup(config, protocol, device, dataset), names)]
    check_points(points)
    sharing = Sharing(config.storage, config.workers)
    sharing.check()
    label = _plain(Setup(config, protocol, device, sets[0]), iterations=_lengths(config)[0]).label
    say(announced(label, device))
    return Tabulation(tuple(points), not config.validation, config.out, sharing)


def _with_preset(config: Table) -> Table:
    """The flags, with lists that were not given as in --table or else as the command's defaults."""
    preset = TABLES.get(config.table or 0, {})
    if config.table == 3 and not config.dataset:
        raise ValueError(
            "table 3 takes ImageNette and ImageWoof as folders: give --dataset folder:PATH --resolution 128"
        )
    lacking = {name: value for name, value in (DEFAULT | preset).items() if not getattr(config, name)}
    return replace(config, **lacking)


def _once_each(config: Table) -> Table:
    """The flags with every name once; two spellings of a network are one name."""
    lists = ("dataset", "condensers", "ipc", "iterations")
    given = {name: getattr(config, name) for name in lists}
    given |= {name: map(full_name, getattr(config, name)) for name in ("network", "test_networks")}
    return replace(config, **{name: tuple(dict.fromkeys(values)) for name, values in given.items()})


def _plain(setup: Setup, network: str = "", iterations: int | None = None) -> Setup:
    """The setup with one network and one length: settings cannot be read from the several of a table."""
    return replace(setup, flags=replace(setup.flags, network=network or None, iterations=iterations))


def _lengths(config: Table) -> tuple[int | None, ...]:
    """Numbers of iterations; None stands for the protocol's."""
    return config.iterations or (None,)


def _load(config: Table, name: str) -> Dataset:
    dataset = load(name, config.data_root, config.resolution)
    return dataset.hold_out(config.validation) if config.validation else dataset


def _points(setup: Setup, names: tuple[str, ...]) -> list[Point]:
    config = setup.flags
    return [
        Point(
            tuple(plan_of(made, own, ipc, replicate) for replicate in range(config.memories)),
            scoring_of(_plain(setup, tested_on or made_on, length)),
            made.matched_network,
            ipc,
        )
        for ipc in config.ipc or (setup.protocol.memory_per_class,)
        for made_on in config.network or (DEFAULT_NETWORK,)
        for tested_on in config.test_networks or (made_on,)
        for length, own in _by_length(config, names)
        for made in (_plain(setup, made_on, length),)
    ]


def _by_length(config: Table, names: tuple[str, ...]) -> list[tuple[int | None, tuple[str, ...]]]:
    """The lengths, each with its condensers.

    Selections of real images take no iterations, so they are at the first length only. A selection that trains a
    network has the iterations in its key, though it does not use them; at a second length the same memory would be made
    and scored again.
    """
    first, *others = _lengths(config)
    making = tuple(name for name in names if registry.condenser(name).makes_pixels)
    return [(first, names), *((length, making) for length in others if making)]
