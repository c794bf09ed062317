"""Rows of a cell: all there, once each, and possible; the damage of each kind is told in tests/harness/evaluate."""

import pandas as pd
import pytest

from harness.core.checks import check_cells


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


def test_forgetting_alone_may_be_negative():
    with pytest.raises(ValueError, match=r"holds forgetting = -1\.5, not -1 to 1"):
        check_cells(rows(value=[0, 0, -1, -1.5]), 2, [], "file")
    with pytest.raises(ValueError, match=r"holds accuracy = -0\.1, not 0 to 1"):
        check_cells(rows(value=[0, -0.1, 0, 0]), 2, [], "file")


def test_rows_of_one_cell_are_of_one_making():
    mixed = pd.concat([rows("a", condenser="dm"), rows("b", condenser=["dm", "dm", "random", "dm"])])
    with pytest.raises(ValueError, match="file is damaged: cell b has rows that differ in condenser"):
        check_cells(mixed, 2, ["accuracy"], "file")
