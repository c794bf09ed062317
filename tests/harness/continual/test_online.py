"""Avalanche's own strategies as rows: repeatable, resumable, paired, and without a memory where there is none."""

from dataclasses import replace
from itertools import combinations

import pandas as pd
import pytest

from harness.continual.__main__ import main
from harness.continual.experiment import prepare
from harness.continual.flags import Continual
from harness.continual.online import Online
from harness.core.flags import COMPARED

SMALL = Continual(
    condensers=("random", "dm"),
    strategy=("gdumb", "replay", "naive"),
    iterations=3,
    real_batch=8,
    epochs=4,
    memory_per_class=2,
    orders=2,
    networks=2,
    network="ConvNet-W8-D1",
)
FILES = replace(SMALL, condensers=COMPARED, iterations=None, real_batch=None)  # without what says how to condense
NAMES = {"random (gdumb)", "dm (gdumb)", "random (replay)", "dm (replay)", "naive"}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    config = replace(SMALL, out=tmp_path_factory.mktemp("online"))
    main(config)
    return config


@pytest.fixture
def rows(done):
    return pd.read_csv(done.out / "results.csv", keep_default_na=False)


def test_every_strategy_order_network_and_step_has_its_rows(rows):
    assert set(rows["condenser"]) == NAMES
    accuracies = rows[rows["metric"] == "accuracy"]
    counts = accuracies.groupby(["condenser", "class_order", "network_replicate"])["step"].apply(list)
    assert len(counts) == len(NAMES) * 2 * 2
    assert all(sorted(steps) == [1, 2, 3, 4, 5] for steps in counts)
    # One value for each step seen, and all that is derived from them.
    last = rows[(rows["condenser"] == "naive") & (rows["step"] == 5)]
    assert set(last["metric"]) == {
        "accuracy",
        *(f"accuracy_on_step_{step}" for step in range(1, 6)),
        "forgetting",
        "average_incremental_accuracy",
    }


def test_naive_has_no_memory_and_forgets(rows):
    naive = rows[rows["condenser"] == "naive"]
    assert (naive["ipc_stored"] == 0).all()
    assert (naive["memory_checksum"] == "").all()
    held = rows[rows["condenser"] != "naive"]
    assert (held["ipc_stored"] == 2).all()
    last = naive[naive["step"] == 5]
    first_step = last[last["metric"] == "accuracy_on_step_1"]["value"]
    assert first_step.max() < 0.5


def test_epochs_on_real_images_are_those_asked_for(done, rows, tmp_path):
    """They are no memory's: one that trains on a memory alone is found again."""
    config = replace(SMALL, strategy=("gdumb", "naive"), whole_epochs=1, condensers=("random",), out=tmp_path)
    (tmp_path / "results.csv").write_bytes((done.out / "results.csv").read_bytes())
    main(config)
    made = pd.read_csv(tmp_path / "results.csv", keep_default_na=False).iloc[len(rows) :]
    assert set(made["condenser"]) == {"naive"}
    assert set(made["protocol"]) == {"quick-1+network=ConvNet-W8-D1-IN-ReLU-Avg+epochs=4+whole_epochs=1"}
    usual = rows[(rows["condenser"] == "naive") & (rows["metric"] == "accuracy")]
    assert made[made["metric"] == "accuracy"]["value"].tolist() != usual["value"].tolist()


def test_augmented_training_is_another_cell_and_says_so(done, rows, tmp_path, capsys):
    config = replace(SMALL, augment=True, condensers=("random",), orders=1, networks=1, out=tmp_path)
    main(config)
    assert "on each step's images, augmented" in capsys.readouterr().out
    made = pd.read_csv(tmp_path / "results.csv", keep_default_na=False)
    assert set(made["protocol"]) == {"quick-1+network=ConvNet-W8-D1-IN-ReLU-Avg+epochs=4+augment=True"}
    assert not set(made["cell"]) & set(rows["cell"])
    merged = made.merge(rows, on=["condenser", "class_order", "step", "network_replicate", "metric", "memory_checksum"])
    assert set(merged["condenser"]) == {"random (gdumb)", "random (replay)", "naive"}
    for _, own in merged[merged["metric"] == "accuracy"].groupby("condenser"):
        assert own["value_x"].tolist() != own["value_y"].tolist()


def test_gdumb_learns_from_the_memory_alone(rows):
    # Trained from the same network on the same images, it differs between memories, and is no naive run.
    final = rows[(rows["step"] == 5) & (rows["metric"] == "accuracy")].groupby("condenser")["value"].mean()
    assert final["dm (gdumb)"] != final["random (gdumb)"]
    assert final["random (replay)"] > final["naive"]


