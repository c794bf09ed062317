"""Checks the rows of an analysis before a report averages them, and gives them the names of its memories."""

import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from harness.analyse.subjects import Subject
from harness.core.checks import check_making, damage

OWN = ["network_replicate", "network", "metric", "value"]  # all else is the same in every row of a cell


def rows_of(
    rows: pd.DataFrame, cells: Mapping[str, Subject], values: Mapping[tuple[int, str, str], bool], where: Path
) -> pd.DataFrame:
    """The rows of some cells, with `Subject.shown` as the condenser and the memory's checksum as its replicate.

    This keeps memories of one condenser separate if they were made with other settings, and counts memories of several
    seeds as several.

    Args:
        rows: all rows of a file.
        cells: the memory that each cell is about, by the cell's key.
        values: the network replicate, network and metric of every value of a cell, and whether the value may be nan.
        where: the file, for the message.

    Raises:
        ValueError: a row is missing, there twice, of another memory, or holds what cannot be; one line.
    """
    own = rows[rows["cell"].isin(cells)]
    check_making(where, own.drop(columns=OWN))
    parts = [_whole(own[own["cell"] == key], key, one, values, where) for key, one in cells.items()]
    return pd.concat(parts, ignore_index=True)


def _whole(
    rows: pd.DataFrame, key: str, subject: Subject, values: Mapping[tuple[int, str, str], bool], where: Path
) -> pd.DataFrame:
    found = list(zip(rows["network_replicate"], rows["network"], rows["metric"], strict=True))
    if sorted(found) != sorted(values):
        odd = sorted(set(values).symmetric_difference(found)) or [one for one in found if found.count(one) > 1]
        number, network, metric = odd[0]
        raise damage(where, key, f"lacks, or has too often, {metric} of network {number} {network}".rstrip())
    if set(rows["memory_checksum"]) != {subject.memory.checksum}:
        raise damage(where, key, f"is not of the memory {subject.memory.checksum}")
    for metric, one in rows.groupby("metric")["value"]:
        allowed = values[next(known for known in values if known[2] == metric)]
        if one.isin([math.inf, -math.inf]).any() or one.isna().any() > (allowed and one.isna().all()):
            raise damage(where, key, f"holds {metric} = {', '.join(f'{value:g}' for value in one)}")
    return rows.assign(
        condenser=subject.shown, memory_replicate=subject.memory.checksum, ipc_decoded=subject.images.shape[1]
    )
