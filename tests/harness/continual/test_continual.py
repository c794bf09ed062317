"""The continual command on real digits: its rows, its resumption, its repeatability."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from safetensors import safe_open

from condensers.device.training import predict
from condensers.memory import load_memory, read_metadata
from harness.continual import online
from harness.continual.__main__ import main
from harness.continual.experiment import prepare
from harness.continual.flags import Continual
from harness.continual.report import settings
from harness.continual.stream import memory_plan, scores
from harness.core.records import Records
from harness.core.schema import ScoreRow
from harness.core.studies import HEARTBEAT
from harness.evaluate.__main__ import main as evaluate
from harness.evaluate.flags import Evaluate
from harness.evidence.intervals import paired_difference
from scenarios.buffers import CondensedBuffer
from scenarios.strategies import RetrainFromMemory
from scenarios.streams import continual_stream

PROGRESS = re.compile(r".+: \d+% \(\d+ of \d+ \w+\), [\d:]+ gone, ([\d:]+|\?) left")
SMALL = Continual(condensers=("random", "dm"), memory_per_class=3, orders=2, networks=2, iterations=3, epochs=4)
TIMES = ["seconds"]
FLAGS = [
    "--condensers",
    "random",
    "dm",
    "--memory-per-class",
    "3",
    "--orders",
    "2",
    "--networks",
    "2",
    "--iterations",
    "3",
    "--epochs",
    "4",
]


def rows(out: Path) -> pd.DataFrame:
    frame = Records(out / "results.csv", ScoreRow).read()
    order = ["condenser", "class_order", "step", "network_replicate", "metric"]
    return frame.drop(columns=TIMES).sort_values(order, ignore_index=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("continual")
    main(replace(SMALL, out=out))
    return out


def start(out: Path, *flags: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "harness.continual", *FLAGS, *flags, "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", HEARTBEAT: "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_every_two_lines_stand_against_each_other_after_each_step(finished):
    frame, found = rows(finished), pd.read_csv(finished / "differences.csv")
    steps = found[found["metric"] == "accuracy"]
    assert list(steps["step"]) == [1, 2, 3, 4, 5]
    assert list(steps["classes seen"]) == [2, 4, 6, 8, 10]
    assert set(found["metric"]) == {"accuracy", "average_incremental_accuracy", "forgetting"}
    for line in steps.to_dict("records"):
        expected = paired_difference(frame, "accuracy", line["condenser"], line["other condenser"], step=line["step"])
        assert (line["difference"], line["low"], line["high"]) == pytest.approx(
            (expected.mean, expected.low, expected.high)
        )
        assert line["memories"] == 2
    assert set(found["league"]) == {"strict"}
    assert set(found["protocol"]) == {"quick-1+epochs=4"}


def test_of_fewer_orders_of_the_same_file_only_their_memories_are_compared(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    main(replace(SMALL, orders=1, out=tmp_path / "copy"))
    assert set(pd.read_csv(tmp_path / "copy" / "differences.csv")["memories"]) == {1}


def test_a_line_alone_has_no_comparison_and_says_that_an_earlier_one_is_gone(finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "copy")
    path = tmp_path / "copy" / "differences.csv"
    main(replace(SMALL, condensers=("dm",), out=tmp_path / "copy"))
    assert not path.exists()
    assert f"{path} of an earlier comparison is gone" in capsys.readouterr().out


def test_every_cell_leaves_its_rows(finished):
    frame = rows(finished)
    accuracies = frame[frame["metric"] == "accuracy"]
    assert len(accuracies) == 2 * 2 * 5 * 2  # condensers, orders, steps, networks
    assert accuracies["value"].between(0, 1).all()
    assert set(accuracies["classes_seen"]) == {2, 4, 6, 8, 10}
    assert accuracies["cell"].nunique() == 2 * 2 * 5
    assert accuracies["memory_checksum"].nunique() == 4
    assert (finished / "accuracy.png").stat().st_size > 10_000
    assert len(list((finished / "memories").glob("*.safetensors"))) == 4


def measured_by_avalanche(out: Path) -> dict[tuple[int, int, str], float]:
    """By step, network and metric: the networks of dm's first order, trained once more in one stream that Avalanche
    evaluates after every step.
    """
    experiment = prepare(replace(SMALL, out=out))
    plan, stream = memory_plan(experiment, 0), continual_stream(experiment.dataset, 5, 0)
    strategy = RetrainFromMemory(
        buffer=CondensedBuffer(plan.load("dm"), per_class=3),
        make_network=lambda step, replicate: experiment.new_network(experiment.network_seed(0, step + 1, replicate)),
        make_seed=lambda step, replicate: experiment.network_seed(0, step + 1, replicate),
        replicates=2,
        training=experiment.training,
    )
    found = {}
    for step, experience in enumerate(stream.train_stream, 1):
        strategy.train(experience)
        for network in range(2):
            scores = strategy.evaluate(network, stream.test_stream[:step])
            found[step, network, "accuracy"] = scores["accuracy"]
            for then, value in enumerate(scores["accuracy_on_step"], 1):
                found[step, network, f"accuracy_on_step_{then}"] = value
            if step == 5:
                forgotten = strategy.evaluator.get_last_metrics()["StreamForgetting/eval_phase/test_stream"]
                found[step, network, "forgetting"] = forgotten
    return found


def test_avalanche_measures_what_is_recorded(finished):
    ours = rows(finished).query("condenser == 'dm' and class_order == 0 and metric != 'average_incremental_accuracy'")
    recorded = ours.set_index(["step", "network_replicate", "metric"])["value"].to_dict()
    assert recorded == pytest.approx(measured_by_avalanche(finished), abs=1e-6)
    assert len({metric for _, _, metric in recorded}) == 7  # accuracy, five steps, forgetting: each of them once


def test_rows_that_hold_metrics_twice_are_still_read(finished, tmp_path, capsys):
    """As they were written when Avalanche tested the networks, too: nothing runs again, and the report is the same."""
    main(replace(SMALL, out=finished))
    said = capsys.readouterr().out.split("rows: ")[0]
    old = Records(tmp_path / "results.csv", ScoreRow)
    rows = Records(finished / "results.csv", ScoreRow).rows()
    twice = [row for row in rows if row.metric != "average_incremental_accuracy"]
    old.append(rows + [replace(row, metric=f"avalanche_{row.metric}") for row in twice])
    before = old.path.read_bytes()
    main(replace(SMALL, out=tmp_path))
    assert old.path.read_bytes() == before
    assert capsys.readouterr().out.split("rows: ")[0] == said
    old.path.write_bytes(
        b"".join(line for line in before.splitlines(True) if b"avalanche_accuracy_on_step_2" not in line)
    )
    with pytest.raises(ValueError, match="lacks the metric 'avalanche_accuracy_on_step_2'"):
        main(replace(SMALL, out=tmp_path))


@pytest.mark.parametrize(
    ("changes", "trained", "made"),
    [
        (
            {},
            "4 epochs on a memory",
            "; condensed on ConvNet-W32-D2-IN-ReLU-Avg, 3 iterations, 64 real images per class",
        ),
        ({"condensers": ("random", "herding")}, "4 epochs on a memory", ""),
        ({"condensers": ("random",), "strategy": ("replay", "naive")}, "5 epochs on each step's images", ""),
        (
            {"condensers": ("dm", "datadam"), "iterations": None, "strategy": ("gdumb", "replay")},
            "4 epochs on a memory and 5 epochs on each step's images",
            "; condensed on ConvNet-W32-D2-IN-ReLU-Avg, 80 to 200 iterations, 16 to 64 real images per class",
        ),
    ],
)
def test_a_report_says_how_long_was_condensed_and_trained(changes, trained, made, tmp_path):
    experiment = prepare(replace(SMALL, out=tmp_path, **changes))
    assert settings(experiment) == f"ConvNet-W32-D2-IN-ReLU-Avg, {trained}{made}"


def test_the_table_on_the_terminal_says_how_it_was_made(finished, capsys):
    main(replace(SMALL, out=finished))
    said = capsys.readouterr().out
    assert "\ndigits in 5 steps, 3 stored images per class, protocol quick-1+\n" in said
    assert f"\n{settings(prepare(replace(SMALL, out=finished)))}\n" in said


def test_the_table_is_there_where_the_figure_cannot_be(finished, tmp_path, capsys):
    shutil.copy(finished / "results.csv", tmp_path)
    (tmp_path / "accuracy.png").mkdir()
    with pytest.raises(ValueError, match="cannot write"):
        main(replace(SMALL, out=tmp_path))
    assert "digits in 5 steps" in capsys.readouterr().out


def test_a_damaged_memory_of_a_stream_says_how_to_go_on(finished, tmp_path):
    shutil.copytree(finished / "memories", tmp_path / "memories")
    memory = next((tmp_path / "memories").glob("dm-order0*.safetensors"))
    os.truncate(memory, 1000)
    with pytest.raises(ValueError, match=r"cannot read the memory .*; delete it to make it anew$"):
        main(replace(SMALL, out=tmp_path))
    memory.unlink()
    main(replace(SMALL, out=tmp_path))
    same_values(rows(finished), rows(tmp_path))


def test_a_file_in_the_place_of_the_memories_is_one_line(tmp_path):
    (tmp_path / "memories").touch()
    with pytest.raises(ValueError, match=r"cannot write .*memories.*choose another --out"):
        main(replace(SMALL, out=tmp_path))


def test_each_network_is_tested_once(tmp_path, monkeypatch):
    tested = []
    monkeypatch.setattr(online, "predict", lambda *arguments: tested.append(arguments) or predict(*arguments))
    monkeypatch.setattr(RetrainFromMemory, "eval", lambda *arguments: pytest.fail("Avalanche tests a network again"))
    main(replace(SMALL, condensers=("random",), orders=1, out=tmp_path))
    assert len(tested) == 5 * 2  # steps, networks


def test_accuracy_is_the_mean_over_the_images_of_all_classes_seen(finished):
    frame = rows(finished)
    last = frame[(frame["step"] == 5) & (frame["condenser"] == "dm") & (frame["class_order"] == 0)]
    network = last[last["network_replicate"] == 0].set_index("metric")["value"]
    steps = [network[f"accuracy_on_step_{step}"] for step in range(1, 6)]
    assert network["accuracy"] == pytest.approx(sum(steps) / 5, abs=0.02)  # classes are nearly equally frequent
    assert min(steps) <= network["accuracy"] <= max(steps)


def test_same_command_again_runs_nothing(finished):
    before = (finished / "results.csv").read_bytes()
    began = time.perf_counter()
    main(replace(SMALL, out=finished))
    assert (finished / "results.csv").read_bytes() == before
    assert time.perf_counter() - began < 10


def test_more_orders_run_only_what_is_new_and_pair(finished, tmp_path):
    subset = replace(SMALL, orders=1, out=tmp_path)
    main(subset)
    first = rows(tmp_path)
    pd.testing.assert_frame_equal(first, rows(finished).query("class_order == 0").reset_index(drop=True))
    main(replace(subset, orders=2))
    pd.testing.assert_frame_equal(rows(tmp_path), rows(finished))
    assert paired_difference(rows(tmp_path), "accuracy", "dm", "random", step=5).n == 2


def test_alone_or_beside_another_condenser_gives_the_same_values(finished, tmp_path):
    main(replace(SMALL, condensers=("dm",), orders=1, out=tmp_path))
    beside = rows(finished).query("class_order == 0 and condenser == 'dm'").reset_index(drop=True)
    pd.testing.assert_frame_equal(rows(tmp_path), beside)


def test_a_changed_default_never_meets_a_stale_row(finished, tmp_path):
    main(replace(SMALL, condensers=("random",), orders=1, epochs=5, out=tmp_path))
    assert not set(rows(tmp_path)["cell"]) & set(rows(finished)["cell"])


@pytest.mark.parametrize("moment", [0, 1])
def test_killed_anywhere_it_resumes_to_the_same_rows(finished, tmp_path, moment):
    draw = random.Random(moment)
    for _ in range(3):
        process = start(tmp_path)
        time.sleep(5 + draw.uniform(0, 5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (tmp_path / "results.csv").exists():
            counts = rows(tmp_path).groupby(["cell", "metric"]).size()
            assert (counts == 2).all(), "a cell is there with all its networks or not at all"
    last = start(tmp_path)
    _, errors = last.communicate(timeout=120)
    assert last.returncode == 0, errors
    same_values(rows(tmp_path), rows(finished))


def test_two_processes_share_one_folder(finished, tmp_path):
    pair = [start(tmp_path), start(tmp_path)]
    for process in pair:
        _, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors
    same_values(rows(tmp_path), rows(finished))


def test_three_workers_one_killed_leave_the_table_of_one(finished, tmp_path):
    experiment = prepare(replace(SMALL, out=tmp_path))
    with experiment.records.claim(scores(experiment, 0)[0].key) as mine:
        assert mine
        first = start(tmp_path, "--workers", "3")  # waits for us with the first cell, the other two go on
        while not experiment.records.finished():
            assert first.poll() is None
            time.sleep(0.1)
        killed = started_by(first)[0]
        os.kill(killed, signal.SIGKILL)
        assert len(experiment.records.finished()) < 10
    said, errors = first.communicate(timeout=180)
    assert first.returncode == 0, errors
    assert [line for line in errors.splitlines() if not PROGRESS.fullmatch(line)] == []
    assert said.count("ended with exit code -9") == 1
    same_values(rows(tmp_path), rows(finished))
    logs = sorted((tmp_path / "workers").iterdir())
    assert [log.name for log in logs] == ["worker-2.log", "worker-3.log"]
    assert sum("rows: " in log.read_text() for log in logs) == 1


def started_by(process: subprocess.Popen) -> list[int]:
    table = subprocess.run(["ps", "-A", "-o", "ppid=,pid="], capture_output=True, text=True, check=True).stdout
    pairs = [line.split() for line in table.splitlines()]
    return [int(child) for parent, child in pairs if int(parent) == process.pid]


def same_values(one: pd.DataFrame, other: pd.DataFrame) -> None:
    """To the last digit; a subprocess may count other threads, and a longer run may meet a new commit."""
    apart = ["threads", "commit"]
    pd.testing.assert_frame_equal(one.drop(columns=apart), other.drop(columns=apart))


def test_a_total_budget_shrinks_the_share_of_each_class(tmp_path):
    main(replace(SMALL, memory_per_class=None, memory_size=30, orders=1, out=tmp_path))
    frame = rows(tmp_path)
    shares = frame.groupby("classes_seen")["ipc_stored"].unique().map(list).to_dict()
    assert shares == {2: [15], 4: [7], 6: [5], 8: [3], 10: [3]}


def test_a_coupled_recipe_is_condensed_step_by_step(tmp_path):
    main(replace(SMALL, condensers=("dm", "dm+ridge"), orders=1, out=tmp_path))
    groups = {}
    for path in (tmp_path / "memories").glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            memory = file.metadata()["memory"]
        groups[path.name.split("-")[0]] = memory.count('"groups"'), memory
    by_name = {
        path.name.split("-order")[0]: load_memory(path) for path in (tmp_path / "memories").glob("*.safetensors")
    }
    assert len(by_name["dm"].metadata["config"]["groups"]) == 1
    assert [len(classes) for classes, _ in by_name["dm+ridge"].metadata["config"]["groups"]] == [2] * 5


def test_upper_bound_is_a_row_of_its_own(tmp_path, capsys):
    main(replace(SMALL, condensers=("random",), orders=1, networks=1, upper_bound=True, steps=2, out=tmp_path))
    assert not (tmp_path / "differences.csv").exists(), "all real data are not compared"
    frame = rows(tmp_path)
    final = frame[(frame["metric"] == "accuracy") & (frame["step"] == 2)].set_index("condenser")["value"]
    assert final["whole"] > final["random"]
    assert "all real data" in capsys.readouterr().out


def test_plan_counts_what_is_left(finished, capsys):
    main(replace(SMALL, out=finished, dry_run=True))
    out = capsys.readouterr().out
    assert "memories   0 to condense" in out
    assert "scores     0 cells" in out
    main(replace(SMALL, out=finished, orders=3, dry_run=True))
    out = capsys.readouterr().out
    assert "memories   2 to condense" in out
    assert "scores     10 cells" in out


def test_memories_of_a_stream_are_scored_under_their_class_orders(finished, tmp_path):
    files = tuple(sorted((finished / "memories").glob("dm-*.safetensors")))
    assert len(files) == 2
    evaluate(Evaluate(memories=files, network="ConvNet-W4-D1", epochs=1, networks=1, out=tmp_path))
    scored = Records(tmp_path / "results.csv", ScoreRow).read()
    orders = {load_memory(file).checksum: read_metadata(file)["class_order"] for file in files}
    assert dict(zip(scored["memory_checksum"], scored["class_order"], strict=True)) == orders
    assert sorted(orders.values()) == [0, 1]
