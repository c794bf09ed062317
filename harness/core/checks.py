"""Checks that a finished cell has each of its rows once, all from one run and with possible values.

Whoever averages rows calls these first.
"""

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from condensers.core.leagues import NOT_SAID
from harness.core.schema import columns

if TYPE_CHECKING:
    import pandas as pd

OWN = ("network_replicate", "metric", "value")  # may differ within a cell; all other columns may not
FORGETTING = "forgetting"  # only metrics with this in their name may be negative


def check_cells(rows: "pd.DataFrame", networks: int, metrics: Collection[str], where: object) -> "pd.DataFrame":
    """The rows, if each of their cells has one value for each network in each metric, and all values are fractions.

    In all other columns the rows of a cell must be equal, because one run wrote them.

    Args:
        rows: whole cells, with the columns of `ScoreRow`.
        networks: how many were trained in each cell.
        metrics: those that each cell must have. A cell may have further ones, which are checked too.
        where: the file, for the message.

    Raises:
        ValueError: a row is missing, is there twice, is from another run, or holds an impossible score; one line.
    """
    check_making(where, rows.drop(columns=list(OWN)))
    for cell, own in rows.groupby("cell"):
        lacking = set(metrics) - set(own["metric"])
        if lacking:
            raise damage(where, cell, f"has no rows of {', '.join(sorted(lacking))}")
        for metric, values in own.groupby("metric"):
            _check_networks(where, cell, metric, list(values["network_replicate"]), networks)
            _check_values(where, cell, metric, values["value"])
    return rows


def check_numbers(
    rows: "pd.DataFrame", row_type: type, fractions: Collection[str], where: object, unmeasured: object = False
) -> "pd.DataFrame":
    """The rows, if all their numbers are finite and not negative, and fractions at most 1.

    Args:
        rows: with the columns of `row_type`. Optional columns may hold nan.
        row_type: their dataclass.
        fractions: names of the columns that hold fractions, such as accuracies.
        where: the file, for the message.
        unmeasured: for each row, whether its fractions may be nan, as those of a network that diverged.

    Raises:
        ValueError: a number is impossible; one line names its cell and column.
    """
    for column in columns(row_type):
        if column.kind in (int, float):
            values, most = rows[column.name].map(_float), 1 if column.name in fractions else math.inf
            possible = values.between(0, most) & (values < math.inf)  # nan is never between
            lacking = values.isna() & (column.optional or (unmeasured if column.name in fractions else False))
            bad = rows[~possible & ~lacking]
            if len(bad):
                cell, value = bad[["cell", column.name]].iloc[0]
                raise damage(where, cell, f"holds {column.name} = {_float(value):g}, not {_range(most)}")
    return rows


def check_counted(rows: "pd.DataFrame", number: str, counts: Mapping[str, int], where: object) -> "pd.DataFrame":
    """The rows, if those of each cell are numbered 0, 1, 2, ... without gaps and repeats.

    Args:
        rows: whole cells.
        number: the column of the numbers, such as `trial`.
        counts: number of rows by cell key. For other cells it is unknown, so missing last rows go unnoticed there.
        where: the file, for the message.

    Raises:
        ValueError: the numbers have a gap or a repeat; one line names the cell.
    """
    for cell, found in rows.groupby("cell")[number]:
        numbers, count = sorted(found), counts.get(cell, len(found))
        if numbers != list(range(count)):
            shown = " ".join(map(str, numbers[:20])) + " ..." * (len(numbers) > 20)
            raise damage(where, cell, f"has rows of {number} {shown}, not of 0 to {count - 1} once each")
    return rows


def check_once(rows: "pd.DataFrame", where: object) -> "pd.DataFrame":
    """The rows, if no two belong to the same cell. Raises ValueError in one line."""
    twice = rows[rows["cell"].duplicated()]
    if len(twice):
        raise damage(where, twice["cell"].iloc[0], "is there more than once")
    return rows


def check_words(rows: "pd.DataFrame", column: str, words: Collection[str], where: object) -> "pd.DataFrame":
    """The rows, if a column holds only the given words. Raises ValueError in one line."""
    bad = rows[~rows[column].isin(words)]
    if len(bad):
        cell, word = bad[["cell", column]].iloc[0]
        raise damage(where, cell, f"holds {column} = {word!r}, which there is not")
    return rows


def check_leagues(rows: "pd.DataFrame", where: object) -> "pd.DataFrame":
    """The rows of submissions, if each memory is entered once and its league follows from the rest of its row.

    Raises ValueError in one line.
    """
    check_once(rows, where)
    bad = rows[rows["league"] != is_open(rows).map({True: "open", False: "strict"})]
    if len(bad):
        cell, league = bad[["cell", "league"]].iloc[0]
        raise damage(where, cell, f"holds league = {league!r}, which does not follow from its other columns")
    return rows


def _float(value: object) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _range(most: float) -> str:
    return "0 or more" if most == math.inf else f"0 to {most:g}"


def check_making(where: object, rows: "pd.DataFrame") -> None:
    """Raise ValueError if the rows of a cell are not equal in all the columns that are given."""
    for cell, counts in rows.drop_duplicates().groupby("cell").nunique(dropna=False).iterrows():
        if len(differing := counts[counts > 1]):
            raise damage(where, cell, f"has rows that differ in {', '.join(differing.index)}")


def _check_networks(where: object, cell: object, metric: object, found: list[object], networks: int) -> None:
    # Lengths are compared first, so that a damaged number of networks, however large, makes no list of that length.
    if len(found) != networks or sorted(map(float, found)) != list(range(networks)):
        shown = ", ".join(f"{number:g}" for number in sorted(map(float, found)))
        raise damage(where, cell, f"has {metric} of networks {shown}, not of 0 to {networks - 1} once each")


def _check_values(where: object, cell: object, metric: object, values: "pd.Series") -> None:
    least = -1 if FORGETTING in str(metric) else 0
    bad = values[~values.astype(float).between(least, 1)]  # nan is never between
    if len(bad):
        raise damage(where, cell, f"holds {metric} = {float(bad.iloc[0]):g}, not {least} to 1")


def is_open(rows: "pd.DataFrame") -> "pd.Series":
    """Which rows are of the open league, by the rule of `condensers.core.leagues.league`.

    Without a column `soft_labels`, labels are hard.
    """
    found = (rows["ipc_decoded"] > rows["ipc_stored"]) | rows["trained_on_real"].eq(True)
    return found | rows["soft_labels"] if "soft_labels" in rows else found


def leagues_of(rows: "pd.DataFrame") -> "pd.Series":
    """The league of each row: `strict`, `open`, or `NOT_SAID` where its memory does not say what it was made with."""
    said = rows["trained_on_real"].notna().map({True: "strict", False: NOT_SAID})
    return said.mask(is_open(rows), "open")


def damage(where: object, cell: object, what: str) -> ValueError:
    """What is wrong with a cell of a file, in one line that also says what to do."""
    return ValueError(f"{where} is damaged: cell {cell} {what}; delete the rows of that cell to run it again")
