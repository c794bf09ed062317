"""Searches: batches in lockstep, pruning at rungs, and the same trials whenever a run is killed."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace

import optuna
import pandas as pd
import pytest

from condensers.memory import load_memory
from harness.ablate.__main__ import main
from harness.ablate.flags import Ablate
from harness.ablate.running import run
from harness.ablate.search import prepare
from harness.ablate.trials import OBJECTIVE, best
from harness.core.records import Records
from harness.core.rows import RungRow
from harness.core.studies import UNPRUNED
from harness.table.__main__ import main as table
from harness.table.flags import Table

SIZES = {"ipc": 2, "network": "ConvNet-W4-D2", "iterations": 8, "real_batch": 8, "epochs": 10, "networks": 2}
SMALL = Ablate(search=("weights", "readings"), condenser="dm+sm+ridge", trials=12, batch=4, validation=20, **SIZES)
VARYING = ["seconds", "commit"]


def rows(out):
    return Records(out / "rungs.csv", RungRow).read()


def study_of(out):
    url = f"sqlite:///{out / 'queue.db'}"
    (name,) = optuna.get_all_study_names(url)
    return optuna.load_study(study_name=name, storage=url)


def assert_same(one, other):
    pd.testing.assert_frame_equal(one.drop(columns=VARYING), other.drop(columns=VARYING))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    config = replace(SMALL, out=tmp_path_factory.mktemp("search"))
    main(config)
    return config


@pytest.fixture
def looks(done):
    return rows(done.out)


def test_every_trial_is_looked_at_at_rungs_until_it_is_pruned_or_over(looks):
    assert looks["trial"].drop_duplicates().tolist() == list(range(12))
    assert set(looks["status"]) == {"complete", "pruned"}
    for _, own in looks.groupby("cell"):
        reached = own["iteration"].tolist()
        assert reached == [2, 4, 6, 8][: len(reached)]
        assert (own["status"] == ("complete" if reached[-1] == 8 else "pruned")).all()
        assert own["networks"].tolist() == [2 if iteration == 8 else 1 for iteration in reached]
    assert looks["accuracy"].between(0, 1).all()
    assert (looks.loc[looks["status"] == "pruned", "trial"] >= UNPRUNED).all()


def test_pruned_are_those_below_the_median_of_complete_ones_before(looks):
    ended = looks[looks["status"] == "pruned"].groupby("trial").last()
    for trial, last in ended.iterrows():
        before = looks[(looks["trial"] // 4 < trial // 4) & (looks["status"] == "complete")]
        median = before[before["iteration"] == last["iteration"]]["accuracy"].median()
        own = looks[looks["trial"] == trial]["accuracy"]
        assert own.max() < median


def test_the_first_trial_is_the_recipe_itself(looks):
    assert looks["condenser"].iloc[0] == "dm+mm:5000+cm:5000+ridge:45"
    assert set(json.loads(looks["parameters"].iloc[0])) == {
        f"{term} {what}" for term in ("mm", "cm", "ridge") for what in ("factor", "reading")
    }


def test_a_complete_trial_has_the_memory_and_the_score_of_the_table_command(done, looks, tmp_path, digits):
    complete = looks[(looks["iteration"] == 8)].set_index("condenser")
    names = tuple(complete.index[:2])
    table(
        Table(
            condensers=names,
            memories=1,
            validation=20,
            out=tmp_path,
            **SIZES | {"ipc": (2,), "network": (SIZES["network"],), "iterations": (SIZES["iterations"],)},
        )
    )
    theirs = pd.read_csv(tmp_path / "results.csv").groupby("condenser")["value"].mean()
    held_out = digits.hold_out(20)
    for name in names:
        assert theirs[name] == pytest.approx(complete["accuracy"][name])
        (mine,) = done.out.glob(f"memories/{name.replace(':', '_')}-digits-*")
        (other,) = tmp_path.glob(f"memories/{mine.name}")
        assert load_memory(mine, held_out.train).checksum == load_memory(other, held_out.train).checksum
        assert load_memory(mine, held_out.train).metadata["cost"]["recipes"] > 1, "it was made beside others"
    assert len(list(done.out.glob("memories/*"))) == len(complete)


def test_the_storage_holds_the_study(done, looks):
    study = study_of(done.out)
    assert study.metric_names == [OBJECTIVE]
    last = looks.groupby("condenser").last()
    assert {trial.user_attrs["condenser"] for trial in study.trials} == set(last.index)
    for trial in study.trials:
        own = last.loc[trial.user_attrs["condenser"]]
        assert trial.value == own["accuracy"]
        assert trial.state.name.lower() == own["status"]
        assert trial.params == json.loads(own["parameters"])
        assert list(trial.intermediate_values) == [2, 4, 6][: len(trial.intermediate_values)]


def test_the_report_says_which_trial_won_and_that_it_is_flattered(done, looks, capsys):
    before = (done.out / "rungs.csv").read_bytes()
    main(done)
    said = capsys.readouterr().out
    assert (done.out / "rungs.csv").read_bytes() == before
    trials = pd.read_csv(done.out / "trials.csv")
    assert len(trials) == 12
    (won,) = trials.loc[trials["won"], "condenser"]
    complete = trials[trials["status"] == "complete"]
    assert complete["accuracy"].max() == complete.set_index("condenser")["accuracy"][won]
    assert won == best(list(prepare(done).finished().values())).name
    assert f"won by {OBJECTIVE}: {won}" in said
    assert "flatters it" in said
    assert f"--condensers dm+mm:5000+cm:5000+ridge:45 {won} --seed 1" in said


def test_a_search_repeats_and_more_trials_go_on_with_it(done, looks, tmp_path):
    config = replace(done, trials=8, out=tmp_path)
    run(prepare(config))
    assert_same(rows(tmp_path), looks[looks["trial"] < 8])
    run(prepare(replace(config, trials=12)))
    assert_same(rows(tmp_path), looks)


def test_a_lost_study_is_rebuilt_from_the_rows(done, looks, tmp_path):
    run(prepare(replace(done, trials=8, out=tmp_path)))
    (tmp_path / "queue.db").unlink()
    run(prepare(replace(done, out=tmp_path)))
    assert len(study_of(tmp_path).trials) == 12
    assert_same(rows(tmp_path), looks)


def start(out, **environment):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SIZES.items()]
    flags += ["--condenser=dm+sm+ridge", "--trials=12", "--batch=4", "--validation=20", f"--out={out}"]
    command = [sys.executable, "-m", "harness.ablate", "--search", "weights", "readings", *flags]
    own = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    return subprocess.Popen(command, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def looked_at(database, first):
    """Looks that a study knows of at trials from the first on; without Optuna, which would make tables it misses."""
    asked = "select count(*) from trial_intermediate_values join trials using (trial_id) where number >= ?"
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return connection.execute(asked, (first,)).fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def killed_within(batch, out):
    """Kill a run once it has looked at a trial of a batch. False if the batch was recorded before the signal came."""
    process = start(out)
    while not looked_at(out / "queue.db", first=4 * batch):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    return rows(out)["trial"].nunique() == 4 * batch


@pytest.mark.parametrize("batch", [0, 1])
def test_killed_within_a_batch_it_goes_on_as_if_nothing_had_been(batch, done, looks, tmp_path):
    out = next((out for out in (tmp_path / str(number) for number in range(5)) if killed_within(batch, out)), None)
    assert out, "five times the batch was recorded before the signal came"
    again = start(out)
    _, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert_same(rows(out), looks)
    states = [trial.state.name for trial in study_of(out).trials]
    assert states.count("FAIL") == 4
    assert "RUNNING" not in states


def test_two_processes_share_a_folder_and_do_the_work_once(looks, tmp_path):
    processes = [start(tmp_path) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors
    assert_same(rows(tmp_path), looks)


def stop(process, database):
    """Stop a process where it holds no lock that another would wait for."""
    while True:
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(database, timeout=0)) as connection:
            connection.execute("begin immediate")
            return
        process.send_signal(signal.SIGCONT)


def test_a_search_survives_the_same_one_of_another_folder_on_its_storage(looks, tmp_path):
    storage, folders = tmp_path / "queue.db", [tmp_path / name for name in ("first", "second")]
    first = start(folders[0], HARNESS_STORAGE=f"sqlite:///{storage}")
    while not looked_at(storage, first=0):
        assert first.poll() is None, first.stderr.read()
        time.sleep(0.01)
    stop(first, storage)
    second = start(folders[1], HARNESS_STORAGE=f"sqlite:///{storage}")
    _, errors = second.communicate(timeout=600)
    assert second.returncode == 0, errors
    first.send_signal(signal.SIGCONT)
    _, errors = first.communicate(timeout=600)
    assert first.returncode == 0, errors
    for folder in folders:
        assert_same(rows(folder), looks)
    assert [study.n_trials for study in optuna.get_all_study_summaries(f"sqlite:///{storage}")] == [12, 12]


def test_a_reading_that_was_tried_is_not_made_again(tmp_path):
    config = replace(SMALL, search=("readings",), condenser="dm+cm", trials=6, batch=3, out=tmp_path)
    main(config)
    found = rows(tmp_path)
    assert set(found["condenser"]) <= {"dm+cm:5000", "dm+cm-paper:5000"}
    assert len(found.drop_duplicates(["cell", "iteration"])) == len(found)
    assert len(study_of(tmp_path).trials) == 6


def test_a_memory_that_diverges_is_said_to_and_never_wins(tmp_path, capsys):
    # So steep that pixels overflow.
    config = replace(SMALL, search=("weights",), condenser="dm+ridge:1e38", trials=4, out=tmp_path)
    main(config)
    found = rows(tmp_path)
    assert set(found["status"]) == {"diverged"}
    assert found["accuracy"].isna().all()
    assert "4 diverged" in capsys.readouterr().out
    assert not list(tmp_path.glob("memories/*"))
    assert not pd.read_csv(tmp_path / "trials.csv")["won"].any()


def test_a_plan_makes_nothing(done, tmp_path, capsys):
    main(replace(SMALL, dry_run=True, out=tmp_path))
    said = capsys.readouterr().out
    assert "trials     12 to condense, 4 in lockstep" in said
    assert "rungs      2 4 6 of 8 iterations" in said
    assert not list(tmp_path.iterdir())
    main(replace(done, dry_run=True))
    assert "trials     0 to condense" in capsys.readouterr().out


def test_damaged_rows_are_said_in_one_line(done, tmp_path):
    for old, new, words in (
        (",complete,", ",compleat,", "holds status = 'compleat'"),
        ('""cm factor""', "cm factor", "holds parameters that are no JSON"),
    ):
        out = tmp_path / words.split()[1]
        shutil.copytree(done.out, out)
        text = (out / "rungs.csv").read_text()
        assert old in text
        (out / "rungs.csv").write_text(text.replace(old, new, 1))
        with pytest.raises(ValueError, match=words) as caught:
            main(replace(done, out=out))
        assert len(str(caught.value).splitlines()) == 1


def first_of(frame):
    return frame["cell"] == frame["cell"].iloc[0]


def changed(frame, rows, **fields):
    return frame.assign(**{name: frame[name].mask(rows, value) for name, value in fields.items()})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda frame: frame.drop(index=0), "has looks after 4 6 8 iterations, not after 2 4 6"),
        (lambda frame: frame.drop(index=1), "has looks after 2 6 8 iterations"),
        (lambda frame: frame.drop(index=3), "is said to be complete, and its rows are those of a trial that is pruned"),
        (lambda frame: pd.concat([frame, frame.head(1)]), "has looks after 2 4 6 8 2 iterations"),
        (lambda frame: changed(frame, frame.index == 0, accuracy="nan"), "has no accuracy before its end"),
        (lambda frame: changed(frame, frame.index == 3, accuracy="nan"), "of a trial that is diverged"),
        (lambda frame: changed(frame, frame.index == 3, networks="1"), "has other numbers of networks"),
        (lambda frame: changed(frame, frame.index == 0, networks="2"), "has other numbers of networks"),
        (lambda frame: changed(frame, frame.index == 0, trial="3"), "has rows that differ"),
        (lambda frame: changed(frame, frame.index == 0, iterations="9"), "has rows that differ"),
        (lambda frame: changed(frame, frame.index == 0, status="pruned"), "has rows that differ"),
        (lambda frame: changed(frame, first_of(frame), trial="3"), "is trial 3, as cell"),
        (lambda frame: changed(frame, first_of(frame), status="pruned"), "of a trial that is complete"),
        (lambda frame: changed(frame, first_of(frame), condenser="dm"), "is not that of its condenser"),
        (lambda frame: changed(frame, first_of(frame), cell="00ff00ff00ff00ff"), "is not that of its condenser"),
        (lambda frame: changed(frame, first_of(frame), parameters="{}"), "not those of its condenser"),
        (lambda frame: changed(frame, first_of(frame), parameters="[1]"), "holds parameters that are no table"),
        (lambda frame: changed(frame, first_of(frame), parameters="[" * 9999), "holds parameters that are no JSON"),
        (lambda frame: changed(frame, first_of(frame), parameters='{"mm factor": "x"}'), "not those of its condenser"),
    ],
)
def test_a_trial_is_whole_and_of_this_search_or_refused(done, tmp_path, damage, words):
    shutil.copytree(done.out, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "rungs.csv"
    damage(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False, lineterminator="\n")
    with pytest.raises(ValueError, match="is damaged") as caught:
        main(replace(done, out=tmp_path))
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("trial", [0, 5])
@pytest.mark.parametrize("kept", [True, False], ids=["with its study", "without"])
def test_deleted_rows_of_a_trial_are_run_again(done, looks, tmp_path, trial, kept):
    shutil.copytree(done.out, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "rungs.csv"
    left = pd.read_csv(path, dtype=str).query(f"trial != '{trial}'")
    left.to_csv(path, index=False, lineterminator="\n")
    if not kept:
        (tmp_path / "queue.db").unlink()
    main(replace(done, out=tmp_path))
    found = rows(tmp_path)
    assert sorted(found["trial"].unique()) == list(range(12))
    assert_same(found[found["trial"] == 0].reset_index(drop=True), looks[looks["trial"] == 0])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"condenser": "dm"}, "no term of dm is searched: add some that can be written behind a +"),
        ({"condenser": "our"}, "Did you mean 'ours'?"),
        ({"grid": ("k",)}, "--grid and --search exclude each other"),
        ({"test": True, "validation": None}, "leave out --test"),
        ({"workers": 2}, "leave out --workers"),
        ({"trials": 0}, "--trials is 0; give at least 1"),
        ({"storage": "nonsense"}, "give sqlite:///PATH on one machine"),
    ],
)
def test_mistakes_are_one_line_before_any_work(changed, words, tmp_path):
    with pytest.raises(ValueError, match=r"\S") as caught:
        main(replace(SMALL, out=tmp_path, **changed))
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
