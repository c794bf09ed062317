import math
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.evidence.intervals import (
    Interval,
    average_incremental_accuracy,
    format_table,
    interval,
    one_experiment,
    paired_difference,
    summary,
)
from harness.evidence.ranking import Correlation

SCORES = {
    # condenser: class order: networks' accuracies at the last of two steps; the first step is 0.3 above.
    "random": {0: [0.20, 0.22], 1: [0.24, 0.26], 2: [0.30, 0.32]},
    "dm": {0: [0.28, 0.30], 1: [0.33, 0.37], 2: [0.44, 0.42]},
}


def test_what_rounds_to_zero_has_no_sign():
    assert str(Interval(-4e-4, -4e-4, -4e-4, 3, "t")) == "0.0 [0.0, 0.0] n=3"
    assert str(Interval(-4e-4, math.nan, math.nan, 1, "none")) == "0.0 (n=1, no interval)"
    assert str(Correlation(-4e-3, -4e-3, -4e-3, 30, "spearman")) == "0.00 [0.00, 0.00] n=30"
    nearly = {"random": {0: [0.3], 1: [0.3]}, "dm": {0: [0.29999], 1: [0.29998]}}
    table = format_table(summary(frame_of(nearly)))
    assert "-0.0" not in table
    assert "0.0 [0.0, 0.0]" in table


def frame_of(scores=SCORES, **changes):
    rows = [
        {"condenser": name, "class_order": order, "network_replicate": k, "step": step, "metric": metric, "value": at}
        for name, orders in scores.items()
        for order, networks in orders.items()
        for k, value in enumerate(networks)
        for step, metric, at in (
            (1, "accuracy", value + 0.3),
            (2, "accuracy", value),
            (1, "forgetting", 0.0),
            (2, "forgetting", 0.5 - value),
            (2, "accuracy_on_step_1", 0.9),
        )
    ]
    rows = [row | {"memory_checksum": f"{row['condenser']} {row['class_order']}"} for row in rows]
    same = {"dataset": "cifar100", "dataset_checksum": "ab", "ipc_stored": 20, "ipc_decoded": 20, "steps": 2}
    more = {"memory_replicate": 0, "protocol": "paper", "trained_on_real": False}
    return pd.DataFrame(rows).assign(**same | more | changes)


def series_of(means):
    index = pd.MultiIndex.from_tuples(
        [(order, 0) for order in range(len(means))], names=["class_order", "memory_replicate"]
    )
    return pd.Series(means, index=index, dtype=float)


def test_an_interval_reads_as_percent():
    assert str(Interval(0.3441, 0.331, 0.3562, 5, "t")) == "34.4 [33.1, 35.6] n=5"
    assert str(Interval(0.3441, math.nan, math.nan, 1, "none")) == "34.4 (n=1, no interval)"
    assert str(Interval(math.nan, math.nan, math.nan, 0, "none")) == "n=0"


def test_networks_are_averaged_within_their_memory_first():
    # Rows would give (0.1 + 0.3 * 3) / 4 = 0.25 and n = 4.
    index = pd.MultiIndex.from_tuples(
        [(0, 0, 0), (1, 0, 0), (1, 0, 1), (1, 0, 2)], names=["class_order", "memory_replicate", "network_replicate"]
    )
    found = interval(pd.Series([0.1, 0.2, 0.3, 0.4], index=index))
    assert found.mean == pytest.approx(0.2)
    assert found.n == 2


def test_more_networks_do_not_narrow_an_interval():
    few = interval(frame_of().query("condenser == 'dm' and metric == 'accuracy' and step == 2"))
    copied = {name: {order: nets * 10 for order, nets in orders.items()} for name, orders in SCORES.items()}
    many = interval(frame_of(copied).query("condenser == 'dm' and metric == 'accuracy' and step == 2"))
    assert (many.low, many.high, many.n) == pytest.approx((few.low, few.high, 3))


def test_memory_replicates_of_one_order_are_memories_of_their_own():
    frame = pd.concat([frame_of(), frame_of(memory_replicate=1)]).query("metric == 'accuracy' and step == 2")
    assert interval(frame[frame["condenser"] == "dm"]).n == 6


def test_t_is_the_interval_of_a_one_sample_t_test():
    means = [0.30, 0.35, 0.41, 0.33]
    found = interval(series_of(means))
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    assert found.method == "t"
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(np.mean(means))


