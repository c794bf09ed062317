"""Three worker processes on one study, one of them killed: the table of one worker."""

import os
import signal
import subprocess
import sys
import time

import optuna
import pandas as pd

from harness.core.records import Records
from harness.core.rows import NetworkRow
from harness.core.studies import HEARTBEAT

COMMAND = [sys.executable, "-m", "harness.nas", "--subset", "8", "--proxy", "random", "--ipc", "2", "--epochs", "3"]
COMMAND += ["--whole-replicates", "1"]
APART = ["seconds", "commit"]


def rows(out):
    return Records(out / "results.csv", NetworkRow).read()


def start(out, *flags):
    environment = os.environ | {HEARTBEAT: "1"}
    return subprocess.Popen(
        [*COMMAND, "--out", str(out), *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_three_workers_one_killed_train_every_network_once(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    workers = [start(tmp_path / "three", "--storage", url) for _ in range(3)]
    while not len(rows(tmp_path / "three")):
        assert all(worker.poll() is None for worker in workers)
        time.sleep(0.1)
    workers[1].send_signal(signal.SIGKILL)
    errors = [worker.communicate(timeout=240)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, -9, 0], errors
    found = rows(tmp_path / "three")
    assert len(found) == 16
    assert found["cell"].is_unique
    check_boards(url, found)
    alone = start(tmp_path / "one")
    assert alone.wait(timeout=240) == 0
    pd.testing.assert_frame_equal(in_order(found), in_order(rows(tmp_path / "one")))
    summaries = [pd.read_csv(tmp_path / out / "summary.csv") for out in ("three", "one")]
    pd.testing.assert_frame_equal(*(one.loc[:, ~one.columns.str.contains("minutes")] for one in summaries))


def check_boards(url, frame):
    """A study for the proxy and one for the whole set, each with its own objective and the axes as parameters."""
    named = {name.rpartition("-")[0]: name for name in optuna.get_all_study_names(url)}
    for board, objective in (("random", "validation"), ("whole set", "test")):
        study = optuna.load_study(study_name=named.pop(f"nas-digits-{board}"), storage=url)
        assert (study.metric_names, study.direction.name) == ([f"{objective} accuracy"], "MAXIMIZE")
        done = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
        mine = frame[frame["proxy"] == board.split()[0]].set_index("cell")
        assert {trial.user_attrs["cell"] for trial in done} == set(mine.index)
        for trial in done:
            row = mine.loc[trial.user_attrs["cell"]]
            assert trial.value == row[f"{objective}_accuracy"]
            shown = {**trial.params, **trial.user_attrs}
            axes = ("width", "depth", "norm", "activation", "pooling")
            for name in (*axes, "architecture", "parameters", "macs", "recipe", "proxy"):
                assert shown[name] == row[name]
    assert not named


def in_order(frame):
    return frame.drop(columns=APART).sort_values("cell", ignore_index=True)
