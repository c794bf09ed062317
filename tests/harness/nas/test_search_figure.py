"""The figure of searches: a line per sampler, and intervals that do not hide each other."""

import pandas as pd
import pytest

from harness.nas.search_report import figure

SAMPLERS = ("evolution", "random", "tpe")
TRIALS = 40
ROWS = pd.DataFrame(
    {"sampler": sampler, "search_replicate": search, "trial": trial, "cell": f"{sampler}-{search}"}
    | {"minutes": 0.1 * (trial + 1), "regret": 0.03 - 0.0005 * trial + 0.002 * search}
    for sampler in SAMPLERS
    for search in range(5)
    for trial in range(TRIALS)
)


def test_a_line_per_sampler_with_intervals_at_some_trials(tmp_path, drawn):
    figure(ROWS, "digits: searches on ours", "405 of the 405", tmp_path / "search.png")
    (trials, minutes), title = drawn[0].axes, drawn[0].texts[0]
    lines = [line for line in trials.lines if len(line.get_xdata()) == TRIALS - 4]  # from the fifth trial on
    assert len(lines) == len(SAMPLERS)
    # In points, the mean of five searches.
    assert lines[0].get_ydata()[-1] == pytest.approx(100 * (0.03 - 0.0005 * 39 + 0.004))
    assert [text.get_text() for text in minutes.get_legend().get_texts()] == list(SAMPLERS)
    assert title.get_text() == "digits: searches on ours"
    assert drawn[0].texts[1].get_text().startswith("5 searches each, bars: 95 % interval;")


def test_intervals_of_two_samplers_stand_at_different_trials(tmp_path, drawn):
    figure(ROWS, "digits: searches on ours", "405 of the 405", tmp_path / "search.png")
    trials = drawn[0].axes[0]
    places = [{segment[0][0] for segment in lines.get_segments()} for lines in trials.collections]
    assert [len(own) for own in places] == [6, 6, 6]
    assert len(set.union(*places)) == 18
