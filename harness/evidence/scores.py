"""What the records and the memories of a grid's points say: accuracies by memory, and what it took to make them."""

import math

import pandas as pd

from harness.core.points import Point, cell_key
from harness.core.records import Records
from harness.core.schema import ScoreRow
from harness.core.scoring import values_of
from harness.evidence.intervals import MEMORY, Interval
from harness.evidence.published import Published, as_published, published, verdict

COSTS = ("seconds", "flop", "peak_bytes", "hidden_images")


def accuracies_of(point: Point, name: str, records: Records[ScoreRow]) -> pd.Series:
    """Accuracies of all networks of a condenser's memories, as fractions, indexed as `intervals.interval` wants it.

    Raises:
        ValueError: a cell is not whole.
    """
    values = {
        (0, replicate): values_of(point.scoring, cell_key(point, replicate, name), records)
        for replicate in range(len(point.plans))
    }
    index = pd.MultiIndex.from_tuples([memory for memory, own in values.items() for _ in own], names=MEMORY)
    return pd.Series([value for own in values.values() for value in own], index=index)


def published_beside(point: Point, name: str, accuracy: Interval, tested: bool) -> dict[str, str]:
    """The published number of a condenser at a point, and our verdict; both empty if there is none.

    Args:
        point: a point of a grid.
        name: the condenser's.
        accuracy: accuracy over the condenser's memories, as fractions.
        tested: whether the accuracy is on the test set.
    """
    scoring, known = point.scoring, _known(point, name)
    said = verdict(accuracy, scoring.networks, scoring.training, known, tested)
    return {"published": known.said if known else "", "verdict": said}


def published_accuracy(point: Point, name: str, tested: bool) -> float:
    """The published accuracy of a condenser at a point, as a fraction; nan unless it and ours are by DM's evaluation.

    Held-out training images (not `tested`) are another evaluation.
    """
    known = _known(point, name)
    alike = tested and known is not None and known.comparable and as_published(point.scoring.training)
    return known.value if alike else math.nan


def _known(point: Point, name: str) -> Published | None:
    return published(
        point.dataset.name, point.dataset.shape[1], point.ipc, name, point.condensed_on, point.scoring.network
    )


def cost_of(point: Point, name: str) -> dict[str, float]:
    """The mean COSTS of a condenser's memories, from their metadata.

    Raises:
        ValueError: a memory that was scored is not there any more, is damaged, or is another one.
    """
    for path in (plan.path(name) for plan in point.plans):
        if not path.exists():
            gone = f"{name} is scored, but the memory that says what it cost is gone"
            raise ValueError(f"{gone}: put {path} back, or choose another --out")
    try:
        found = pd.DataFrame([plan.metadata(name)["cost"] for plan in point.plans])
    except ValueError as error:
        raise ValueError(f"{error}; {name} is scored: put its memory back, or choose another --out") from error
    return {column: float(found[column].mean()) for column in COSTS}
