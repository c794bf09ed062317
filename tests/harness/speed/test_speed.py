"""Speed: what is timed is what is recorded."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
import tyro

from condensers import registry
from harness.core.devices import resolve_device
from harness.core.records import Records
from harness.evidence.ratios import mean_ratio
from harness.speed import __main__ as speed
from harness.speed import contest
from harness.speed import rows as speed_records
from harness.speed.competitors import SHAPES, Contestant, flop_per_step, random_images, recipes_of
from harness.speed.flags import Speed
from harness.speed.measuring import Lane, alternate, timed


def competitor(label, *step):
    """Nothing but built-ins: its process cannot import this file."""
    return SimpleNamespace(label=label, device="cpu", build=partial(partial, *step))


def test_steps_are_counted_and_timed():
    calls, waits = [], []
    steps, seconds = timed(lambda: calls.append(time.sleep(0.01)), 0.05, lambda: waits.append(len(calls)))
    assert steps == len(calls)
    assert 0.05 <= seconds < 0.5
    assert seconds >= 0.01 * steps
    assert waits == [0, *(2**k for k in range(len(waits) - 1))]
    assert timed(lambda: calls.append(None), 0, lambda: None)[0] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_turns_alternate_in_processes_of_their_own_with_their_own_peak():
    done = []
    turns = alternate(
        [competitor("small", time.sleep, 0.01), competitor("large", bytearray, 200 * 10**6)], 2, 0.1, done.append
    )
    assert done == [1] * 6
    assert [len(turn) for turn in turns] == [2, 2]
    for small, large in turns:
        assert small.steps >= 2
        # It sleeps.
        assert small.cpu_seconds < small.seconds / 2
        assert small.peak_bytes < 50e6
        assert 200e6 < large.peak_bytes < 250e6


@pytest.mark.parametrize(
    ("step", "words"), [((int, "x"), "invalid literal"), ((os._exit, 7), "the process of 'tired' ended with code 7")]
)
def test_what_goes_wrong_in_a_process_is_one_line_here(step, words):
    with Lane(competitor("tired", *step)) as lane, pytest.raises(ValueError, match=words) as caught:
        lane.turn(0)
    assert len(str(caught.value).splitlines()) == 1
    assert not lane.process.is_alive()


# What is counted.

ONE = Contestant("core", "condensing", "dm", SHAPES["cifar10"], 10, 10, "ConvNet-W128-D3", 256, 16, "fp32", "cpu")


def test_flop_of_an_iteration_by_hand():
    # Multiplications and additions of three 3x3 convolutions at 32, 16 and 8 px; pixels also get a gradient.
    image = 2 * 9 * (3 * 128 * 32**2 + 128**2 * 16**2 + 128**2 * 8**2)
    assert flop_per_step(replace(ONE, kind="convolutions")) == 2560 * image
    assert flop_per_step(ONE) == flop_per_step(replace(ONE, kind="plain condensing")) == 2560 * image + 100 * 2 * image
    # Gram matrices: one product forward, two back.
    gram = 2 * 128**2 * (32**2 + 16**2 + 8**2)
    assert flop_per_step(replace(ONE, method="ours")) == flop_per_step(ONE) + 2560 * gram + 100 * 3 * gram


def test_flop_of_training_by_hand():
    maps = [3 * 128 * 32**2, 128**2 * 16**2, 128**2 * 8**2]
    # Forward and both gradients, but none for the images.
    image = 2 * (3 * (9 * sum(maps) + 2048 * 10) - 9 * maps[0])
    assert flop_per_step(replace(ONE, kind="training", epochs=4)) == 4 * 100 * image
    assert flop_per_step(replace(ONE, kind="training", epochs=4, networks=3)) == 3 * 4 * 100 * image


def test_random_images_have_the_shape_of_the_data_set():
    source = random_images(SHAPES["digits"], "cpu")
    assert source.images.shape == (1350, 1, 8, 8)
    assert source.labels.bincount().tolist() == [135] * 10
    assert source.images.unique().numel() == 256


def test_lockstep_is_dm_and_eight_different_readings():
    recipes = recipes_of("eight readings")
    assert [recipe.name for recipe in recipes] == ["dm", *(f"ours-{place}" for place in range(8))]
    assert len({recipe.terms for recipe in recipes}) == 9
    assert {registry.condenser(name).terms for name in ("ours", "ddm-paper")} < {recipe.terms for recipe in recipes}


def test_mean_ratio_is_geometric():
    import pandas as pd

    middle, low, high = mean_ratio(pd.Series([1.0, 4.0, None]))
    assert middle == pytest.approx(2)
    assert low * high == pytest.approx(4)
    assert low < 1 < 4 < high
    assert mean_ratio(pd.Series([3.0]))[0] == pytest.approx(3)
    assert mean_ratio(pd.Series([3.0]))[1] != mean_ratio(pd.Series([3.0]))[1]


# The command.

QUICK = Speed(
    methods=("dm",),
    datasets=("digits",),
    ipc=(2,),
    network="ConvNet-W4-D1",
    real_batch=8,
    repeats=2,
    seconds=0.001,
    chunk=64,
    networks=2,
    device="cpu",
)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    out = tmp_path_factory.mktemp("speed")
    speed.main(replace(QUICK, out=out))
    return out


@pytest.fixture
def frame(measured):
    return Records(measured / "speed.csv", speed_records.TurnRow).read()


def test_every_competitor_has_a_row_for_each_turn(frame):
    found = frame.groupby("what", sort=False)["competitor"].agg(list).to_dict()
    assert found == {
        "condense": ["plain", "plain, memory kept", "core", "core at 1 image", "convolutions"] * 2,
        "train": ["plain", "plain, memory kept", "core", "core side by side"] * 2,
        "lockstep": ["dm alone", "dm and eight readings"] * 2,
        "linear": ["core"] * 6,
    }
    assert frame["cell"].nunique() == 4
    assert frame["repeat"].value_counts().to_dict() == {0: 14, 1: 14}
    linear = frame[frame["what"] == "linear"]
    assert linear["classes"].tolist() == [1, 5, 10] * 2
    assert set(linear["ipc"]) == {2}


def test_rows_say_what_was_measured_and_where(frame):
    assert (frame["seconds"] > 0).all()
    assert (frame["units_per_second"] == frame["units"] / frame["seconds"]).all()
    training = frame[frame["what"] == "train"]
    assert (training["unit"] == "image").all()
    assert training["networks"].tolist() == [1, 1, 1, 2] * 2
    # Eight epochs of one minibatch of 20 images are a step.
    assert (training["units"] % (training["networks"] * 8 * 20) == 0).all()
    assert set(frame["precision"]) == {"fp32"}
    assert set(frame["device"]) == {"cpu"}
    assert "cores" in frame["machine"].iloc[0]
    assert "torch" in frame["versions"].iloc[0]
    assert set(frame[~frame["competitor"].str.startswith("plain")]["chunk"]) == {64}
    assert frame[frame["competitor"].str.startswith("plain")]["chunk"].isna().all()


def test_ratios_are_of_the_same_turn(frame):
    for _, turn in frame.groupby(["cell", "repeat"]):
        speeds = dict(zip(turn["competitor"], turn["units_per_second"], strict=True))
        by_name = turn.set_index("competitor")
        if turn["what"].iloc[0] in ("condense", "train"):
            for name in ("ratio", "ratio_default"):
                assert by_name.loc["core", name] == pytest.approx(speeds["core"] / speeds["plain"])
        if turn["what"].iloc[0] == "train":
            side = speeds["core side by side"] / speeds["plain"]
            assert by_name.loc["core side by side", "ratio"] == pytest.approx(side)
        if turn["what"].iloc[0] == "condense":
            rates = by_name["flop_per_second"]
            assert by_name.loc["core", "share_of_convolutions"] == pytest.approx(rates["core"] / rates["convolutions"])
            assert by_name.loc["convolutions", "share_of_convolutions"] == pytest.approx(1)
            bound = speeds["convolutions"] / speeds["core at 1 image"]
            assert by_name.loc["core", "real_branch_over_convolutions"] == pytest.approx(bound)
        if turn["what"].iloc[0] == "lockstep":
            cost = by_name.loc["dm and eight readings", "ratio"]
            assert cost == pytest.approx(speeds["dm and eight readings"] / speeds["dm alone"])


def test_the_same_command_measures_nothing_again_and_shows_the_table(measured, capsys):
    before = (measured / "speed.csv").read_bytes()
    started = time.perf_counter()
    speed.main(replace(QUICK, out=measured))
    assert (measured / "speed.csv").read_bytes() == before
    assert time.perf_counter() - started < 10
    shown = capsys.readouterr().out
    assert "4 measurements, 0 to be made" in shown
    assert "dm and eight readings" in shown
    assert (measured / "speed.png").stat().st_size > 1000


def written(column: str, text: str):
    """What writes a text into the second row."""
    return lambda rows: rows.assign(**{column: [text if place == 1 else own for place, own in enumerate(rows[column])]})


DAMAGE = {
    "a row twice": (lambda rows: pd.concat([rows, rows.tail(1)]), "has rows of repeat 0 1 1, not of 0 to 1 once each"),
    "no last row": (lambda rows: rows.iloc[:-1], "has rows of repeat 0, not of 0 to 1 once each"),
    "a competitor less": (lambda rows: rows[rows["competitor"] != "convolutions"], "of 4 competitors, not of 5"),
    "another competitor": (written("competitor", "cor"), "of 6 competitors, not of 5"),
    "nan": (written("seconds", "nan"), "holds seconds = nan, not 0 or more"),
    "nan for nothing": (written("ratio", "nan"), "its ratio is 'nan', which is no number"),
    "infinite": (written("units_per_second", "inf"), "holds units_per_second = inf, not 0 or more"),
    "negative": (written("seconds", "-7.0"), "holds seconds = -7, not 0 or more"),
    "negative count": (written("peak_bytes", "-7"), "its peak_bytes is -7, which is not from 0"),
    "NUL for a number": (written("seconds", "\0"), "it holds bytes that are no text"),
    "NUL in a text": (written("machine", "\0"), "it holds bytes that are no text"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_turns_are_refused_in_one_line(damage, measured, tmp_path):
    change, words = DAMAGE[damage]
    path = tmp_path / "speed.csv"
    change(pd.read_csv(measured / "speed.csv", dtype=str, keep_default_na=False)).to_csv(path, index=False)
    with pytest.raises(ValueError, match="is damaged") as caught:
        speed.main(replace(QUICK, out=tmp_path))
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_plan_counts_what_is_left_and_measures_nothing(measured, tmp_path, capsys):
    speed.main(replace(QUICK, out=measured, dry_run=True))
    assert "0 measurements to be made: 0 s" in capsys.readouterr().out
    speed.main(replace(QUICK, out=tmp_path / "new", seconds=4.0, dry_run=True))
    said = capsys.readouterr().out
    assert "what train, dataset digits, method evaluation, IPC 2, competitors 4" in said
    # Two repeats and a quarter to warm up, for 5, 4, 2 and 3 competitors.
    assert f"4 measurements to be made: {(5 + 4 + 2 + 3) * 2.25 * 4 / 60:.0f} min" in said
    assert not (tmp_path / "new").exists()


def test_a_cell_belongs_to_its_settings_and_to_the_code(monkeypatch):
    device = resolve_device("cpu")

    def keys(config):
        return [cell.key for cell in contest.cells(config, device)]

    assert keys(QUICK) == keys(QUICK)
    for other in ({"chunk": 32}, {"repeats": 3}, {"seconds": 1.0}, {"network": "ConvNet-W8-D1"}, {"real_batch": 9}):
        assert not set(keys(replace(QUICK, **other))) & set(keys(QUICK))
    before = keys(QUICK)
    monkeypatch.setattr(speed_records, "_code", lambda: "another")
    assert not set(keys(QUICK)) & set(before)


def test_bfloat16_is_set_against_fp32_alone(tmp_path):
    """On a CPU, whose plain loop knows no other; the real images' branch is what bf16 means."""
    speed.main(replace(QUICK, what=("condense", "train"), precisions=("bf16",), repeats=1, networks=None, out=tmp_path))
    frame = Records(tmp_path / "speed.csv", speed_records.TurnRow).read()
    plains = ["plain", "plain, memory kept"]
    assert frame["competitor"].tolist() == [*plains, "core", "core at 1 image", "convolutions", *plains]
    assert frame["precision"].tolist() == ["fp32"] * 2 + ["bf16"] * 3 + ["fp32"] * 2
    core = frame.iloc[2]
    assert core["ratio"] != core["ratio"]
    assert core["ratio_default"] > 0
    assert core["share_of_convolutions"] > 0


