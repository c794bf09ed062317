"""Rows of a cell: all there, once each, and possible; the damage of each kind is told in tests/harness/evaluate."""

import math
from dataclasses import dataclass

import pandas as pd
import pytest

from harness.core.checks import check_cells, check_counted, check_numbers, check_once, check_words


def rows(cell="a", **changes):
    values = {"accuracy": (0.0, 1.0), "forgetting": (-0.25, 0.5)}
    own = [(cell, metric, number, value) for metric, both in values.items() for number, value in enumerate(both)]
    return pd.DataFrame(own, columns=["cell", "metric", "network_replicate", "value"]).assign(**changes)


def test_whole_cells_pass():
    both = pd.concat([rows("a"), rows("b")])
    assert check_cells(both, 2, ["accuracy"], "file") is both
    assert check_cells(both.head(0), 2, ["accuracy"], "file").empty


def test_a_row_of_one_cell_does_not_stand_in_for_another():
    moved = pd.concat([rows("a"), rows("a").head(1), rows("b").tail(3)])
    with pytest.raises(ValueError, match="file is damaged: cell a has accuracy of networks 0, 0, 1"):
        check_cells(moved, 2, ["accuracy"], "file")
    with pytest.raises(ValueError, match="cell b has accuracy of networks 1,"):
        check_cells(pd.concat([rows("a"), rows("b").tail(3)]), 2, ["accuracy"], "file")


def test_a_damaged_number_is_not_counted_to():
    with pytest.raises(ValueError, match="cell a has accuracy of networks 0, 1, not of 0 to 999999999999999 once each"):
        check_cells(rows("a"), 10**15, ["accuracy"], "file")


def test_forgetting_alone_may_be_negative():
    with pytest.raises(ValueError, match=r"holds forgetting = -1\.5, not -1 to 1"):
        check_cells(rows(value=[0, 0, -1, -1.5]), 2, [], "file")
    with pytest.raises(ValueError, match=r"holds accuracy = -0\.1, not 0 to 1"):
        check_cells(rows(value=[0, -0.1, 0, 0]), 2, [], "file")


@dataclass(frozen=True)
class Measured:
    cell: str
    trial: int
    accuracy: float
    ratio: float | None


def measured(**changes):
    own = {"cell": ["a", "a", "b"], "trial": [0, 1, 0], "accuracy": [0.0, 1.0, 0.5], "ratio": [math.nan, 7.0, 0.0]}
    return pd.DataFrame(own).assign(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trial": [0, -7, 0]}, "cell a holds trial = -7, not 0 or more"),
        ({"trial": [0, 10**400, 0]}, "cell a holds trial = inf, not 0 or more"),
        ({"accuracy": [0, 1, 1.5]}, "cell b holds accuracy = 1.5, not 0 to 1"),
        ({"accuracy": [0, math.nan, 0]}, "cell a holds accuracy = nan, not 0 to 1"),
        ({"ratio": [1, math.inf, 1]}, "cell a holds ratio = inf, not 0 or more"),
    ],
)
def test_numbers_are_possible(changes, words):
    with pytest.raises(ValueError, match=f"file is damaged: {words}"):
        check_numbers(measured(**changes), Measured, ["accuracy"], "file")


def test_a_number_may_be_left_out_and_a_fraction_unmeasured():
    assert len(check_numbers(measured(), Measured, ["accuracy"], "file")) == 3
    lost = measured(accuracy=[0, math.nan, 0])
    assert len(check_numbers(lost, Measured, ["accuracy"], "file", unmeasured=lost.index == 1)) == 3
    with pytest.raises(ValueError, match="holds accuracy = nan"):
        check_numbers(lost, Measured, ["accuracy"], "file", unmeasured=lost.index == 2)


def test_rows_are_counted():
    check_counted(measured(), "trial", {"a": 2}, "file")
    for changes, counts, words in (
        ({}, {"a": 3}, "cell a has rows of trial 0 1, not of 0 to 2 once each"),
        ({"trial": [0, 0, 0]}, {}, "cell a has rows of trial 0 0, not of 0 to 1 once each"),
        ({"trial": [0, 1, 1]}, {}, "cell b has rows of trial 1, not of 0 to 0 once each"),
    ):
        with pytest.raises(ValueError, match=words):
            check_counted(measured(**changes), "trial", counts, "file")
    with pytest.raises(ValueError, match="cell a is there more than once"):
        check_once(measured(), "file")


def test_words_are_known():
    with pytest.raises(ValueError, match="cell b holds kind = 'z', which there is not"):
        check_words(measured(kind=["x", "y", "z"]), "kind", ("x", "y"), "file")


def test_rows_of_one_cell_are_of_one_making():
    mixed = pd.concat([rows("a", condenser="dm"), rows("b", condenser=["dm", "dm", "random", "dm"])])
    with pytest.raises(ValueError, match="file is damaged: cell b has rows that differ in condenser"):
        check_cells(mixed, 2, ["accuracy"], "file")
