"""Grids: the same scores as the commands they are made of, leagues apart, and verdicts by the written rule."""

import itertools
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from condensers import registry
from condensers.device.training import Training
from harness.core.points import cell_key
from harness.evaluate.__main__ import main as evaluate
from harness.evaluate.flags import Evaluate
from harness.table.__main__ import main
from harness.table.flags import Table
from harness.table.tabulation import TABLES, prepare

SMALL = Table(
    condensers=("random", "dm", "m3d"),
    ipc=(1, 2),
    network=("ConvNet-W4-D1",),
    iterations=(2,),
    real_batch=8,
    epochs=3,
    memories=2,
    networks=2,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    config = replace(SMALL, out=tmp_path_factory.mktemp("table"))
    main(config)
    return config


@pytest.fixture
def table(done):
    return pd.read_csv(done.out / "table.csv", keep_default_na=False)


def test_a_line_for_every_point_and_condenser(done, table):
    assert list(zip(table["images per class"], table["condenser"], strict=True)) == [
        (ipc, name) for ipc in (1, 2) for name in SMALL.condensers
    ]
    assert (table["memories"] == 2).all()
    assert (table["networks"] == 2).all()
    assert (table["verdict"] == "").all()
    assert (table["scored on"] == "test").all()
    assert set(table["league"][table["condenser"] == "m3d"]) == {"open"}
    assert (table["decoded per stored"] == [1, 1, 4] * 2).all()
    assert ((table["flop"] > 0) == (table["condenser"] != "random")).all()
    assert (done.out / "cost.png").read_bytes().startswith(b"\x89PNG")
    rows = pd.read_csv(done.out / "results.csv")
    assert len(rows) == 2 * 3 * 2 * 2
    assert set(rows["memory_replicate"]) == {0, 1}


def test_accuracies_are_means_over_memories(done, table):
    rows = pd.read_csv(done.out / "results.csv")
    means = rows.groupby(["ipc_stored", "condenser", "memory_replicate"])["value"].mean()
    for line in table.to_dict("records"):
        own = means[line["images per class"], line["condenser"]]
        assert line["accuracy"] == pytest.approx(own.mean())
        half = 12.706204736 * own.std() / 2**0.5  # Student's t for two memories
        assert (line["low"], line["high"]) == pytest.approx((own.mean() - half, own.mean() + half))


def test_what_is_below_the_best_of_its_league_is_paired_by_memory(done, table):
    rows = pd.read_csv(done.out / "results.csv")
    means = rows.groupby(["ipc_stored", "condenser", "memory_replicate"])["value"].mean()
    for ipc in (1, 2):
        strict = table[(table["images per class"] == ipc) & (table["league"] == "strict")]
        best = strict.loc[strict["accuracy"].idxmax(), "condenser"]
        for line in strict.to_dict("records"):
            below = means[ipc, best] - means[ipc, line["condenser"]]
            half = 12.706204736 * below.std() / 2**0.5
            expected = (best, below.mean(), below.mean() - half, below.mean() + half)
            found = [line[name] for name in ("best", "below best", "below best low", "below best high")]
            assert found[0] == expected[0]
            assert found[1:] == pytest.approx(expected[1:], abs=1e-9)
    opened = table[table["league"] == "open"]
    assert set(opened["best"]) == {"m3d"}
    assert (opened[["below best", "below best low", "below best high"]].astype(float) == 0).all(axis=None)


def test_every_two_of_a_league_stand_against_each_other(done):
    rows = pd.read_csv(done.out / "results.csv")
    means = rows.groupby(["ipc_stored", "condenser", "memory_replicate"])["value"].mean()
    found = pd.read_csv(done.out / "differences.csv")
    assert list(found["images per class"]) == [1, 2], "of the strict league there are two, of the open one there is one"
    assert set(found["league"]) == {"strict"}
    for line in found.to_dict("records"):
        difference = (
            means[line["images per class"], line["condenser"]]
            - means[line["images per class"], line["other condenser"]]
        )
        assert {line["condenser"], line["other condenser"]} == {"random", "dm"}
        assert line["difference"] == pytest.approx(difference.mean())
        assert line["difference"] >= 0
        assert line["memories"] == 2


def test_scores_are_those_of_evaluate(done, tmp_path):
    (memory,) = done.out.glob("memories/dm-digits-ipc2-replicate1-*.safetensors")
    evaluate(Evaluate(memories=(memory,), network="ConvNet-W4-D1", epochs=3, networks=2, out=tmp_path))
    alone = pd.read_csv(tmp_path / "results.csv")["value"].tolist()
    rows = pd.read_csv(done.out / "results.csv")
    own = rows[(rows["condenser"] == "dm") & (rows["ipc_stored"] == 2) & (rows["memory_replicate"] == 1)]
    assert own["value"].tolist() == alone


def test_the_same_command_again_only_reports(done, capsys):
    before = (done.out / "results.csv").read_bytes()
    main(done)
    said = capsys.readouterr().out
    assert (done.out / "results.csv").read_bytes() == before
    main(replace(done, dry_run=True))
    assert "scores     0 cells" in capsys.readouterr().out
    strict, opened = said.split("strict league")[1].split("open league")
    assert "m3d" not in strict
    assert "dm" in strict.split()
    assert "random" not in opened
    assert "4 images decoded from one" in opened
    assert "[" in strict
    assert "below the best" in strict
    assert re.search(r"m3d +\S+ \[.*\] +- +2x2", opened)


def test_what_is_named_twice_counts_once_and_held_out_images_are_said(tmp_path, capsys):
    twice = replace(SMALL, dataset=("digits", "digits"), ipc=(1, 1), condensers=("random", "random"), memories=1)
    main(replace(twice, validation=5, out=tmp_path))
    (line,) = pd.read_csv(tmp_path / "table.csv").to_dict("records")
    assert line["scored on"] == "validation"
    assert "percent on held-out training images" in capsys.readouterr().out


def test_another_test_network_takes_the_same_memories(done, capsys):
    memories = {path: path.stat().st_mtime_ns for path in done.out.glob("memories/*.safetensors")}
    main(replace(done, test_networks=("ConvNet-W4-D1", "ConvNet-W8-D1"), ipc=(2,)))
    assert {path: path.stat().st_mtime_ns for path in done.out.glob("memories/*.safetensors")} == memories
    assert "ConvNet-W8-D1" in capsys.readouterr().out


def test_lengths_are_points_and_real_images_are_scored_once(done, tmp_path, capsys):
    config = replace(SMALL, condensers=("random", "dm"), ipc=(1,), iterations=(2, 5, 2), out=tmp_path)
    main(replace(config, dry_run=True))
    assert re.search(r"memories +6 to condense\nscores +6 cells", capsys.readouterr().out)
    main(config)
    said = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "table.csv")
    assert table[["condenser", "iterations"]].to_numpy().tolist() == [["random", 0], ["dm", 2], ["dm", 5]]
    best = table.loc[table["accuracy"].idxmax()]
    for _, line in table.iterrows():
        other = line["iterations"] and best["iterations"] and line["iterations"] != best["iterations"]
        assert line["best"] == best["condenser"] + f", {best['iterations']} iterations" * bool(other)
    assert table["flop"].is_monotonic_increasing
    pairs = pd.read_csv(tmp_path / "differences.csv")[
        ["condenser", "iterations", "other condenser", "other iterations"]
    ]
    lines = [("random", 0), ("dm", 2), ("dm", 5)]
    assert {frozenset([(a, b), (c, d)]) for a, b, c, d in pairs.itertuples(index=False)} == {
        frozenset(pair) for pair in itertools.combinations(lines, 2)
    }
    assert re.search(r"^ *condenser +iterations +accuracy", said, re.MULTILINE)
    assert "the best was picked by these numbers, and no interval is widened" in said
    alone, both = (pd.read_csv(out / "results.csv").query("condenser == 'dm'") for out in (done.out, tmp_path))
    assert set(alone.query("ipc_stored == 1")["cell"]) < set(both["cell"])
    assert len(both) == 2 * len(alone.query("ipc_stored == 1"))