def test_what_is_lost_is_made_again_to_the_same_bits(done, rows):
    path = done.out / "results.csv"
    cell = rows[(rows["condenser"] == "dm (replay)") & (rows["step"] == 3)]["cell"].iloc[0]
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if cell not in line))
    main(done)
    again = pd.read_csv(path, keep_default_na=False)
    columns = ["cell", "network_replicate", "metric", "value"]
    assert set(map(tuple, again[columns].to_numpy())) == set(map(tuple, rows[columns].to_numpy()))


def test_condensed_replay_is_compared_with_real_replay(done, capsys):
    main(done)
    said = capsys.readouterr().out
    naive = next(line for line in said.splitlines() if line.strip().startswith("naive"))
    assert naive.split()[1] == "-"  # a league is of a memory
    line = next(line for line in said.splitlines() if line.strip().startswith("dm (replay)"))
    own = next(line for line in said.splitlines() if line.strip().startswith("random (replay)"))
    assert line.count("[") == own.count("[") + 1  # the difference from random under the same strategy


def test_a_stream_is_run_once_for_all_its_steps(tmp_path, monkeypatch):
    runs, network = [], Online._network
    monkeypatch.setattr(Online, "_network", lambda *arguments: runs.append(arguments[1:3]) or network(*arguments))
    main(replace(SMALL, strategy=("gdumb", "naive"), condensers=("random",), networks=1, out=tmp_path))
    assert sorted(runs) == [("gdumb", 0), ("gdumb", 1), ("naive", 0), ("naive", 1)]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"strategy": ("retrain",), "augment": True}, "retrain augments anyway: leave --augment out"),
        ({"upper_bound": True}, "--upper-bound is trained anew at every step: add retrain to --strategy"),
        ({"condensers": ("dc",), "network": "ConvNet-W8-D1-BN"}, "dc takes no batch norm"),
    ],
)
def test_what_cannot_be_done_is_said_before_any_work(changed, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        main(replace(SMALL, out=tmp_path, **changed))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("naive", "naive, as a strategy is"),
        ("whole", "whole, as all real data are"),
        ("dm (gdumb)", "dm \\(gdumb\\), as a memory under a strategy is"),
    ],
)
def test_a_file_named_like_something_else_is_refused(done, tmp_path, name, what):
    memory = next(done.out.glob("memories/dm-*.safetensors"))
    named = tmp_path / f"{name}.safetensors"
    named.write_bytes(memory.read_bytes())
    with pytest.raises(ValueError, match=f"^a memory file is called {what}: rename it$"):
        main(replace(FILES, strategy=("retrain", "naive"), memory=(named,), out=tmp_path / "out"))


def test_a_dry_run_counts_them(done, capsys, tmp_path):
    main(replace(done, out=tmp_path, dry_run=True))
    said = capsys.readouterr().out
    assert "learners   random (gdumb), dm (gdumb), random (replay), dm (replay), naive" in said
    assert f"scores     {len(NAMES) * 2 * 5} cells" in said


def test_nothing_is_condensed_for_what_has_no_memory(capsys, tmp_path):
    config = replace(FILES, strategy=("naive",), memory_per_class=None, out=tmp_path, orders=1, networks=1)
    for asked in ({"condensers": ("bptt",)}, {"iterations": 3}, {"memory_size": 20}, {"store": "uint8"}):
        with pytest.raises(ValueError, match=r"^--[a-z-]+ is for memories, and naive learns without one: leave it out"):
            prepare(replace(config, **asked))
    main(replace(config, dry_run=True))
    said = capsys.readouterr().out
    assert "memories   0 to condense" in said
    assert "cells of 1 networks, ConvNet-W8-D1-IN-ReLU-Avg, 5 epochs on each step's images\n" in said
    main(config)
    assert "condensed on" not in capsys.readouterr().out


def test_the_usual_strategy_is_the_default_and_can_be_named_beside_others(tmp_path, capsys):
    assert Continual().strategy == ("retrain",)
    both = replace(SMALL, strategy=("retrain", "naive"), condensers=("random",), orders=1, networks=1, out=tmp_path)
    main(both)
    rows = pd.read_csv(tmp_path / "results.csv")
    assert set(rows["condenser"]) == {"random", "naive"}
    assert "random" in capsys.readouterr().out


def test_leagues_are_apart_and_naive_is_beside_each(tmp_path):
    one = {"orders": 1, "networks": 1, "epochs": 1, "whole_epochs": 1, "iterations": 1}
    config = replace(SMALL, condensers=("random", "dm", "m3d"), strategy=("gdumb", "naive"), out=tmp_path, **one)
    main(config)
    found = pd.read_csv(tmp_path / "differences.csv").query("metric == 'accuracy' and step == 5")
    pairs = found.groupby("league")[["condenser", "other condenser"]].apply(
        lambda own: {*map(frozenset, own.to_numpy())}
    )
    strict = ("random (gdumb)", "dm (gdumb)", "naive")
    assert pairs["strict"] == {frozenset(pair) for pair in combinations(strict, 2)}
    assert pairs["open"] == {frozenset(("m3d (gdumb)", "naive"))}
