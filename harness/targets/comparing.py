"""Published numbers beside measured ones: the lines of targets.csv."""

import math
import re

import pandas as pd

from harness.evidence.published import NOT_RUN, SIDES, UNITS, lines
from harness.evidence.sources import Found
from harness.targets.measured import Measured
from harness.targets.rows import memories, streams
from harness.targets.searches import searches

COUNTS = ["memories", "networks"]


def compare(found: Found) -> pd.DataFrame:
    """A line for each published number, in the order of published.csv.

    Raises:
        ValueError: rows are damaged, or a table disagrees with its rows; one line.
    """
    wanted = {(line["dataset"], line["ipc"], line["condenser"]) for line in lines() if line["dataset"] in SIDES}
    measured = [*memories(found, wanted), *streams(found, wanted), *searches(found)]
    frame = pd.DataFrame([_line(line, _nearest(line, measured)) for line in lines()])
    return frame.astype(dict.fromkeys(COUNTS, "Int64"))


def _nearest(line: dict[str, str], measured: list[Measured]) -> Measured | None:
    """The measurement that fits a published line best by `Measured.rank`, the first if several tie."""
    return max((own for own in measured if own.meets(line)), key=lambda own: own.rank(line), default=None)


def _line(line: dict[str, str], own: Measured | None) -> dict[str, object]:
    return {
        "source": line["source"],
        "table": line["table"],
        "dataset": line["dataset"],
        "images per class": line["ipc"],
        "method": line["method"],
        "condenser": line["condenser"],
        "condensed on": line["trained_on"],
        "trained": line["tested_on"],
        "metric": line["metric"],
        "unit": UNITS[line["metric"]],
        "published": float(line["value"]),
        "deviation": float(line["deviation"] or "nan"),
        "note": line["note"],
        "verdict": own.verdict(line) if own else NOT_RUN,
        **_ours(own, 100 if UNITS[line["metric"]] == "%" else 1),
    }


def _ours(own: Measured | None, scale: int) -> dict[str, object]:
    ends = (own.value.mean, own.value.low, own.value.high) if own else (math.nan,) * 3
    return {
        **dict(zip(("ours", "low", "high"), (scale * end for end in ends), strict=True)),
        "memories": own.value.n if own else None,
        "networks": own.networks if own else None,
        "our condensed on": own.condensed_on if own else "",
        "our trained": own.trained if own else "",
        "protocol": own.protocol if own else "",
        "league": own.league if own else "",
        "minutes": own.minutes if own else math.nan,
        "flop": own.flop if own else math.nan,
        "rows": str(own.source.path.parent) if own else "",
        "command": one_line_of(own.source.making.command) if own else "",
    }


def one_line_of(command: str) -> str:
    """A shell block in one line, which can be run as it stands."""
    text = re.sub(r"(^|\s)#.*$", "", command, flags=re.MULTILINE)
    text = re.sub(r"\\\n\s*", "", text)
    text = re.sub(r"(\bdo|\bthen|[{&])\s*\n\s*", r"\1 ", text.strip())
    return re.sub(r"\s*\n\s*", "; ", text)