def test_selections_that_train_a_network_are_made_and_scored_once_for_all_lengths(tmp_path, capsys):
    names = ("forgetting", "herding-trained", "dm")
    config = replace(SMALL, condensers=names, ipc=(1,), iterations=(2, 5), memories=1, out=tmp_path)
    main(replace(config, dry_run=True))
    assert re.search(r"memories +4 to condense\nscores +4 cells", capsys.readouterr().out)
    main(config)
    lines = pd.read_csv(tmp_path / "table.csv")[["condenser", "iterations"]]
    assert lines.to_numpy().tolist() == [["forgetting", 0], ["herding-trained", 0], ["dm", 2], ["dm", 5]]
    pairs = pd.read_csv(tmp_path / "differences.csv")
    # They trained a network on real labels, so they are a league of two, and dm at two lengths another.
    compared = [frozenset(pair) for pair in zip(pairs["condenser"], pairs["other condenser"], strict=True)]
    assert sorted(map(sorted, compared)) == [["dm"], ["forgetting", "herding-trained"]]
    main(replace(config, iterations=(2,), dry_run=True))
    assert "scores     0 cells" in capsys.readouterr().out


def test_only_selections_at_several_lengths_are_one_point(tmp_path):
    grid = prepare(replace(SMALL, condensers=("random", "forgetting"), ipc=(1,), iterations=(2, 5), out=tmp_path))
    (point,) = grid.points
    assert (point.names, point.plans[0].schedule.iterations) == (("random", "forgetting"), 2)


