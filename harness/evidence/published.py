"""Published numbers, and what a measured one says of them.

`published.csv` has a line for each: percent on the test set, by the name that the condenser has here. Lines that are
not comparable come from another evaluation than section 4 of DM's, as DDM's random and herding rows do.
"""

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from condensers.device.training import Training
from harness.evidence.intervals import Interval
from search_spaces.registry import default_depth

MEMORIES, NETWORKS, HALF_WIDTH = 3, 5, 0.01  # what a verdict needs at least, and at most
PAPER = Training()  # its defaults are DM's evaluation
CONVNET = "ConvNet"
FILE = Path(__file__).with_name("published.csv")
SIDES = {"cifar10": 32, "cifar100": 32, "tinyimagenet": 64}  # pixels of the images in papers


@dataclass(frozen=True)
class Published:
    """A published accuracy.

    Attributes:
        value: as a fraction.
        said: in percent with its deviation, and where it stands.
        comparable: whether it comes from DM's evaluation.
    """

    value: float
    said: str
    comparable: bool


def published(dataset: str, side: int, ipc: int, condenser: str, trained_on: str, tested_on: str) -> Published | None:
    """The first number of a point in the order of the file, or None: of images of their own size, `side` in pixels.

    Networks are named as in commands. The ConvNet that condensed may have any width: how long and on how wide networks
    a memory was condensed is the recipe's own business, and the evaluation is what makes numbers comparable.
    """
    if SIDES.get(dataset) != side:
        return None
    point = (dataset, str(ipc), condenser, _family(trained_on, side), _short(tested_on, side))
    return next((found for key, found in _all() if key == point), None)


def published_of(condenser: str) -> list[dict[str, str]]:
    """The lines of the file that are about a condenser, by its columns."""
    return [line for line in _lines() if line["condenser"] == condenser]


def verdict(measured: Interval, networks: int, training: Training, found: Published | None, tested: bool = True) -> str:
    """What a measurement says of a published number, by the rule that `python -m harness.table --help` prints.

    Args:
        measured: over memories, as fractions.
        networks: of each memory.
        training: of these networks.
        found: the published number; an empty verdict if there is none.
        tested: whether this was on the test set.
    """
    if found is None:
        return ""
    enough = measured.n >= MEMORIES and networks >= NETWORKS and tested
    if not enough or training.describe() != PAPER.describe():
        return "not run"
    if not found.comparable:
        return "other evaluation"
    if measured.low > found.value:
        return "exceeded"
    narrow = (measured.high - measured.low) / 2 <= HALF_WIDTH
    return "reproduced" if narrow and found.value <= measured.high else "not reproduced"


def _short(network: str, side: int) -> str:
    """The field's default ConvNet for such images as papers call it; others by their own name."""
    return CONVNET if network == f"ConvNet-W128-D{default_depth(side)}-IN-ReLU-Avg" else network


def _family(network: str, side: int) -> str:
    """Likewise, of any width."""
    return _short(re.sub(r"-W\d+-", "-W128-", network), side)


@cache
def _all() -> list[tuple[tuple[str, ...], Published]]:
    return [(_point(line), _published(line)) for line in _lines()]


@cache
def _lines() -> list[dict[str, str]]:
    with FILE.open(newline="") as file:
        return list(csv.DictReader(file))


def _point(line: dict[str, str]) -> tuple[str, ...]:
    return tuple(line[name] for name in ("dataset", "ipc", "condenser", "trained_on", "tested_on"))


def _published(line: dict[str, str]) -> Published:
    deviation = f" ± {line['deviation']}" if line["deviation"] else ""
    said = f"{line['percent']}{deviation} ({line['source']}, {line['table']})"
    return Published(float(line["percent"]) / 100, said, line["comparable"] == "True")
