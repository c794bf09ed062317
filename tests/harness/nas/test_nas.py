"""The search command on real digits: its cells, its resumption, what it chooses by, and what it says."""

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from condensers.device.training import train
from harness.core.protocols import SURVEYS
from harness.core.records import Records
from harness.core.rows import NetworkRow
from harness.evidence import ranking
from harness.evidence.ranking import Correlation
from harness.evidence.surveys import paired
from harness.nas.__main__ import main
from harness.nas.candidates import candidates, proxies, run
from harness.nas.flags import Nas
from harness.nas.proxies import steps_of
from harness.nas.survey import DEFAULTS, Survey, prepare
from harness.nas.verdict import format_tables, report, summarise
from search_spaces.spaces import Space

SMALL = Nas(proxy=("random", "dm", "whole", "early"), subset=5, ipc=2, epochs=3, iterations=2, memories=2)
TINY = Space("tiny", (8,), (1,), ("NN", "IN", "BN"), ("ReLU",), ("None", "Max"))


def surveyed(config: Nas, **changes: object) -> Survey:
    """A survey whose whole-set side is short, too."""
    survey = prepare(config)
    return replace(survey, whole=replace(survey.whole, epochs=1), **changes)


def rows_of(out: Path, name: str = "results.csv") -> pd.DataFrame:
    return Records(out / name, NetworkRow).read()


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "RESAMPLES", 99)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Survey:
    survey = surveyed(replace(SMALL, out=tmp_path_factory.mktemp("nas")))
    report(survey, run(survey))
    return survey


def test_a_row_per_architecture_proxy_and_replicate(finished):
    frame = rows_of(finished.out)
    counts = frame.groupby(["proxy", "memory_replicate", "network_replicate"]).size()
    memories = {(name, memory, 0): 5 for name in ("random", "dm", "early") for memory in (0, 1)}
    assert counts.to_dict() == memories | {("whole", 0, 0): 5, ("whole", 0, 1): 5}
    assert frame["cell"].is_unique
    assert frame[["validation_accuracy", "test_accuracy"]].stack().between(0, 1).all()
    assert set(frame["status"]) == {"ok"}
    names = [finished.space[index].name for index in frame["index"]]
    assert frame["architecture"].tolist() == names
    first = frame.iloc[0]
    architecture = finished.space[int(first["index"])]
    assert first["parameters"] == architecture.parameters(10, (1, 8, 8))
    assert first["macs"] == architecture.macs((1, 8, 8), 10)
    assert {*frame["dataset_checksum"]} == {finished.dataset.checksum} != {finished.checksum}


def test_the_whole_table_holds_the_whole_set_rows(finished):
    frame, table = rows_of(finished.out), rows_of(finished.out, "whole_digits.csv")
    whole = frame[frame["proxy"] == "whole"].reset_index(drop=True)
    pd.testing.assert_frame_equal(table, whole)
    assert set(table["recipe"]) == {"quick-whole-1"}
    assert set(table["stored_images"]) == {1052}


def test_a_summary_row_and_a_figure_per_proxy(finished):
    table = pd.read_csv(finished.out / "summary.csv").set_index("proxy")
    assert list(table.index) == list(SMALL.proxy)
    assert set(table["architectures"]) == {5}
    assert table["stored_images"].to_dict() == {"random": 20, "dm": 20, "whole": 1052, "early": 1052}
    assert table.loc["random", "stored_bytes"] < table.loc["dm", "stored_bytes"] < table.loc["whole", "stored_bytes"]
    assert (table["spearman_low"] <= table["spearman"]).all()
    first, *others = table["spearman"]
    assert table["above_first"].tolist() == pytest.approx([math.nan, *(other - first for other in others)], nan_ok=True)
    assert table["regret"].between(0, 1).all()
    assert not [name for name in table if "by_whole" in name]
    assert {"top_5_by_proxy", "kendall_high", "spearman_test", "minutes", "noise_ceiling_n"} <= set(table)
    for name in SMALL.proxy:
        assert (finished.out / f"scatter-{name}.png").stat().st_size > 10_000


