"""The rows of an analysis as a report averages them: whole, possible, and under the names of its memories."""

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
    """The rows of some cells, with each memory's name among the others and its checksum for its replicate.

    So memories of one condenser that were made otherwise stay apart, and those of several seeds are several.

    Args:
        rows: of a file.
        cells: whose memory each is of, by key.
        values: the network replicate, network and metric that every cell has a value of, and whether it may be nan.
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