def test_a_network_by_two_spellings_is_one(done, tmp_path):
    full = "ConvNet-W4-D1-IN-ReLU-Avg"
    twice = replace(SMALL, network=("ConvNet-W4-D1", full), test_networks=("ConvNet-W4-D1-IN", full), ipc=(1,))
    (point,) = prepare(replace(twice, out=tmp_path)).points
    assert (point.condensed_on, point.scoring.network) == (full, full)
    recorded = pd.read_csv(done.out / "results.csv").set_index("cell")["metric"]
    keys = [cell_key(point, 0, name) for name in SMALL.condensers]
    assert set(recorded[keys]) == {f"accuracy of {full}"}


def test_more_memories_are_added_to_those_there_are(done):
    rows = len(pd.read_csv(done.out / "results.csv"))
    main(replace(done, memories=3, ipc=(1,), condensers=("random",)))
    assert len(pd.read_csv(done.out / "results.csv")) == rows + 2


def test_presets_name_condensers_and_can_be_changed(tmp_path):
    for number, preset in TABLES.items():
        assert all(registry.condenser(name) for name in preset["condensers"]), number
    grid = prepare(Table(table=2, dataset=("digits",), ipc=(1,), out=tmp_path, resolution=32))
    assert grid.points[0].names == ("random", "dm", "ours")
    assert [(point.ipc, point.condensed_on, point.scoring.network) for point in grid.points] == [
        (1, "ResNet18", "ResNet18")
    ]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"condensers": ("dmm",)}, "unknown condenser 'dmm'. Did you mean 'dm'?"),
        ({"dataset": ("digit",)}, "unknown data set 'digit'. Did you mean 'digits'?"),
        ({"network": ("ConvNet-W4-D9",)}, "pools a 8 px image away"),
        ({"test_networks": ("VGG12",)}, "unknown network 'VGG12'"),
        ({"ipc": (0,)}, "0 images per class asked for, each from 4 real ones, but"),
        (
            {"ipc": (40,)},
            "40 images per class asked for, each from 4 real ones, but the smallest class of digits has 13",
        ),
        ({"table": 3}, "give --dataset folder:PATH --resolution 128"),
        (
            {"condensers": ("random", "dc"), "network": ("ConvNet-W4-D1", "ConvNet-W4-D1-BN")},
            "dc takes no batch norm, which would see one class only: not ConvNet-W4-D1-BN",
        ),
        ({"condensers": ("dm", "bptt"), "precision": "bf16"}, "bptt computes in float32 only: leave out --precision"),
        (
            {"condensers": ("dm+" + "+".join(["ridge:0.0001"] * 14),)},
            "has 184 bytes, too many for that of a memory file",
        ),
        ({"iterations": (2, -1)}, "--iterations is -1; give at least 0"),
        ({"networks": 0}, "--networks is 0; give at least 1"),
        ({"memories": 0}, "--memories is 0; give at least 1"),
    ],
)
def test_mistakes_are_one_line_before_any_work(changed, words, tmp_path):
    with pytest.raises(ValueError, match=r"\S") as caught:
        main(replace(SMALL, out=tmp_path, **changed))
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_under_bench_memories_of_narrower_networks_are_scored_by_the_papers_evaluation(tmp_path):
    (point,) = prepare(Table(protocol="bench", condensers=("dm",), ipc=(1,), out=tmp_path)).points
    assert (point.condensed_on, point.scoring.network) == ("ConvNet-W64-D2-IN-ReLU-Avg", "ConvNet-W128-D2-IN-ReLU-Avg")
    assert point.scoring.training.describe() == Training(augmentation=point.dataset.augmentation).describe()


