"""Published numbers, and the verdict on a measured number beside them.

`published.csv` has a line for each, in the unit of its metric (`UNITS`):

- `method` is its name at the source, `condenser` the name that it has here: empty where nothing here is that method,
  `whole` for all real images, `any` for whatever memory of that size.
- `trained_on` is the network that it was condensed on, `tested_on` the one that was trained on it, as papers call them.
- Lines that are not comparable come from another evaluation than section 4 of DM's, as DDM's random and herding rows
  do, or from one that no source describes fully, as searches do.
"""

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from condensers.device.training import Training
from harness.evidence.intervals import Interval
from search_spaces.registry import default_depth, full_name

MEMORIES, NETWORKS, HALF_WIDTH = 3, 5, 0.01  # a verdict needs at least so many; reproduced: at most
PAPER = Training()  # its defaults are DM's evaluation
VERDICTS = ("not run", "reproduced", "exceeded", "other evaluation", "not reproduced")
NOT_RUN, REPRODUCED, EXCEEDED, OTHER, NOT_REPRODUCED = VERDICTS
CONVNET = "ConvNet"
FILE = Path(__file__).with_name("published.csv")
UNITS = {  # of each metric: on the test set, but for time
    "accuracy": "%",  # of networks trained on a memory of all classes
    "accuracy_after_5_steps": "%",  # the last one of a class-incremental stream
    "accuracy_of_chosen": "%",  # on the whole set, of the architecture that ranks first on a proxy
    "spearman_of_top": "correlation",  # of the ranks on a proxy and on the whole set, the best architectures only
    "minutes": "min",  # of training all architectures
}
POINT = ("metric", "dataset", "ipc", "condenser", "trained_on", "tested_on")
ACCURACY = next(iter(UNITS))
SIDES = {"cifar10": 32, "cifar100": 32, "tinyimagenet": 64}  # pixels of the images in papers
CHECKSUMS = {"cifar10": "44ec2972b7f45f48", "cifar100": "c9086cf2740c1200"}  # of these images; others are unknown
SPLIT, SPLITS = (
    500,
    {"cifar10": "3bf1d19c4f7726a0"},
)  # images per class that surveys hold out, and checksums of the rest


@dataclass(frozen=True)
class Published:
    """A published number.

    Attributes:
        value: accuracies as fractions, others in their unit.
        said: the number in its unit with its deviation, source and table, as text.
        comparable: whether it comes from DM's evaluation.
    """

    value: float
    said: str
    comparable: bool


def published(dataset: str, side: int, ipc: int, condenser: str, trained_on: str, tested_on: str) -> Published | None:
    """The published accuracy for a data set, memory size, condenser and networks, or None.

    None also if images of `side` pixels are not of the size that papers use. Of several numbers it is the first
    comparable one in the file, or the first if none is comparable. Networks are named as in commands. The ConvNet that
    condensed may have any width: how long and on how wide networks a memory was condensed is the recipe's own business,
    and the evaluation is what makes numbers comparable.
    """
    if SIDES.get(dataset) != side:
        return None
    point = (ACCURACY, dataset, str(ipc), condenser, family(trained_on, side), short(tested_on, side))
    found = [number_of(line) for line in lines() if point_of(line) == point]
    return min(found, key=lambda one: not one.comparable, default=None)


def published_of(condenser: str) -> list[dict[str, str]]:
    """The lines of the file that are about accuracies of a condenser's memories, by its columns."""
    return [line for line in lines() if line["condenser"] == condenser and line["metric"] == ACCURACY]


@cache
def lines() -> list[dict[str, str]]:
    """The lines of the file, by its columns."""
    with FILE.open(newline="") as file:
        return list(csv.DictReader(file))


def point_of(line: dict[str, str]) -> tuple[str, ...]:
    """What a line is about: columns `POINT`."""
    return tuple(line[name] for name in POINT)


def number_of(line: dict[str, str]) -> Published:
    """The number of a line."""
    deviation = f" ± {line['deviation']}" if line["deviation"] else ""
    said = f"{line['value']}{deviation} ({line['source']}, {line['table']})"
    scale = 100 if UNITS[line["metric"]] == "%" else 1
    return Published(float(line["value"]) / scale, said, line["comparable"] == "True")


def verdict(
    measured: Interval, networks: int, training: Training | None, found: Published | None, tested: bool = True
) -> str:
    """What a measurement says of a published number, by the rule that `python -m harness.table --help` prints.

    Args:
        measured: accuracy with its interval over memories, as fractions.
        networks: how many were trained on each memory.
        training: how these networks were trained; None if that is not known.
        found: the published number; without one the verdict is empty.
        tested: whether the accuracy is on the test set.
    """
    if found is None:
        return ""
    enough = measured.n >= MEMORIES and networks >= NETWORKS and tested
    if not enough or not as_published(training):
        return NOT_RUN
    if not found.comparable:
        return OTHER
    if measured.low > found.value:
        return EXCEEDED
    narrow = (measured.high - measured.low) / 2 <= HALF_WIDTH
    return REPRODUCED if narrow and found.value <= measured.high else NOT_REPRODUCED


def as_published(training: Training | None) -> bool:
    """Whether networks were trained as the papers say."""
    return training is not None and training.describe() == PAPER.describe()


def convnet(width: int, side: int) -> str:
    """The field's default ConvNet of that width for images of `side` pixels, as commands name it."""
    return f"ConvNet-W{width}-D{default_depth(side)}-IN-ReLU-Avg"


def short(network: str, side: int) -> str:
    """`ConvNet`, as papers say, for the field's default ConvNet at this image size; other networks by their own name.

    The network may be named in full or, as in older rows, in a shortened form.
    """
    own = full_name(network)
    return CONVNET if own == convnet(128, side) else own


def family(network: str, side: int) -> str:
    """As `short`, but the default ConvNet may have any width."""
    return short(re.sub(r"-W\d+-", "-W128-", network), side)
