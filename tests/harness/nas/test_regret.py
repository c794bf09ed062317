"""Regret of searches, by hand: of every trial, at equal minutes, and over searches."""

import math

import pandas as pd
import pytest

from harness.nas.search_report import at_minutes, over_searches, summary, with_regret

HAND = pd.DataFrame(
    [
        {"search_replicate": search, "trial": trial, "best": best, "seconds": seconds}
        for search, trials in enumerate(
            (
                [("", 60), ("b", 30), ("a", 30)],
                [("c", 30), ("c", 0), ("unknown", 30)],
                [("c", 60), ("b", 60), ("b", 60)],
            )
        )
        for trial, (best, seconds) in enumerate(trials)
    ]
).assign(proxy="p", sampler="tpe", dataset="d", space="s", status="complete", epochs_trained=10, epochs=10)
KNOWN = pd.Series({"a": 0.9, "b": 0.8, "c": 0.5, "never tried": 0.95})


def test_regret_is_what_the_best_misses_of_all_that_is_known():
    frame = with_regret(HAND.assign(cell=HAND["search_replicate"].astype(str)), KNOWN)
    expected = [math.nan, 0.15, 0.05, 0.45, 0.45, math.nan, 0.45, 0.15, 0.15]
    assert frame["regret"].tolist() == pytest.approx(expected, nan_ok=True)
    assert frame["minutes"].tolist() == [1, 1.5, 2, 0.5, 0.5, 1, 1, 2, 3]
    (row,) = summary(frame)
    assert row["equal_minutes"] == 1
    # A search without a choice, or whose choice nobody knows, is left out and not counted.
    assert (row["regret_after_3"].mean, row["regret_after_3"].n) == (pytest.approx(0.10), 2)
    assert (row["regret_at_equal_minutes"].mean, row["regret_at_equal_minutes"].n) == (pytest.approx(0.45), 1)
    assert at_minutes(frame, 2).tolist()[0::2] == pytest.approx([0.05, 0.15])


def test_an_interval_is_over_searches():
    found = over_searches(pd.Series([0.1, 0.2, 0.3, math.nan]))
    assert (found.mean, found.n, found.method) == (pytest.approx(0.2), 3, "t")
    assert found.high - found.low == pytest.approx(2 * 4.302653 * 0.1 / math.sqrt(3))
