"""Summaries as a page and its targets read them: numbers are numbers, also where a file need not have them."""

import math
from pathlib import Path

import pandas as pd
import pytest

from harness.evidence.sources import read, read_folders

COMMITTED = Path(__file__).parents[3] / "results" / "nas"


def changed(committed: str, folder: Path, **values: str) -> Path:
    """A committed summary whose first line has other values."""
    frame = pd.read_csv(COMMITTED / committed, dtype=str, keep_default_na=False)
    for column, value in values.items():
        frame.loc[0, column] = value
    path = folder / Path(committed).name
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("committed", "column"),
    [("digits/summary.csv", "top_36_by_proxy"), ("digits-search/search_summary.csv", "regret_after_40_low")],
)
def test_a_further_number_may_be_left_out_and_is_one_elsewhere(committed, column, tmp_path):
    _, frame = read(changed(committed, tmp_path, **{column: ""}))
    assert math.isnan(frame[column].iloc[0])
    assert frame[column].iloc[1:].between(-1, 1).all()
    with pytest.raises(ValueError, match="is damaged: Unable to parse string"):
        read(changed(committed, tmp_path, **{column: "abc"}))
    with pytest.raises(ValueError, match="it holds numbers that are not finite"):
        read(changed(committed, tmp_path, **{column: "-inf"}))


def test_what_commands_write_again_beside_their_rows_is_no_problem(tmp_path):
    rows = (COMMITTED / "digits-search" / "search.csv").read_text().splitlines()
    (tmp_path / "search.csv").write_text("\n".join([*rows, ""]))
    for name in ("search_regret.csv", "numbers.csv"):
        (tmp_path / name).write_text(
            "\n".join([f"{rows[0]},minutes,regret", *(f"{line},1,0" for line in rows[1:]), ""])
        )
    found = read_folders([tmp_path])
    assert [source.path.name for source in found.sources] == ["search.csv"]
    assert found.problems == []
