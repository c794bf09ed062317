"""Whether the rows of a finished cell are all there, once each, of one making, and possible.

A reader's check before it averages.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

OWN = ("network_replicate", "metric", "value")  # all else is the same in every row of a cell
FORGETTING = "forgetting"  # only metrics with this in their name may be negative


def check_cells(rows: "pd.DataFrame", networks: int, metrics: Collection[str], where: object) -> "pd.DataFrame":
    """The rows, if each of their cells has one value for each network in each metric, and all values are fractions.

    Rows of a cell must also be equal in everything else, for they were written by one run.

    Args:
        rows: whole cells, with the columns of `ScoreRow`.
        networks: how many were trained in each cell.
        metrics: what each cell must hold; it may hold more, which is checked as well.
        where: the file, for the message.

    Raises:
        ValueError: a row is missing, there twice, of another making, or holds what no score can be; one line.
    """
    _check_making(where, rows.drop(columns=list(OWN)))
    for cell, own in rows.groupby("cell"):
        lacking = set(metrics) - set(own["metric"])
        if lacking:
            raise _damage(where, cell, f"has no rows of {', '.join(sorted(lacking))}")
        for metric, values in own.groupby("metric"):
            _check_networks(where, cell, metric, list(values["network_replicate"]), networks)
            _check_values(where, cell, metric, values["value"])
    return rows


def _check_making(where: object, rows: "pd.DataFrame") -> None:
    for cell, counts in rows.drop_duplicates().groupby("cell").nunique(dropna=False).iterrows():
        if len(differing := counts[counts > 1]):
            raise _damage(where, cell, f"has rows that differ in {', '.join(differing.index)}")


def _check_networks(where: object, cell: object, metric: object, found: list[object], networks: int) -> None:
    if sorted(map(float, found)) != list(range(networks)):
        shown = ", ".join(f"{number:g}" for number in sorted(map(float, found)))
        raise _damage(where, cell, f"has {metric} of networks {shown}, not of 0 to {networks - 1} once each")


def _check_values(where: object, cell: object, metric: object, values: "pd.Series") -> None:
    least = -1 if FORGETTING in str(metric) else 0
    bad = values[~values.astype(float).between(least, 1)]  # nan is never between
    if len(bad):
        raise _damage(where, cell, f"holds {metric} = {float(bad.iloc[0]):g}, not {least} to 1")


def _damage(where: object, cell: object, what: str) -> ValueError:
    return ValueError(f"{where} is damaged: cell {cell} {what}; delete the rows of that cell to run it again")