def test_memories_whose_scores_are_recorded_are_not_made_again(done, tmp_path, capsys):
    (tmp_path / "results.csv").write_bytes((done.out / "results.csv").read_bytes())
    kept = replace(done, out=tmp_path, dry_run=True)
    main(kept)
    assert "memories   0 to condense" in capsys.readouterr().out
    main(replace(kept, memories=3))
    assert "memories   6 to condense" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"random is scored, but .* is gone: put .*safetensors back"):
        main(replace(kept, dry_run=False))


@pytest.mark.parametrize(("scored", "advice"), [(True, "put its memory back"), (False, "delete it to make it anew")])
def test_a_memory_under_the_name_of_another_is_neither_scored_nor_asked_what_it_cost(done, scored, advice, tmp_path):
    shutil.copytree(done.out, tmp_path / "out")
    first, other = sorted((tmp_path / "out" / "memories").glob("dm-*-ipc1-*.safetensors"))
    first.write_bytes(other.read_bytes())
    if not scored:
        (tmp_path / "out" / "results.csv").unlink()
    said = rf"{first.name} is not the memory that its name says, but one of dm on digits.*{advice}"
    with pytest.raises(ValueError, match=said):
        main(replace(done, out=tmp_path / "out"))


def test_points_of_another_grid_that_leave_the_table_are_told(done, tmp_path, capsys):
    shutil.copytree(done.out, tmp_path / "grown")
    whole = replace(done, out=tmp_path / "grown")
    main(whole)
    capsys.readouterr()
    main(replace(whole, ipc=(1,)))
    assert "table.csv had 3 lines of other points" in capsys.readouterr().out
    main(replace(whole, ipc=(1,)))
    assert "lines of other points" not in capsys.readouterr().out
    path = whole.out / "table.csv"
    path.write_text(path.read_text().replace("quick-1+epochs=3", "quick-1+"))  # as older ones say it
    main(whole)
    assert "lines of other points" not in capsys.readouterr().out
    assert len(pd.read_csv(tmp_path / "grown" / "table.csv")) == 6


def test_a_plan_of_several_data_sets_times_networks_on_their_own_images(tmp_path, capsys):
    """The network that suits the larger images pools the smaller ones away."""
    pictures(tmp_path / "large", side=64)
    sets, plain = ("digits", f"folder:{tmp_path / 'large'}"), {"ipc": (1,), "network": (), "dry_run": True}
    counts = []
    for name in (sets[:1], sets[1:], sets):
        main(replace(SMALL, dataset=name, resolution=None, out=tmp_path / "out", **plain))
        said = capsys.readouterr().out
        counts.append([int(count.replace(",", "")) for count in re.findall(r"([\d,]+) forward", said)])
    assert "scores     12 cells" in said
    assert "by a few steps of 2 of the networks" in said
    assert [one + other for one, other in zip(*counts[:2], strict=True)] == counts[2]


def pictures(folder, side: int) -> None:
    """A folder data set of noise: two classes, each of a few images, for training and for tests."""
    draws = np.random.default_rng(0)
    for part, name, number in itertools.product(("train", "test"), "ab", range(4)):
        path = folder / part / name / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draws.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)


@pytest.mark.parametrize("protocol", ["1", "0.5", "true"])
def test_a_table_that_no_command_wrote_is_no_earlier_one(done, tmp_path, capsys, protocol):
    shutil.copytree(done.out, tmp_path / "out")
    path = tmp_path / "out" / "table.csv"
    pd.read_csv(path, dtype=str).assign(protocol=protocol).to_csv(path, index=False)
    main(replace(done, out=tmp_path / "out"))
    assert "lines of other points" not in capsys.readouterr().out
    assert set(pd.read_csv(path)["protocol"]) == set(pd.read_csv(done.out / "table.csv")["protocol"]) != {protocol}