def test_the_tables_say_what_their_intervals_leave_out(finished):
    frame = rows_of(finished.out)
    row = summarise(finished, frame, "dm") | {"above_first": Correlation(0.0172, 0.0031, 0.0316, 5, "spearman")}
    said = format_tables([summarise(finished, frame, "random"), row])
    # With two digits the lower end would be zero, and nobody could tell whether the interval holds it.
    assert "0.017 [0.003, 0.032]" in said
    head, *lines = (line.split() for line in said.splitlines())
    dm = next(line for line in lines if line[0] == "dm")
    assert "2x1" in dm
    assert head[-3:] == ["steps", "images", "kB"]
    assert dm[-3:-1] == ["3", "20"]
    assert "the luck of memories and of training is in none of these intervals" in said
    assert "none is widened for there being others" in said
    assert "those of a top take its selection as given" in said
    assert "could reach its square root" in said
    assert "condensing is not counted" in said
    assert "of one network and so without an interval" in said


def test_the_whole_set_as_a_proxy_is_the_noise_ceiling(finished):
    row = summarise(finished, rows_of(finished.out), "whole")
    assert row["spearman"] == row["noise_ceiling"]
    sides = paired(rows_of(finished.out), "whole")
    frame = rows_of(finished.out).query("proxy == 'whole'").set_index(["architecture", "network_replicate"])
    for name, side in sides.iterrows():
        assert side["whole"] == frame.loc[(name, 0), "test_accuracy"]
        assert side["proxy"] == frame.loc[(name, 1), "validation_accuracy"]


def test_replicates_are_averaged_before_ranking(finished):
    frame = rows_of(finished.out).query("proxy == 'dm'")
    for name, side in paired(rows_of(finished.out), "dm").iterrows():
        own = frame[frame["architecture"] == name]["validation_accuracy"]
        assert (len(own), side["proxy"]) == (2, pytest.approx(own.mean()))


def test_early_stops_after_as_many_steps_as_a_memory_takes(finished):
    frame = rows_of(finished.out).set_index("proxy")
    assert set(frame.loc[["random", "dm", "early"], "steps"]) == {3}
    early = next(proxy for proxy in proxies(finished) if proxy.name == "early")
    images, labels = early.data
    assert len(labels) == 3 * 64
    assert images.flatten(1).unique(dim=0).shape[0] > 3 * 64 * 0.95, "passes come without replacement"
    taken = []
    handle = register_optimizer_step_post_hook(lambda *_: taken.append(1))
    try:
        train(finished.new_network(finished.architectures[0], seed=0), images, labels, early.training, seed=0)
    finally:
        handle.remove()
    assert len(taken) == early.steps == 3


def test_another_recipe_of_the_whole_set_is_a_proxy(tmp_path, capsys):
    survey = surveyed(
        replace(SMALL, proxy=("short-1",), iterations=None, memories=1, epochs=None, whole_replicates=1, out=tmp_path)
    )
    report(survey, run(survey))
    rows = rows_of(tmp_path).set_index("proxy").loc["short-1"]
    assert set(rows["recipe"]) == {"short-1"}
    assert set(rows["epochs"]) == {10}
    assert set(rows["steps"]) == {10 * math.ceil(1052 / 256)}
    assert set(rows["stored_images"]) == {1052}
    assert set(rows_of(tmp_path, "whole_digits.csv")["recipe"]) == {"quick-whole-1"}, "recipes never mix"
    assert "short-1" in capsys.readouterr().out


def test_early_sees_every_image_before_it_sees_one_twice(finished):
    longer = replace(finished, training=replace(finished.training, epochs=20))
    early = next(proxy for proxy in proxies(longer) if proxy.name == "early")
    images, _ = early.data
    assert early.steps == steps_of(longer.training, 20) == 20
    _, counts = images[:1052].flatten(1).unique(dim=0, return_counts=True)
    _, original = finished.dataset.train.images.flatten(1).unique(dim=0, return_counts=True)
    assert torch.equal(counts.sort().values, original.sort().values)


def test_the_same_command_again_trains_nothing(finished):
    before = {path: path.read_bytes() for path in finished.out.glob("*.csv")}
    report(finished, run(finished))
    assert {path: path.read_bytes() for path in finished.out.glob("*.csv")} == before


