"""What a user meets: help at once, lists, and one line for every mistake."""

import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from condensers.memory import load_memory
from harness.condense import __main__ as condense
from harness.condense.flags import Condense
from harness.continual import __main__ as continual
from harness.continual.experiment import prepare
from harness.continual.flags import Continual
from harness.core.records import PAUSE, Records
from harness.core.schema import ScoreRow
from harness.core.scoring import cell_of, network_seeds
from harness.core.stored import read
from harness.evaluate import __main__ as evaluate
from harness.evaluate import scoring
from harness.evaluate.flags import Evaluate

COMMANDS = [
    "ablate",
    "analyse",
    "continual",
    "condense",
    "evaluate",
    "export",
    "nas",
    "report",
    "speed",
    "submit",
    "table",
    "targets",
]


def call(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, env=environment, timeout=120, cwd=cwd
    )


@pytest.fixture(scope="module")
def memory(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("memories")
    condense.main(Condense(condensers=("dm", "random"), ipc=4, iterations=3, out=out))
    return next(out.glob("dm-*.safetensors"))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_the_command_without_importing_torch(name):
    answer = call(f"harness.{name}", "--help")
    assert answer.returncode == 0
    assert f"python -m harness.{name}" in answer.stdout
    code = f"import sys, harness.{name}.__main__; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("name", "flag"), [("continual", "--orders"), ("nas", "--memories"), ("speed", "--repeats")])
def test_a_flag_out_of_its_bounds_is_said_without_importing_torch(name, flag):
    code = f"""
import runpy, sys
sys.argv = ["{name}", "{flag}", "0"]
try:
    runpy.run_module("harness.{name}", run_name="__main__")
finally:
    print("torch" in sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said = f"error: {flag} is 0; give at least 1\n"
    assert (answer.returncode, answer.stdout, answer.stderr) == (2, "False\n", said)


@pytest.mark.parametrize("name", COMMANDS)
def test_lists_name_everything(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--list"])
    # In this process, where torch is there already.
    runpy.run_path(importlib.util.find_spec(f"harness.{name}.__main__").origin, run_name="__main__")
    said = capsys.readouterr().out
    for word in ("ours", "dm+ridge", "cifar100", "folder:PATH", "ResNet18", "quick"):
        assert word in said
    for line in (
        "m3d .*open league, decodes 4 images from one",
        "dm-self .*strict league, couples classes",
        "AAAI 2024",
        "strict  as many images decoded as stored",
        "open    networks trained on real images",
    ):
        assert re.search(line, said)


MISTAKES = {
    "condenser": (["--condensers", "herdin"], "Did you mean 'herding'?"),
    "term": (["--condensers", "dm+sn"], "Did you mean 'sm'?"),
    "weight": (["--condensers", "dm+sm:much"], "not a number"),
    "dataset": (["--dataset", "cifar1000"], "Did you mean 'cifar100'?"),
    "network": (["--network", "ResNet17"], "Did you mean 'ResNet18'?"),
    "steps": (["--steps", "3"], "choose one of 1, 2, 5, 10 steps"),
    "ipc": (["--memory-per-class", "500"], "the smallest class has"),
    "nothing": (["--memory-per-class", "0"], "--memory-per-class is 0; give at least 1"),
    "budget": (["--memory-size", "9"], "give at least 10, an image for each class"),
    "both": (["--memory-size", "50", "--memory-per-class", "3"], "exclude each other"),
    "orders": (["--orders", "0"], "at least 1"),
    "epochs": (["--epochs", "0"], "at least 1"),
    "memory": (["--memory", "nowhere.safetensors"], "nowhere.safetensors"),
    "device": (["--device", "gpu"], "unknown device"),
    "precision": (["--precision", "tf32", "--device", "cpu"], "CUDA only"),
    "data": (["--dataset", "folder:/nowhere"], "/nowhere"),
    "out": (["--out", "/proc/nothing"], "/proc/nothing"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake, tmp_path, monkeypatch):
    flags, words = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    import tyro

    with pytest.raises(ValueError, match=words) as caught:
        continual.main(tyro.cli(Continual, args=flags))
    assert len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.iterdir()) or mistake == "out"


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_cuda_where_there_is_none_ends_in_one_line_and_exit_code_2(tmp_path):
    answer = call("harness.continual", "--device", "cuda", "--out", str(tmp_path / "out"))
    assert answer.returncode == 2
    assert answer.stderr.count("\n") == 1
    assert answer.stderr.startswith("error: device 'cuda'")
    assert not (tmp_path / "out").exists()


def test_unknown_flag_ends_in_exit_code_2():
    assert call("harness.continual", "--nettworks", "3").returncode == 2


NOISY = """
import warnings
from dataclasses import replace
from condensers.methods.views import VIEWS
warnings.warn("something is\\nodd")
CONDENSERS = (replace(VIEWS, name="mine", views=4.0),)
"""


def test_a_warning_of_ours_is_one_line_without_its_place(tmp_path):
    plugin = tmp_path / "noisy.py"
    plugin.write_text(NOISY)
    command = [sys.executable, "-m", "harness.condense", "--plugin", str(plugin)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    note, error = ended.stderr.splitlines()
    assert note == r"note: something is\nodd"
    assert error.endswith("mine has 4.0 views: give an even number, or 0 for none")


@pytest.mark.parametrize("command", [("harness",), ("harness.table", "--list")])
def test_a_reader_of_a_list_that_has_gone_is_no_error(command):
    end, pipe = os.pipe()
    os.close(end)
    ended = subprocess.run([sys.executable, "-m", *command], stdout=pipe, stderr=subprocess.PIPE, text=True)
    os.close(pipe)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_csv_of_another_schema_is_left_alone(tmp_path):
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="another schema"):
        prepare(Continual(out=tmp_path))
    assert (tmp_path / "results.csv").read_text() == "a,b\n1,2\n"


def damaged(memory: Path, path: Path, damage: str) -> Path:
    content = memory.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "pickle":
        torch.save({"images": torch.zeros(3)}, path)
    else:
        from safetensors import safe_open

        with safe_open(memory, "pt") as file:
            header = file.metadata()
        tensors = load_file(memory)
        if damage == "nan":
            tensors["images"][0, 0, 0, 0] = float("nan")
        if damage == "dataset":
            said = json.loads(header["memory"]) | {"dataset": "svhn", "dataset_checksum": "0" * 16}
            header["memory"] = json.dumps(said)
        save_file(tensors, path, header)
    return path


@pytest.mark.parametrize(
    ("damage", "words"),
    [("truncated", "cannot read"), ("pickle", "cannot read"), ("nan", "NaN"), ("dataset", "condensed from svhn")],
)
def test_a_bad_memory_is_one_line(memory, tmp_path, damage, words):
    path = damaged(memory, tmp_path / "bad.safetensors", damage)
    for attempt in (
        lambda: prepare(Continual(memory=(path,), out=tmp_path)),
        lambda: evaluate.main(Evaluate(memories=(path,), dataset="digits", out=tmp_path)),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            attempt()
        assert len(str(caught.value).splitlines()) == 1


def test_condense_leaves_file_and_picture(memory):
    made = load_memory(memory)
    assert made.metadata["condenser"] == "dm"
    assert made.metadata["dataset"] == "digits"
    assert made.metadata["commit"]
    assert len(made) == 40
    assert memory.with_suffix(".png").stat().st_size > 1000


@pytest.mark.parametrize("store", ["float16", "uint8", "indices"])
def test_smaller_stores_are_scored_as_stored(memory, tmp_path, store):
    name = "random" if store == "indices" else "dm"
    condense.main(Condense(condensers=(name,), ipc=4, iterations=3, store=store, out=tmp_path))
    path = next(tmp_path.glob("*.safetensors"))
    evaluate.main(Evaluate(memories=(path,), networks=1, epochs=3, out=tmp_path / "scores"))
    frame = Records(tmp_path / "scores" / "results.csv", ScoreRow).read()
    from scenarios.datasets import load

    assert frame["memory_checksum"].tolist() == [load_memory(path, load("digits", tmp_path).train).checksum]
    assert path.stat().st_size < memory.stat().st_size


def test_indices_of_synthetic_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="real images"):
        condense.main(Condense(condensers=("dm",), ipc=2, iterations=1, store="indices", out=tmp_path))


def test_evaluate_waits_for_the_process_that_has_a_memory(memory, tmp_path):
    config = Evaluate(memories=(memory,), networks=1, epochs=1, out=tmp_path)
    run, records = scoring._scoring_of(config), Records(tmp_path / "results.csv", ScoreRow)
    key = cell_of(run, read(memory, run.dataset)).key
    other = threading.Thread(target=evaluate.main, args=(config,))
    with records.claim(key) as mine:
        assert mine
        other.start()
        other.join(timeout=2 * PAUSE)
        assert other.is_alive()
        assert records.finished() == set()
    other.join()
    assert records.finished() == {key}


def test_a_plan_of_evaluate_counts_what_is_left_and_trains_nothing(memory, tmp_path, capsys):
    config = Evaluate(memories=(memory,), networks=2, epochs=3, out=tmp_path / "scores")
    evaluate.main(replace(config, dry_run=True))
    said = capsys.readouterr().out
    assert "memories   1 to score with 2 networks each, 3 epochs" in said
    assert f"images     {2 * 445} forward, {2 * 3 * 40} forward and back" in said
    assert not config.out.exists()
    evaluate.main(config)
    assert f"{memory.stem}: " in capsys.readouterr().out
    evaluate.main(replace(config, dry_run=True))
    assert "memories   0 to score" in capsys.readouterr().out


def test_memories_of_one_seed_share_their_networks_and_no_others(memory):
    run = scoring._scoring_of(Evaluate(memories=(memory,)))
    own = load_memory(memory)
    other = replace(own, metadata=own.metadata | {"seed": 1})
    alike = replace(own, metadata=own.metadata | {"condenser": "ours"})
    of_own, of_alike, of_other = (network_seeds(run, memory.metadata["seed"]) for memory in (own, alike, other))
    assert of_own == of_alike
    assert not set(of_own) & set(of_other)


def test_evaluate_scores_published_sets(tmp_path, capsys):
    images, labels = torch.randn(20, 1, 8, 8), torch.arange(10).repeat_interleave(2)
    path = tmp_path / "published.pt"
    torch.save({"data": [[images, labels]], "accs_all_exps": {"ConvNet": [0.5]}}, path)
    config = Evaluate(memories=(path,), dataset="digits", networks=2, epochs=1, out=tmp_path)
    evaluate.main(config)
    frame = Records(tmp_path / "results.csv", ScoreRow).read()
    assert frame["condenser"].tolist() == ["published"] * 2
    with pytest.raises(ValueError, match="give --dataset"):
        evaluate.main(replace(config, dataset=None))


class Malicious:
    def __reduce__(self):
        return (os.system, ("touch owned",))


def test_a_published_set_that_carries_code_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"data": [[torch.zeros(2, 1, 8, 8), torch.tensor([0, 1])]], "x": Malicious()}, tmp_path / "bad.pt")
    with pytest.raises(ValueError, match="more than tensors"):
        evaluate.main(Evaluate(memories=(tmp_path / "bad.pt",), dataset="digits", out=tmp_path))
    assert not (tmp_path / "owned").exists()


def test_validation_images_never_condense(tmp_path):
    condense.main(Condense(condensers=("random",), ipc=5, validation=20, store="indices", out=tmp_path))
    from scenarios.datasets import load

    whole = load("digits", tmp_path)
    held = whole.hold_out(20)
    path = next(tmp_path.glob("*.safetensors"))
    assert load_memory(path, held.train).metadata["dataset_checksum"] == held.checksum
    with pytest.raises(ValueError, match="condensed from"):
        evaluate.main(Evaluate(memories=(path,), networks=1, epochs=1, out=tmp_path))
    evaluate.main(Evaluate(memories=(path,), validation=20, networks=1, epochs=1, out=tmp_path))


def test_condense_again_makes_nothing_new(memory, capsys):
    before = memory.stat().st_mtime_ns
    condense.main(Condense(condensers=("dm", "random"), ipc=4, iterations=3, out=memory.parent))
    assert memory.stat().st_mtime_ns == before
    assert "dm: 40 images" in capsys.readouterr().out


def test_a_folder_that_cannot_be_written_is_said_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="choose another --out"):
        condense.main(Condense(iterations=10**9, out=tmp_path / "file"))
