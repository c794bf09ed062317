"""The figure of a stream: its lines, its intervals, its paired differences, and what it says."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from harness.evidence.curves import continual_curve


def frame_of(condensers=("dm", "random"), orders=3, networks=2, steps=5):
    rows = [
        {"condenser": name, "class_order": order, "network_replicate": k, "step": step, "classes_seen": 2 * step}
        | {"value": 0.9 - 0.1 * step + 0.02 * order + 0.005 * k - 0.03 * place}
        for place, name in enumerate(condensers)
        for order in range(orders)
        for k in range(networks)
        for step in range(1, steps + 1)
    ]
    same = {
        "dataset": "digits",
        "dataset_checksum": "ab",
        "ipc_stored": 5,
        "ipc_decoded": 5,
        "trained_on_real": False,
        "steps": steps,
        "protocol": "short",
    }
    frame = pd.DataFrame(rows).assign(memory_replicate=0, metric="accuracy", **same)
    return frame.assign(memory_checksum=frame["condenser"] + frame["class_order"].astype(str))


def texts_of(figure):
    return [text.get_text() for text in figure.texts]


def test_a_dollar_in_a_name_begins_no_formula(tmp_path, drawn):
    names = ("$b^$", r"a$\frac$")
    continual_curve(frame_of(names), tmp_path / "curve.png")
    assert [text.get_text() for text in drawn[0].axes[0].texts] == list(names)


def test_a_curve_has_a_line_intervals_and_a_name_per_condenser(tmp_path, drawn):
    continual_curve(frame_of(), tmp_path / "new" / "curve.png")
    axes = drawn[0].axes[0]
    curve = axes.lines[0]
    assert curve.get_xdata().round().tolist() == [2, 4, 6, 8, 10]
    # Mean over orders (0.02) and networks (0.0025) of 0.9 - 0.1 * step, in percent.
    assert curve.get_ydata() == pytest.approx([82.25, 72.25, 62.25, 52.25, 42.25])
    assert [text.get_text() for text in axes.texts] == ["dm", "random"]
    # t(.975, 2) = 4.303 times the standard error 2 / sqrt(3) points.
    half = 4.303 * 2 / 3**0.5
    assert intervals(axes)[0][-1] == pytest.approx((42.25 - half, 42.25 + half), abs=0.01)
    assert imread(tmp_path / "new" / "curve.png").shape[0] > 600
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["curve.png"]


def test_one_memory_for_all_class_orders_is_no_replicate_of_itself(tmp_path, drawn):
    frame = frame_of()
    continual_curve(frame, tmp_path / "own.png")
    file = frame["condenser"] == "dm"
    continual_curve(frame.assign(memory_checksum=frame["memory_checksum"].mask(file, "one")), tmp_path / "file.png")
    said = [next(text for text in texts_of(figure) if "95 %" in text) for figure in drawn]
    assert ["over memories" in text for text in said] == [True, False]
    assert ["over class orders" in text for text in said] == [False, True]


def intervals(axes):
    """The ends of the intervals of every line."""
    return [[tuple(end for _, end in one) for one in lines.get_segments()] for lines in axes.collections]


def test_accuracies_start_at_zero_and_end_where_there_can_be_none(tmp_path, drawn):
    continual_curve(frame_of().assign(value=lambda frame: frame["value"] / 2), tmp_path / "low.png")
    continual_curve(frame_of().assign(value=lambda frame: frame["value"] + 0.15), tmp_path / "high.png")
    low, high = (figure.axes[0].get_ylim() for figure in drawn)
    assert low[0] == high[0] == 0
    assert 41 < low[1] < 52
    assert high[1] == 102


def test_intervals_of_one_step_stand_side_by_side(tmp_path, drawn):
    continual_curve(frame_of(("a", "b", "c")), tmp_path / "curve.png")
    continual_curve(frame_of(("a", "b", "c"), orders=1), tmp_path / "one.png")
    many, one = (figure.axes[0].lines[:3] for figure in drawn)
    assert [line.get_xdata()[1] < other.get_xdata()[1] for line, other in pairwise(many)] == [True, True]
    assert [line.get_xdata()[1] for line in one] == [4, 4, 4]


def test_paired_differences_from_random_stand_beside(tmp_path, drawn):
    frame = frame_of(("dm", "ours", "random"))
    # The luck of an order is shared, so that the differences are far steadier than the accuracies.
    frame["value"] += 0.3 * frame["class_order"] * (frame["class_order"] == 2) / 2
    frame.loc[frame["condenser"] == "ours", "value"] += 0.01 * frame["class_order"]
    continual_curve(frame, tmp_path / "curve.png")
    accuracies, above = drawn[0].axes
    assert [text.get_text() for text in above.texts] == ["dm", "ours"]
    assert above.get_ylabel() == "above random (points)"
    zero, dm, ours = above.lines[:3]
    assert zero.get_ydata() == [0, 0]
    assert dm.get_ydata() == pytest.approx([6] * 5)
    assert ours.get_ydata() == pytest.approx([4] * 5)
    half = 4.303 * 1 / 3**0.5
    assert intervals(above)[1][0] == pytest.approx((4 - half, 4 + half), abs=0.01)
    assert [line.get_color() for line in (dm, ours)] == [line.get_color() for line in accuracies.lines[:2]]


def test_differences_are_of_one_strategy(tmp_path, drawn):
    names = ("dm (gdumb)", "dm (replay)", "naive", "random (gdumb)", "random (replay)")
    continual_curve(frame_of(names), tmp_path / "curve.png")
    above = drawn[0].axes[1]
    assert [text.get_text() for text in above.texts] == ["dm (gdumb)", "dm (replay)"]
    assert above.get_ylabel() == "above random under the same strategy (points)"
    assert above.lines[1].get_ydata() == pytest.approx([9] * 5)


def test_what_is_of_the_open_league_says_so(tmp_path, drawn):
    frame = frame_of(("idm", "iid", "ours", "random"))
    frame.loc[frame["condenser"] == "idm", "ipc_decoded"] = 20
    frame["trained_on_real"] = frame["condenser"] == "iid"
    continual_curve(frame, tmp_path / "curve.png")
    accuracies, above = ([text.get_text() for text in axes.texts] for axes in drawn[0].axes)
    assert accuracies == ["idm, open league", "iid, open league", "ours", "random"]
    assert above == ["idm, open league", "iid, open league", "ours"]


def test_without_random_there_are_no_differences(tmp_path, drawn):
    continual_curve(frame_of(("dm", "ours")), tmp_path / "curve.png")
    assert len(drawn[0].axes) == 1


def test_a_curve_says_what_it_shows(tmp_path, drawn):
    continual_curve(frame_of(), tmp_path / "curve.png")
    title, counts, protocol = texts_of(drawn[0])
    assert title == "digits in 5 steps, 5 stored images per class"
    assert counts == "3 class orders, 2 networks per memory; bars: 95 % interval over memories (t)"
    assert protocol == "protocol short"
    continual_curve(frame_of(), tmp_path / "curve.png", "ConvNet-W4-D1, 3 epochs on a memory")
    assert texts_of(drawn[1])[2] == "protocol short: ConvNet-W4-D1, 3 epochs on a memory"


def test_unequal_replicates_are_said(tmp_path, drawn):
    frame = frame_of()
    frame = frame[(frame["condenser"] == "dm") | (frame["class_order"] == 0)]
    again = frame[frame["condenser"] == "dm"].assign(memory_replicate=1)
    continual_curve(pd.concat([frame, again]), tmp_path / "curve.png")
    assert texts_of(drawn[0])[1].startswith("1-3 class orders, 1-6 memories, 2 networks per memory;")


def test_one_memory_draws_a_line_without_an_interval(tmp_path, drawn):
    continual_curve(frame_of(orders=1, networks=1), tmp_path / "curve.png")
    axes = drawn[0].axes[0]
    assert len(axes.lines[0].get_xdata()) == 5
    assert np.isnan(intervals(axes)).all()
    assert texts_of(drawn[0])[1] == "1 class order, 1 network per memory; one memory: no interval"


def test_names_do_not_overlap_and_keep_their_order(tmp_path, drawn):
    names = [f"condenser-{letter}" for letter in "abcdefghij"]
    frame = frame_of(names)
    frame["value"] = 0.9 - 0.1 * frame["step"] - 0.001 * frame["condenser"].map(names.index)
    continual_curve(frame, tmp_path / "curve.png")
    figure = drawn[0]
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert [text.get_text() for text in figure.axes[0].texts] == names
    for upper, lower in pairwise(boxes):
        assert lower.y1 <= upper.y0 + 1


def test_condensers_can_be_told_apart_without_colour(tmp_path, drawn):
    names = [f"condenser-{letter}" for letter in "abcdefghijklmnopqrstu"]
    continual_curve(frame_of(names, orders=1, networks=1, steps=2), tmp_path / "curve.png")
    lines = drawn[0].axes[0].lines[: len(names)]
    assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == len(names)
    assert len({line.get_color() for line in lines[:7]}) == 7


def test_a_condenser_that_diverged_does_not_break_the_figure(tmp_path, drawn):
    frame = frame_of()
    frame.loc[(frame["condenser"] == "dm") & (frame["step"] == 5), "value"] = float("nan")
    continual_curve(frame, tmp_path / "curve.png")
    heights = [text.get_position()[1] for text in drawn[0].axes[0].texts]
    assert np.isfinite(heights).all()
    assert heights[0] < heights[1]


def test_a_curve_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no accuracies to draw in .*curve\.png"):
        continual_curve(frame_of()[:0], tmp_path / "curve.png")


def test_a_curve_of_two_experiments_is_refused(tmp_path):
    mixed = pd.concat([frame_of(), frame_of().assign(dataset="cifar10", dataset_checksum="cd")])
    with pytest.raises(ValueError, match="several dataset_checksum values"):
        continual_curve(mixed, tmp_path / "curve.png")


def test_a_path_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write .*curve\.png"):
        continual_curve(frame_of(), tmp_path / "file" / "curve.png")