def test_whole_set_rows_come_from_the_table(finished, tmp_path, capsys):
    table = rows_of(finished.out, "whole_digits.csv")
    survey = surveyed(replace(SMALL, proxy=("random",), memories=1, out=tmp_path, whole_table=finished.table.path))
    run(survey)
    assert f"10 whole-set networks come from {finished.table.path}" in capsys.readouterr().out
    whole = rows_of(tmp_path).query("proxy == 'whole'")
    assert sorted(whole["seconds"]) == sorted(table["seconds"]), "they were not trained again"
    assert not (tmp_path / "whole_digits.csv").exists()
    # What two surveys have in common is the same in both.
    mine, theirs = (
        frame.query("proxy == 'random'").set_index("cell") for frame in (rows_of(tmp_path), rows_of(finished.out))
    )
    assert mine["test_accuracy"].to_dict().items() <= theirs["test_accuracy"].to_dict().items()


def test_a_larger_subset_trains_only_what_is_new(finished, tmp_path):
    survey = surveyed(replace(SMALL, proxy=("random",), memories=1, out=tmp_path))
    small = replace(survey, architectures=survey.architectures[:4])
    run(small)
    first = rows_of(tmp_path)
    run(survey)
    pd.testing.assert_frame_equal(rows_of(tmp_path).head(len(first)), first)
    assert len(rows_of(tmp_path)) == len(first) * 5 // 4


def keys(survey: Survey) -> dict[tuple[str, int, str], str]:
    return {
        (one.proxy.name, one.replicate, one.architecture.name): one.key for one in candidates(survey, proxies(survey))
    }


def test_a_cell_is_keyed_by_all_that_decides_it_but_rounding(finished):
    same = keys(finished)
    chunk = replace(finished, training=replace(finished.training, chunk=7), whole=replace(finished.whole, chunk=7))
    assert keys(chunk) == same
    for change in ({"seed": 1}, {"precision": "tf32"}, {"checksum": "other"}):
        assert not set(keys(replace(finished, **change)).values()) & set(same.values())
    longer = keys(replace(finished, training=replace(finished.training, epochs=4)))
    assert {name for name, *cell in same if same[name, *cell] != longer[name, *cell]} == {"random", "dm", "early"}
    other = keys(replace(finished, whole_name="paper-200"))
    assert {name for name, *cell in same if same[name, *cell] != other[name, *cell]} == {"whole", "early"}


def test_early_architectures_can_be_compared_first(finished):
    order = [(one.architecture.name, one.proxy.name, one.replicate) for one in candidates(finished, proxies(finished))]
    names = [architecture.name for architecture in finished.space.subset(5)]
    assert [name for name, _, _ in order] == [name for name in names for _ in range(7)] + names
    assert order[0] == (names[0], "whole", 0)
    assert {(proxy, replicate) for _, proxy, replicate in order[35:]} == {("whole", 1)}


def test_the_choice_is_made_on_validation_not_on_test(finished):
    frame = rows_of(finished.out)
    mine, names = frame["proxy"] == "dm", sorted(frame["architecture"].unique())
    place = frame["architecture"].map(names.index)
    # The last on validation is the first on test.
    frame.loc[mine, "validation_accuracy"], frame.loc[mine, "test_accuracy"] = 0.3 + place / 100, 0.9 - place / 100
    whole = (frame["proxy"] == "whole") & (frame["network_replicate"] == 0)
    frame.loc[whole, "test_accuracy"] = 0.95 - place / 50
    row = summarise(finished, frame, "dm")
    assert row["chosen"] == (names[-1],)
    assert (row["accuracy"], row["best"], row["regret"]) == pytest.approx((0.87, 0.95, 0.08))
    assert row["spearman"].value == pytest.approx(-1)
    assert row["spearman_test"].value == pytest.approx(1)


def test_the_top_by_whole_set_rank_waits_for_the_whole_space(finished, tmp_path):
    survey = surveyed(replace(SMALL, proxy=("random",), out=tmp_path), space=TINY, architectures=tuple(TINY.subset(6)))
    own = run(survey)
    row = summarise(survey, rows_of(tmp_path), "random")
    assert {"top_5_by_whole", "top_5_by_proxy"} <= set(row)
    assert "waits" not in format_tables([row])
    report(survey, own)
    partial = summarise(finished, rows_of(finished.out), "random")
    assert "5 of the 405 architectures of convnets-405; the top by whole-set rank waits" in format_tables([partial])