def test_the_bootstrap_agrees_with_scipy_and_repeats():
    means = np.random.default_rng(0).exponential(0.1, 12)
    found = interval(series_of(means), "bootstrap")
    expected = stats.bootstrap((means,), np.mean, n_resamples=9999, method="BCa").confidence_interval
    assert found.method == "bootstrap BCa"
    # Two runs of 9999 resamples differ by about 1 % of the interval's width.
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.05 * np.ptp(expected))
    assert found == interval(series_of(means), "bootstrap")


@pytest.mark.parametrize("memories", [2, 9, 10, 50])
def test_students_interval_is_the_usual_one(memories):
    # Closer to what it says than the bootstrap at any number that is measured in the docstring.
    assert interval(series_of(np.linspace(0, 1, memories))).method == "t"


def test_the_bootstrap_is_there_for_two_memories_too():
    assert interval(series_of([0.1, 0.2]), "bootstrap").method.startswith("bootstrap")


def test_equal_memories_have_an_empty_interval_by_either_method():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method, used in (("t", "t"), ("bootstrap", "bootstrap percentile")):
            assert interval(series_of([0.25] * 4), method) == Interval(0.25, 0.25, 0.25, 4, used)


def test_one_memory_has_no_interval():
    found = interval(series_of([0.25]), "bootstrap")
    assert (found.mean, found.n, found.method) == (0.25, 1, "none")
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_a_network_that_diverged_is_not_dropped():
    frame = frame_of({"dm": {0: [0.3, math.nan], 1: [0.3, 0.3]}}).query("metric == 'accuracy' and step == 2")
    found = interval(frame)
    assert math.isnan(found.mean)
    assert found.n == 2


def test_coverage_is_as_documented():
    draw = np.random.default_rng(0)
    samples = [series_of(draw.standard_normal(5)) for _ in range(400)]
    covered = {}
    for method in ("t", "bootstrap"):
        found = [interval(sample, method) for sample in samples]
        covered[method] = np.mean([each.low <= 0 <= each.high for each in found])
    # 96 % and 84 % in the docstring; one standard error of 400 sets is 1.0 and 1.8 points.
    assert covered["t"] == pytest.approx(0.955, abs=0.03)
    assert covered["bootstrap"] == pytest.approx(0.84, abs=0.055)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="interval method 'bca' is unknown; choose t or bootstrap"):
        interval(series_of([0.1, 0.2]), "bca")


@pytest.mark.parametrize("kept", ["condenser == 'dm' and step == 2", "condenser == 'dm' and metric == 'accuracy'"])
def test_an_interval_of_mixed_rows_is_refused(kept):
    with pytest.raises(ValueError, match=r"rows of several (metric|step) values cannot be averaged"):
        interval(frame_of().query(kept))


def test_a_paired_difference_is_the_paired_t_interval_of_memory_means():
    found = paired_difference(frame_of(), "accuracy", "dm", "random", step=2)
    dm, random = ([np.mean(nets) for nets in SCORES[name].values()] for name in ("dm", "random"))
    expected = stats.ttest_rel(dm, random).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(0.10)
    assert found.n == 3


def test_only_memories_that_both_have_are_paired():
    scores = {"dm": {0: [0.3], 1: [0.4], 2: [0.5]}, "random": {1: [0.1], 2: [0.1], 3: [0.9]}}
    found = paired_difference(frame_of(scores), "accuracy", "dm", "random", step=2)
    assert found.mean == pytest.approx(0.35)
    assert found.n == 2
    assert paired_difference(frame_of(scores), "accuracy", "dm", "random", step=3).n == 0


def test_without_a_step_only_steps_that_both_have_count():
    scores = {"dm": {0: [0.3], 1: [0.4]}, "random": {0: [0.1], 1: [0.1]}}
    frame = frame_of(scores)
    unfinished = frame[~((frame["condenser"] == "random") & (frame["class_order"] == 1) & (frame["step"] == 2))]
    assert paired_difference(unfinished, "accuracy", "dm", "random").mean == pytest.approx(0.25)


def test_a_paired_difference_can_be_bootstrapped():
    found = paired_difference(frame_of(), "accuracy", "dm", "random", step=2, method="bootstrap")
    assert found.method.startswith("bootstrap")
    assert 0.0799 < found.low < found.mean < found.high < 0.1201


def test_an_unknown_condenser_gets_a_hint():
    with pytest.raises(ValueError, match="no rows of condenser 'randon'; did you mean 'random'"):
        paired_difference(frame_of(), "accuracy", "dm", "randon")


def test_average_incremental_accuracy_is_the_mean_over_steps_of_each_stream():
    found = average_incremental_accuracy(frame_of())
    assert len(found) == 12
    assert found[("dm", 1, 0, 1)] == pytest.approx(0.37 + 0.15)


