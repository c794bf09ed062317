"""Searches on real digits: what they try, what they spare, that they repeat, and what their regret is."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pandas as pd
import pytest
import tyro

from condensers.device.training import accuracy, train
from harness.core.queue import Sharing
from harness.core.records import Records
from harness.core.rows import NetworkRow, TrialRow
from harness.core.schema import columns, parse
from harness.core.storage import url_of
from harness.core.studies import HEARTBEAT, STARTUP, UNPRUNED
from harness.nas.__main__ import main
from harness.nas.candidates import candidates, proxies
from harness.nas.flags import Nas
from harness.nas.proxies import of_whole
from harness.nas.search import _rungs, _show_in, records_of, run_searches, searches, whole_accuracies
from harness.nas.search_report import report_searches
from harness.nas.survey import Survey, prepare
from search_spaces.spaces import Architecture, Space

SAMPLERS = ("tpe", "evolution", "random")
SMALL = Nas(proxy=("random",), ipc=2, epochs=10, search=SAMPLERS, trials=STARTUP + 5, searches=2)
TINY = Space("tiny", (8,), (1,), ("NN", "IN", "BN"), ("ReLU",), ("None", "Max"))
VARYING = ["seconds", "commit"]


def searched(survey: Survey, config: Nas = SMALL, storage: str | None = None) -> pd.DataFrame:
    run_searches(replace(survey, sharing=Sharing(storage)), config.search, config.trials, config.searches)
    return records_of(survey).read()


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """A whole-set table of accuracies that were never measured: 0.500, 0.501, ... in the order of the subset."""
    out = tmp_path_factory.mktemp("table")
    survey = prepare(replace(SMALL, out=out))
    whole = of_whole(survey.on_device.train, survey.whole, survey.whole_name)
    mine = [one for one in candidates(survey, [whole]) if one.replicate == 0]
    said = {"dataset": "digits", "dataset_checksum": survey.dataset.checksum, "validation": 30, "proxy": "whole"}
    row = replace(
        parse(NetworkRow, ["0.0" if one.kind is float else "0" for one in columns(NetworkRow)]),
        **said,
        recipe=survey.whole_name,
        status="ok",
    )
    own = [{"cell": one.key, "architecture": one.architecture.name} for one in mine]
    path = out / "whole.csv"
    Records(path, NetworkRow).append([replace(row, **each, test_accuracy=0.5 + k / 1000) for k, each in enumerate(own)])
    return path


@pytest.fixture(scope="module")
def finished(table, tmp_path_factory) -> Survey:
    config = replace(SMALL, whole_table=table, out=tmp_path_factory.mktemp("search"))
    main(config)
    return prepare(config)


@pytest.fixture(scope="module")
def rows(finished) -> pd.DataFrame:
    return records_of(finished).read()


def test_every_search_has_all_its_trials(rows):
    counts = rows.groupby(["sampler", "search_replicate"])["trial"].agg(list).to_dict()
    assert counts == {(sampler, search): list(range(15)) for sampler in SAMPLERS for search in (0, 1)}
    assert rows["cell"].nunique() == 6
    assert set(rows["status"]) <= {"complete", "pruned", "repeated"}
    assert rows["validation_accuracy"].between(0, 1).all()
    assert set(rows["memory_checksum"]) == {rows["memory_checksum"][0]}


def test_pruning_saves_epochs_and_random_search_never_prunes(rows):
    pruned, complete = rows[rows["status"] == "pruned"], rows[rows["status"] == "complete"]
    assert {"tpe", "evolution"} == set(pruned["sampler"])
    assert set(pruned["epochs_trained"]) <= _rungs(10) == {2, 4, 6, 8}
    assert set(complete["epochs_trained"]) == {10}
    assert (pruned["trial"] >= UNPRUNED).all()
    assert pruned["seconds"].mean() < complete["seconds"].mean()


def test_samplers_start_with_the_same_trials_and_then_differ(rows):
    tried = rows.groupby(["sampler", "search_replicate"])["architecture"].agg(list)
    for search in (0, 1):
        assert len({tuple(tried[sampler, search][:STARTUP]) for sampler in SAMPLERS}) == 1
        assert len({tuple(tried[sampler, search]) for sampler in SAMPLERS}) == 3
    assert tried["random", 0] != tried["random", 1]


def test_a_child_of_evolution_differs_from_a_recent_trial_in_one_axis(finished, rows):
    by_name = {architecture.name: vars(architecture) for architecture in finished.space}
    tried = [by_name[name] for name in rows.query("sampler == 'evolution' and search_replicate == 0")["architecture"]]
    for number in range(STARTUP, len(tried)):
        recent = tried[number - STARTUP : number]
        assert 1 in [sum(one[axis] != tried[number][axis] for axis in one) for one in recent]


def test_a_trial_is_the_network_of_a_survey_whatever_was_looked_at_meanwhile(finished, rows):
    complete = rows.query("sampler != 'random' and status == 'complete'")
    normed = complete[complete["architecture"].str.contains("-BN-")]
    assert len(normed) >= 1, "batch norm is what a look in the wrong mode would change"
    source = next(proxy for proxy in proxies(finished) if proxy.name == "random")
    by_name = {architecture.name: architecture for architecture in finished.space}
    for _, row in pd.concat([normed.head(3), complete.head(2)]).iterrows():
        seed = finished.network_seed(by_name[row["architecture"]], "proxy", 0, row["search_replicate"])
        network = finished.new_network(by_name[row["architecture"]], seed)
        train(network, *source.data, source.training, seed)
        assert accuracy(network, finished.on_device.test, source.training.chunk) == row["validation_accuracy"]


def test_the_best_is_the_first_complete_one_with_the_best_validation_accuracy(rows):
    for _, own in rows.groupby("cell"):
        done = own[own["status"] == "complete"]
        for number in range(len(own)):
            sofar = done[done["trial"] <= number]
            assert own.iloc[number]["best"] == sofar.loc[sofar["validation_accuracy"].idxmax(), "architecture"]


def test_a_search_repeats_to_the_bit(finished, rows, tmp_path):
    again, first = searched(replace(finished, out=tmp_path), replace(SMALL, searches=1)), rows["search_replicate"] == 0
    pd.testing.assert_frame_equal(again.drop(columns=VARYING), rows[first].drop(columns=VARYING))
    assert len(again) == 3 * 15


def test_the_same_command_again_tries_nothing(finished, capsys):
    before = {path: path.read_bytes() for path in finished.out.glob("*.csv")}
    main(replace(SMALL, whole_table=finished.table.path, out=finished.out))
    assert {path: path.read_bytes() for path in finished.out.glob("*.csv")} == before
    assert "6 searches of 15 trials, 0 of them to be run" in capsys.readouterr().out
    assert len(before) == 4, "no network was trained on the whole set, nor in vain"


def test_a_plan_counts_what_is_left_and_runs_nothing(finished, table, tmp_path, capsys):
    plan = replace(SMALL, whole_table=table, dry_run=True)
    main(replace(plan, out=finished.out))
    assert "searches   0 of 15 trials" in capsys.readouterr().out
    main(replace(plan, proxy=("random", "herding"), out=tmp_path / "new"))
    said = capsys.readouterr().out
    assert "memories   2 to condense random herding" in said
    assert "searches   12 of 15 trials" in said  # two proxies, three samplers, two replicates
    looked_at = 1352 - 300  # herding sees all training images but those held out
    assert f"images     {12 * 15 * 300 + looked_at:,} forward, {12 * 15 * 10 * 20:,} forward and back" in said
    assert "known      405 of the 405" in said
    assert not list((tmp_path / "new").glob("*"))


def test_what_was_tried_before_is_not_trained_again(finished, tmp_path):
    tiny = replace(finished, space=TINY, architectures=tuple(TINY.subset(6)), out=tmp_path)
    frame = searched(tiny, replace(SMALL, trials=20, searches=1))
    for _, own in frame.groupby("sampler"):
        first = own.drop_duplicates("architecture")
        repeated = own.drop(first.index)
        assert "repeated" not in set(first["status"])
        assert len(repeated) >= 14
        assert set(repeated["status"]) == {"repeated"}
        assert (repeated["seconds"].sum(), repeated["epochs_trained"].sum()) == (0, 0)
        values = first.set_index("architecture")["validation_accuracy"]
        assert (repeated["architecture"].map(values) == repeated["validation_accuracy"]).all()


def test_a_storage_shows_the_studies_and_changes_nothing(finished, rows, tmp_path):
    storage = f"sqlite:///{tmp_path / 'studies.db'}"
    config = replace(SMALL, search=("tpe",), searches=1)
    frame = searched(replace(finished, out=tmp_path), config, storage)
    mine = rows[rows["cell"] == frame["cell"][0]].reset_index(drop=True)
    pd.testing.assert_frame_equal(frame.drop(columns=VARYING), mine.drop(columns=VARYING))
    (name,) = [name for name in optuna.get_all_study_names(storage) if name.startswith("search-digits-random-tpe-0")]
    trials = optuna.load_study(study_name=name, storage=storage).trials
    assert [Architecture(**trial.params).name for trial in trials] == mine["architecture"].tolist()
    assert {trial.state.name for trial in trials} == {"COMPLETE", "PRUNED"}
    assert any(trial.intermediate_values for trial in trials)
    assert [trial.user_attrs["architecture"] for trial in trials] == mine["architecture"].tolist()
    assert [trial.user_attrs["epochs trained"] for trial in trials] == mine["epochs_trained"].tolist()
    study = optuna.load_study(study_name=name, storage=storage)
    assert study.metric_names == ["validation accuracy"]
    assert study.user_attrs["proxy"] == "random"
    (queue,) = [name for name in optuna.get_all_study_names(storage) if name.startswith("searches-digits-random-")]
    best = optuna.load_study(study_name=queue, storage=storage).best_trial
    assert best.value == mine.loc[mine["status"] == "complete", "validation_accuracy"].max()


def test_another_folder_leaves_the_study_of_a_running_search_alone(finished, tmp_path):
    storage = f"sqlite:///{tmp_path / 'studies.db'}"
    (search, *_), url = searches(finished, ("random",), 15, 1), url_of(storage, tmp_path)
    here, there = (replace(finished, out=tmp_path / name) for name in ("here", "there"))
    trial = optuna.create_trial(value=0.5)
    show = _show_in(url, here, search)
    show(None, trial)
    _show_in(url, there, search)(None, trial)
    show(None, trial)
    assert sorted(one.n_trials for one in optuna.get_all_study_summaries(storage)) == [1, 2]
    _show_in(url, here, search)  # after the first was killed: begun afresh
    assert sorted(one.n_trials for one in optuna.get_all_study_summaries(storage)) == [0, 1]


def call(out: Path, table: Path, *flags: str) -> subprocess.Popen:
    own = ["--proxy", "random", "--ipc", "2", "--epochs", "10", "--trials", "15", "--searches", "1", *flags]
    command = [sys.executable, "-m", "harness.nas", *own, "--search", *SAMPLERS, "--whole-table", str(table)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", HEARTBEAT: "1"}
    command += ["--out", str(out)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


SECOND = "search-digits-random-evolution-0"


def shown_in(storage: str, start: str) -> int:
    """Trials of the study whose name starts so."""
    names = [name for name in optuna.get_all_study_names(storage) if name.startswith(start)]
    return sum(len(optuna.load_study(study_name=name, storage=storage).trials) for name in names)


def killed_in_the_second(out: Path, table: Path, storage: str) -> bool:
    """Kill a run once its second search has a trial. False if that one had all by then: the look took too long."""
    out.mkdir()
    process = call(out, table, "--storage", storage)
    while not (Records(out / "search.csv", TrialRow).finished() and shown_in(storage, SECOND)):
        assert process.poll() in (None, 0), process.stderr.read()
        time.sleep(0.02)
    process.kill()
    process.communicate()
    return shown_in(storage, SECOND) < 15


def test_killed_in_a_search_two_workers_run_it_anew(rows, table, tmp_path):
    tries = [(tmp_path / str(number), f"sqlite:///{tmp_path / str(number) / 'queue.db'}") for number in range(5)]
    out, storage = next(place for place in tries if killed_in_the_second(place[0], table, place[1]))
    records = Records(out / "search.csv", TrialRow)
    assert len(records.finished()) == 1
    again = call(out, table, "--storage", storage, "--workers", "2")
    said, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    order = ["sampler", "search_replicate", "trial"]
    mine, theirs = (
        frame.sort_values(order, ignore_index=True) for frame in (records.read(), rows[rows["search_replicate"] == 0])
    )
    pd.testing.assert_frame_equal(mine.drop(columns=VARYING), theirs.drop(columns=VARYING))
    assert shown_in(storage, SECOND) == 15
    assert "regret in points" in said


def test_the_report_is_of_the_table(finished, rows):
    found = pd.read_csv(finished.out / "search_summary.csv").set_index("sampler")
    assert list(found.index) == sorted(SAMPLERS)
    assert set(found["known"]) == {405}
    assert found.loc["random", "epochs_saved"] == 0
    assert (found.loc[["tpe", "evolution"], "epochs_saved"] > 0.05).all()
    known = whole_accuracies(finished)
    last = rows[(rows["sampler"] == "random") & (rows["trial"] == 14)]
    assert found.loc["random", "regret_after_15"] == pytest.approx(0.904 - known[last["best"]].mean())
    assert (finished.out / "search-random.png").stat().st_size > 10_000


def test_a_part_of_a_table_is_said_to_be_one(finished, table, tmp_path, capsys):
    part = tmp_path / "part.csv"
    part.write_text("".join(table.read_text().splitlines(keepends=True)[:8]))
    survey = replace(finished, table=Records(part, NetworkRow))
    report_searches(survey, records_of(survey).finished())
    said = capsys.readouterr().out
    assert "best: 50.6 %, of 7 of the 405 architectures of convnets-405" in said


def test_who_won_is_said_and_written_with_its_parameters(finished, rows, capsys):
    report_searches(finished, records_of(finished).finished())
    said, found = capsys.readouterr().out, pd.read_csv(finished.out / "search_winners.csv", keep_default_na=False)
    assert len(found) == 6
    for _, row in found.iterrows():
        mine = rows.query(f"sampler == '{row['sampler']}' and search_replicate == {row['search_replicate']}")
        done = mine[mine["status"] == "complete"]
        assert row["architecture"] == mine["best"].iloc[-1]
        assert row["validation_accuracy"] == done["validation_accuracy"].max()
        own = Architecture(**{axis: row[axis] for axis in ("width", "depth", "norm", "activation", "pooling")})
        assert (own.name, own.parameters(10, (1, 8, 8))) == (row["architecture"], row["parameters"])
    (best,) = found[found["won"]].to_dict("records")
    assert best["validation_accuracy"] == found["validation_accuracy"].max()
    equal = found[found["validation_accuracy"] == best["validation_accuracy"]]
    assert best["parameters"] == equal["parameters"].min()
    assert f"winner on random: {best['architecture']}\n" in said
    assert f"width {best['width']}, depth {best['depth']}, norm {best['norm']}, " in said
    assert f"validation accuracy {100 * best['validation_accuracy']:.1f} %" in said


def test_a_search_needs_no_table_and_trains_its_winner_if_asked_to(finished, tmp_path, capsys):
    config = replace(SMALL, search=("random",), searches=1, trials=3, seed=1, out=tmp_path)
    main(config)
    said = capsys.readouterr().out
    assert "regret" not in said
    assert "test accuracy not known: --train-winner trains it on the whole set" in said
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == [
        "search.csv",
        "search_summary.csv",
        "search_winners.csv",
    ]
    main(replace(config, train_winner=True, whole_replicates=1))
    said = capsys.readouterr().out
    trained = Records(tmp_path / "whole_digits.csv", NetworkRow).rows()
    (row,) = pd.read_csv(tmp_path / "search_winners.csv").to_dict("records")
    assert [each.architecture for each in trained] == [row["architecture"]]
    assert (row["test_accuracy"], row["networks"]) == (trained[0].test_accuracy, 1)
    assert row["test_accuracy"] > 0.8, "all images teach more than twenty"
    assert f"test accuracy {100 * row['test_accuracy']:.1f} %, trained on the whole set as quick-whole-1" in said
    assert "regret" not in said, "what won is no table to judge it by"
    main(replace(config, train_winner=True, whole_replicates=1))
    assert len(Records(tmp_path / "whole_digits.csv", NetworkRow).rows()) == 1


def test_a_winner_is_trained_after_a_search_only(tmp_path):
    with pytest.raises(ValueError, match="--train-winner is for a --search"):
        main(replace(SMALL, search=(), train_winner=True, out=tmp_path))


def test_networks_that_diverge_are_never_the_best(finished, tmp_path):
    survey = replace(finished, training=replace(finished.training, lr=1e30), out=tmp_path)
    own = run_searches(survey, ("evolution",), trials=12, replicates=1)
    frame = records_of(survey).read()
    diverged = frame["status"] == "diverged"
    assert diverged.any()
    assert frame.loc[diverged, "validation_accuracy"].isna().all()
    assert not set(frame["best"]) & set(frame[diverged]["architecture"])
    report_searches(survey, own)


MISTAKES = {
    "trials": (["--trials", "0"], "--trials is 0; give at least 1"),
    "searches": (["--searches", "0"], "--searches is 0; give at least 1"),
    "whole": (["--proxy", "random", "whole"], "leave out --proxy whole"),
    "subset": (["--subset", "5"], "--subset is for surveys, not for a --search"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake, tmp_path, monkeypatch):
    flags, words = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"\S") as caught:
        main(tyro.cli(Nas, args=["--search", "tpe", *flags]))
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.glob("**/search.csv"))


def test_an_unknown_sampler_is_refused(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(Nas, args=["--search", "grid"])
    assert "tpe" in capsys.readouterr().err


def changed(column: str, text: str, row: int = 20):
    """What writes a text into one row."""

    def change(rows: pd.DataFrame) -> pd.DataFrame:
        rows.loc[row, column] = text
        return rows

    return change


DAMAGE = {
    "a row twice": (lambda rows: pd.concat([rows, rows.tail(1)]), "has rows of trial 0 1 2"),
    "no last row": (lambda rows: rows.iloc[:-1], "not of 0 to 14 once each"),
    "no first row": (lambda rows: rows.iloc[1:], "not of 0 to 14 once each"),
    "nan": (changed("validation_accuracy", "nan"), "holds validation_accuracy = nan, not 0 to 1"),
    "infinite": (changed("validation_accuracy", "inf"), "holds validation_accuracy = inf, not 0 to 1"),
    "negative": (changed("validation_accuracy", "-7.0"), "holds validation_accuracy = -7, not 0 to 1"),
    "negative time": (changed("seconds", "-7.0"), "holds seconds = -7, not 0 or more"),
    "no time": (changed("seconds", "nan"), "holds seconds = nan, not 0 or more"),
    "negative count": (changed("epochs_trained", "-7"), "its epochs_trained is -7, which is not from 0"),
    "NUL for a number": (changed("validation_accuracy", "\0"), "it holds bytes that are no text"),
    "NUL in a text": (changed("architecture", "ConvNet\0"), "it holds bytes that are no text"),
    "another architecture": (changed("architecture", "ConvNet"), "'ConvNet', which there is not"),
    "another state": (changed("status", "complet"), "holds status = 'complet', which there is not"),
    "another winner": (changed("best", "ConvNet"), "with 'ConvNet' as the best, not with 'ConvNet-W"),
    "another accuracy": (changed("validation_accuracy", "1.0", row=0), "as the best, not with"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_searches_are_refused_in_one_line(damage, finished, table, tmp_path):
    change, words = DAMAGE[damage]
    shutil.copytree(finished.out, tmp_path / "out")
    path = tmp_path / "out" / "search.csv"
    change(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False)
    with pytest.raises(ValueError, match="is damaged") as caught:
        main(replace(SMALL, whole_table=table, out=tmp_path / "out"))
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
