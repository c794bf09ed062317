"""Every two lines against each other: paired by memory, the higher first."""

import math

import pandas as pd
import pytest
from scipy import stats

from harness.core.paths import ROOT
from harness.evidence.differences import FILE, MEASURED, differences, write
from harness.evidence.intervals import MEMORY

RESULTS = ROOT / "results"
TABLES, STREAMS = (
    (sorted(path.parent for path in RESULTS.glob(f"{kind}/*/{FILE}"))) for kind in ("tables", "continual")
)


def series(values: dict[int, list[float]]) -> pd.Series:
    """Accuracies of networks by the number of their memory."""
    index = pd.MultiIndex.from_tuples([(0, memory) for memory, own in values.items() for _ in own], names=MEMORY)
    return pd.Series([value for own in values.values() for value in own], index=index)


def student(values: pd.Series) -> tuple[float, float, float]:
    if len(values) < 2:
        return values.mean(), math.nan, math.nan
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return values.mean(), values.mean() - half, values.mean() + half


def same(row: dict, expected: pd.Series) -> None:
    assert row["memories"] == len(expected)
    assert [row[name] for name in MEASURED[:3]] == pytest.approx(student(expected), nan_ok=True, abs=1e-9)


def test_pairs_are_of_common_memories_and_networks_are_averaged_within_each():
    dm = series({0: [0.30, 0.34], 1: [0.40], 2: [0.60]})
    random = series({0: [0.30], 1: [0.31, 0.35]})
    (row,) = differences(
        [({"condenser": "random", "iterations": 0}, random), ({"condenser": "dm", "iterations": 9}, dm)]
    )
    assert {name: row[name] for name in row if name not in MEASURED} == {
        "condenser": "dm",
        "iterations": 9,
        "other condenser": "random",
        "other iterations": 0,
    }
    same(row, pd.Series([0.02, 0.07]))


def test_every_two_the_higher_first_and_one_common_memory_has_no_interval():
    lines = [
        ({"condenser": name}, series({k: [value]})) for name, k, value in (("a", 0, 0.1), ("b", 0, 0.3), ("c", 1, 0.2))
    ]
    rows = differences(lines)
    assert [(row["condenser"], row["other condenser"]) for row in rows] == [("b", "a")]
    same(rows[0], pd.Series([0.2]))
    assert differences(lines[:1]) == []


def test_the_higher_mean_is_first_though_it_may_be_below_in_the_memories_that_both_have():
    one, other = series({0: [0.1], 1: [0.9]}), series({0: [0.2]})
    (row,) = differences([({"condenser": "other"}, other), ({"condenser": "one"}, one)])
    assert row["condenser"] == "one"
    same(row, pd.Series([-0.1]))


def test_equal_accuracies_in_another_order_differ_by_nothing():
    thirds = [0.1, 0.2, 0.3]
    one, other = (series({0: own, 1: own[::-1]}) for own in (thirds, thirds[1:] + thirds[:1]))
    (row,) = differences([({"condenser": "one"}, one), ({"condenser": "other"}, other)])
    assert [row[name] for name in MEASURED[:3]] == [0, 0, 0]


def test_without_two_lines_there_is_no_file(tmp_path):
    path = tmp_path / FILE
    assert str(path) in write(path, pd.DataFrame([{"difference": 0.1}]))
    assert path.exists()
    none = pd.DataFrame(columns=["difference"])
    assert write(path, none) == f"{path} of an earlier comparison is gone: its own command writes it again"
    assert not path.exists()
    assert write(path, none) == ""


def test_what_diverged_leaves_no_difference():
    rows = differences(
        [({"condenser": "a"}, series({0: [math.nan], 1: [0.1]})), ({"condenser": "b"}, series({0: [0.1], 1: [0.2]}))]
    )
    assert [row["condenser"] for row in rows] == ["b"]
    assert all(math.isnan(rows[0][name]) for name in MEASURED[:3])


@pytest.mark.parametrize("folder", STREAMS, ids=lambda folder: folder.name)
def test_committed_ones_of_streams_are_those_of_the_rows(folder):
    rows, found = pd.read_csv(folder / "results.csv"), pd.read_csv(folder / FILE)
    means = rows.groupby(["metric", "step", "condenser", *MEMORY])["value"].mean()
    names, steps = rows["condenser"].nunique(), rows["steps"].iloc[0]
    assert len(found) == names * (names - 1) // 2 * (steps + 2)
    for row in found.to_dict("records"):
        one, other = (means[row["metric"], row["step"], row[name]] for name in ("condenser", "other condenser"))
        same(row, one - other)


@pytest.mark.parametrize("folder", TABLES, ids=lambda folder: folder.name)
def test_committed_ones_of_tables_are_those_of_the_rows(folder):
    rows, found = pd.read_csv(folder / "results.csv"), pd.read_csv(folder / FILE)
    apart = ["images per class", "trained", "league", "decoded per stored"]
    table = pd.read_csv(folder / "table.csv")
    sizes = table.groupby(apart).size()
    assert len(found) == (sizes * (sizes - 1) // 2).sum()
    lines = table.set_index([*apart, "condenser", "iterations"])["accuracy"]
    known = rows.groupby(["condenser", "ipc_stored", "config"])
    makings = [(made[:2], own.groupby(MEMORY)["value"].mean()) for made, own in known]
    for row in found.to_dict("records"):
        # Rows say in `config` alone how long a memory was condensed, so its line is known by its mean.
        point = tuple(row[name] for name in apart)
        one, other = (
            next(
                own
                for made, own in makings
                if made == (row[f"{of}condenser"], row["images per class"])
                and math.isclose(own.mean(), lines[(*point, row[f"{of}condenser"], row[f"{of}iterations"])])
            )
            for of in ("", "other ")
        )
        same(row, one - other)


def test_there_are_committed_ones():
    assert len(TABLES) > 1
    assert len(STREAMS) > 1