def test_an_alias_is_measured_once():
    config = replace(QUICK, methods=("ours", "ddm"), what=("condense",))
    assert [each.method for each in contest.contests(config, resolve_device("cpu"))] == ["ours"]


MISTAKES = {
    "method": (["--methods", "dn"], "Did you mean 'dm'?"),
    "selection": (["--methods", "random"], "choose dm or ours"),
    "no plain loop": (["--methods", "dm+sm"], "no plain loop of dm"),
    "shape": (["--datasets", "cifar1"], "unknown shape 'cifar1'"),
    "network": (["--network", "ResNet18"], "no network 'ResNet18'"),
    "depth": (["--datasets", "digits", "--network", "ConvNet-W8-D4"], "pools a 8 px image away"),
    "ipc": (["--ipc", "0"], "0 images per class"),
    "too many": (["--datasets", "cifar100", "--ipc", "501"], "a class of cifar100 has 500"),
    "repeats": (["--repeats", "0"], "--repeats is 0"),
    "seconds": (["--seconds", "-1"], "--seconds is -1"),
    "networks": (["--networks", "-1"], "--networks is -1"),
    "batch": (["--real-batch", "0"], "--real-batch is 0"),
    "chunk": (["--chunk", "0"], "--chunk is 0"),
    "nothing": (["--what"], "--what is empty"),
    "precision": (["--precisions", "tf32", "--device", "cpu"], "CUDA only"),
    "device": (["--device", "gpu"], "unknown device"),
    "out": (["--out", "/proc/nothing"], "/proc/nothing"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_before_anything_is_measured(mistake, tmp_path, monkeypatch):
    flags, words = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words.replace("?", r"\?")) as caught:
        speed.main(tyro.cli(Speed, args=flags))
    assert len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_help_is_light():
    code = "import sys, harness.speed.__main__; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    answer = subprocess.run(
        [sys.executable, "-m", "harness.speed", "--help"], capture_output=True, text=True, check=True
    )
    assert "python -m harness.speed" in answer.stdout


@pytest.mark.cuda
def test_cuda_compares_precisions(tmp_path):
    speed.main(replace(QUICK, what=("condense", "train"), device="cuda", out=tmp_path))
    frame = Records(tmp_path / "speed.csv", speed_records.TurnRow).read()
    assert set(frame[frame["competitor"] == "plain"]["precision"]) == {"fp32", "default"}
    core = frame[frame["competitor"] == "core"]
    assert set(core["precision"]) == {"fp32", "tf32", "bf16"}
    assert core["ratio_default"].notna().all()
    assert set(core[core["ratio"].isna()]["precision"]) == {"bf16"}
    assert (frame["peak_bytes"] > 0).all()
