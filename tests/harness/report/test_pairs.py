"""Every two lines on the page: lengths are told apart, what has no interval is not filled, many lines are a table."""

import json
import re

import pandas as pd
import pytest

from harness.evidence.sources import read_folders
from harness.report.__main__ import main
from harness.report.flags import Report
from harness.report.pairs import section

TABLE = {"dataset": "digits", "images per class": 1, "trained": "MLP", "scored on": "test", "league": "strict"} | {
    "decoded per stored": 1,
    "protocol": "quick-1",
}
NUMBERS = {"difference": 0.02, "low": 0.01, "high": 0.03, "memories": 3}


def figures_of(tmp_path, rows):
    pd.DataFrame(rows).to_csv(tmp_path / "differences.csv", index=False)
    return section(read_folders([tmp_path])).figures


def pair(one, other, **more):
    return TABLE | {"condenser": one, "other condenser": other} | NUMBERS | more


def test_lengths_of_a_condenser_are_told_apart_on_both_sides(tmp_path):
    lengths = [(("dm", 9), ("ours", 5)), (("dm", 9), ("dm", 3)), (("ours", 5), ("dm", 3))]
    rows = [pair(a, b, iterations=m, **{"other iterations": n}) for (a, m), (b, n) in lengths]
    (figure,) = figures_of(tmp_path, rows)
    names = ["dm, 9 iterations", "ours, 5 iterations", "dm, 3 iterations"]
    assert figure.numbers[["line", "above"]].to_numpy().tolist() == [
        [names[0], names[1]],
        [names[0], names[2]],
        [names[1], names[2]],
    ]
    assert "every two of 3" in figure.title
    assert "3 of 3 differences exclude zero" in figure.alt


def test_what_has_no_interval_or_diverged_is_not_filled(tmp_path):
    nothing = {"low": None, "high": None, "memories": 1}
    rows = [pair("dm", "random", **nothing), pair("dm", "ours", difference=None, **nothing)]
    (figure,) = figures_of(tmp_path, rows)
    assert "0 of 2 differences exclude zero" in figure.alt
    drawn = json.dumps(figure.chart, allow_nan=False)
    assert re.findall(r'"text": "([^"]*)"', drawn) == ["2.0", "-"]
    assert '"told": true' not in drawn


def test_many_lines_are_a_table_and_leagues_are_apart(tmp_path):
    rows = [pair("dm", f"random{number}") for number in range(10)]
    rows += [pair("m3d", "iid", league="open", **{"decoded per stored": 4})]
    many, few = figures_of(tmp_path, rows)
    assert (many.kind, many.chart) == ("table", None)
    assert few.kind == "chart"
    assert "open league, 4 images decoded from one" in few.title


def test_what_is_below_is_told_apart_too(tmp_path):
    (figure,) = figures_of(tmp_path, [pair("dm", "random", difference=-0.02, low=-0.03, high=-0.01)])
    assert "1 of 1 differences exclude zero" in figure.alt
    assert '"text": "-2.0"' in json.dumps(figure.chart, allow_nan=False)


def test_of_a_stream_the_last_step_is_drawn_and_names_are_texts(tmp_path):
    about = {"dataset": "digits", "steps": 5, "protocol": "quick-1", "league": "strict"}
    names = {"condenser": "001", "other condenser": "1e3"}
    rows = [about | names | NUMBERS | {"metric": "accuracy", "step": step, "difference": step / 100} for step in (4, 5)]
    rows += [about | names | NUMBERS | {"metric": "forgetting", "step": 5}]
    (figure,) = figures_of(tmp_path, rows)
    assert figure.numbers[["line", "above", "difference (points)"]].to_numpy().tolist() == [["001", "1e3", 5.0]]
    assert "after the last of 5 steps" in figure.title


@pytest.mark.parametrize(
    "damage",
    [
        {"league": None},
        {"trained": None},
        {"difference": 1e307},
        {"difference": -1e307},
        {"memories": 10**30},
        {"steps": 5, "metric": "accuracy", "step": 4},
        {"steps": None, "metric": "accuracy", "step": 4},
    ],
    ids=str,
)
def test_what_is_damaged_is_left_out_in_one_line(damage, tmp_path, capsys):
    row = {
        name: value for name, value in (pair("dm", "random") | damage).items() if value is not None or name == "steps"
    }
    pd.DataFrame([row]).to_csv(tmp_path / "differences.csv", index=False)
    main(Report(folders=(tmp_path,), out=tmp_path / "page"))
    assert "left out: " in capsys.readouterr().out
    assert (tmp_path / "page" / "index.html").exists()