def test_networks_that_diverge_are_rows_and_rank_lowest(tmp_path):
    config = replace(SMALL, proxy=("random",), memories=1, out=tmp_path)
    survey = surveyed(config)
    survey = replace(survey, training=replace(survey.training, lr=1e30))
    report(survey, run(survey))
    frame = rows_of(tmp_path).query("proxy == 'random'")
    diverged = frame["status"] == "diverged"
    assert diverged.any()
    assert (frame["validation_accuracy"].isna() == diverged).all()
    assert (frame["test_accuracy"].isna() == diverged).all()
    row = summarise(survey, rows_of(tmp_path), "random")
    assert row["diverged_proxy"] == diverged.sum()
    if not diverged.all():
        assert not set(row["chosen"]) & set(frame[diverged]["architecture"])
    before = (tmp_path / "results.csv").read_bytes()
    run(survey)
    assert (tmp_path / "results.csv").read_bytes() == before, "a diverged network is a result, not a failure"


def test_a_plan_counts_what_is_left_and_makes_nothing(finished, tmp_path, capsys):
    main(replace(SMALL, proxy=("dm", "early"), out=tmp_path / "new", dry_run=True))
    said = capsys.readouterr().out
    assert "memories   2 to condense dm dm" in said
    assert "networks   30 to train" in said  # whole: 2 x 5, dm: 2 x 5, early: 2 x 5
    # Trainings on the whole set, on memories and stopped early, and two iterations of dm for each memory.
    images = 10 * 30 * 1052 + 10 * 3 * 20 + 10 * 3 * 64 + 2 * 2 * 20
    # 300 validation and 445 test images for every network; each iteration takes 64 real images per class.
    tested = 30 * (300 + 445) + 2 * 2 * 64 * 10
    assert f"images     {tested:,} forward, {images:,} forward and back" in said
    assert not list((tmp_path / "new").glob("*"))


def test_defaults_are_said_out_loud(tmp_path, capsys):
    survey = prepare(Nas(device="cpu", out=tmp_path))
    assert (survey.dataset.name, len(survey.architectures), survey.proxies) == ("digits", 45, ("ours",))
    said = capsys.readouterr().out
    assert "no --dataset: digits" in said
    assert "45 of the 405 architectures of convnets-405" in said
    assert {defaults.dataset for defaults in SURVEYS.values()} == set(DEFAULTS)


def call(out: Path, table: Path) -> subprocess.Popen:
    flags = ["--proxy", "random", "--subset", "12", "--ipc", "2", "--epochs", "2", "--whole-replicates", "1"]
    command = [sys.executable, "-m", "harness.nas", *flags, "--whole-table", str(table), "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def table(finished, tmp_path) -> Path:
    """What training 12 architectures on the whole set, as the command does, would leave but for the accuracies."""
    row = finished.table.rows()[0]
    survey = prepare(replace(SMALL, subset=12, proxy=("early",), iterations=None, whole_replicates=1, out=tmp_path))
    whole = [one for one in candidates(survey, proxies(survey)) if one.proxy.name == "whole"]
    own = [{"cell": one.key, "architecture": one.architecture.name} | vars(one.architecture) for one in whole]
    path = tmp_path / "table.csv"
    Records(path, NetworkRow).append([replace(row, **each, test_accuracy=0.5 + k / 100) for k, each in enumerate(own)])
    return path


def test_killed_it_resumes_and_trains_every_network_once(table, tmp_path):
    out, was = tmp_path / "out", table.read_bytes()
    process = call(out, table)
    while not (out / "results.csv").exists() or len(rows_of(out)) < 12 + 2:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = rows_of(out)
    assert len(before) < 24
    again = call(out, table)
    said, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    frame = rows_of(out)
    pd.testing.assert_frame_equal(frame.head(len(before)), before)
    assert len(frame) == frame["cell"].nunique() == 24
    assert table.read_bytes() == was
    assert "noise ceiling of Spearman: none" in said
    assert (out / "scatter-random.png").exists()


def test_help_shows_the_command_without_importing_torch():
    answer = subprocess.run([sys.executable, "-m", "harness.nas", "--help"], capture_output=True, text=True, check=True)
    assert "python -m harness.nas --proxy ours" in answer.stdout
    code = "import sys, harness.nas.__main__; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_published_table_has_all_that_the_default_command_needs_of_the_whole_set(unpublished, tmp_path):
    survey = prepare(Nas(device="cpu", subset=405, out=tmp_path))
    published = Records(unpublished / "whole_digits.csv", NetworkRow)
    whole = [one.key for one in candidates(survey, proxies(survey)) if one.proxy.name == "whole"]
    assert len(whole) == 810
    assert published.finished() == set(whole)