def test_streams_that_have_not_ended_have_no_average():
    frame = frame_of()
    unfinished = frame[~((frame["condenser"] == "dm") & (frame["class_order"] == 1) & (frame["step"] == 2))]
    found = average_incremental_accuracy(unfinished)
    assert len(found) == 10
    assert ("dm", 1, 0, 1) not in found.index


def test_a_summary_has_every_condenser_best_first():
    table = summary(frame_of())
    assert table["condenser"].tolist() == ["dm", "random"]
    dm = table.iloc[0]
    assert dm["accuracy"] == interval(frame_of().query("condenser == 'dm' and metric == 'accuracy' and step == 2"))
    assert dm["accuracy_bootstrap"].method.startswith("bootstrap")
    assert dm["average_accuracy"].mean == pytest.approx(dm["accuracy"].mean + 0.15)
    assert dm["forgetting"].mean == pytest.approx(0.5 - dm["accuracy"].mean)
    assert dm["above_random"] == paired_difference(frame_of(), "accuracy", "dm", "random", step=2)
    assert (dm["memories"], dm["networks"], dm["league"]) == (3, 6, "strict")
    assert table.iloc[1]["above_random"] is None


def test_a_memory_that_served_all_class_orders_is_one():
    table = summary(frame_of(memory_checksum="ab"))
    assert table["memories"].tolist() == [1, 1]
    assert all("] n=3" in line for line in format_table(table).splitlines()[1:3])


def test_naive_training_has_no_memory_that_real_images_could_stand_for():
    naive = frame_of({"random": SCORES["random"], "naive": SCORES["dm"]})
    assert summary(naive)["above_random"].tolist() == [None, None]


def test_leagues_are_told_apart():
    assert summary(frame_of(trained_on_real=True))["league"].tolist() == ["open", "open"]
    decoded = frame_of()
    decoded.loc[decoded["condenser"] == "dm", "ipc_decoded"] = 80
    assert summary(decoded)["league"].tolist() == ["open", "strict"]


def test_a_summary_leaves_out_what_is_not_recorded():
    plain = frame_of({"dm": SCORES["dm"]}).query("metric == 'accuracy'")
    assert {"forgetting", "above_random"}.isdisjoint(summary(plain).columns)


def test_a_table_of_an_unfinished_run_can_be_read():
    frame = frame_of()
    started = frame[(frame["condenser"] == "dm") | (frame["step"] == 1)]
    lines = format_table(summary(started)).splitlines()
    assert lines[1].split()[:2] == ["dm", "strict"]
    assert lines[2].split() == ["random", "strict", "-", "-", "-", "-", "-", "0", "0"]
    assert format_table(summary(frame[:0])) == "no finished cells yet"


def test_a_table_is_in_percent_with_one_decimal():
    lines = format_table(summary(frame_of())).splitlines()
    assert lines[0].split()[:4] == ["condenser", "league", "final", "accuracy"]
    assert "35.7 [" in lines[1]
    assert "10.0 [" in lines[1]
    assert "intervals (t) over memories" in lines[-2]
    assert lines[-1].startswith("strict league: as many images decoded as stored")
    assert "n=" not in lines[1]


def test_a_table_says_how_its_intervals_are_to_be_read():
    said = format_table(summary(frame_of()))
    assert "above random in points, paired by class order; no interval is widened for there being others" in said
    assert "bootstrap's intervals are far too narrow for few memories" in said
    alone = frame_of({"dm": {0: SCORES["dm"][0]}})
    assert "bootstrap's" not in format_table(summary(alone))
    assert "above random" not in format_table(summary(alone))


def test_a_cell_says_its_n_when_it_has_fewer_memories_than_its_row():
    scores = {"dm": SCORES["dm"], "random": {0: SCORES["random"][0], 1: SCORES["random"][1]}}
    assert "n=2" in format_table(summary(frame_of(scores))).splitlines()[1]


@pytest.mark.parametrize("column", ["dataset_checksum", "ipc_stored", "steps", "protocol"])
def test_two_experiments_are_not_averaged(column):
    frame = frame_of()
    frame[column] = frame[column].where(frame["class_order"] > 0, 7)
    for attempt in (one_experiment, summary, average_incremental_accuracy):
        with pytest.raises(ValueError, match=f"rows of several {column} values cannot be averaged"):
            attempt(frame)


def test_a_row_that_appears_twice_is_refused():
    with pytest.raises(
        ValueError, match=r"several rows have condenser random, class_order 0, .*two configs in one file"
    ):
        summary(pd.concat([frame_of(), frame_of()]))
