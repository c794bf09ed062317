"""Command lines that cannot be meant: each is refused in one line that says what is wrong, before anything is done."""

import importlib
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.command import LONGEST, command, one_line

LONG = "dm" + "+ridge:0.0001" * 20
NO_VALUE = "give one, or leave it out"

BAD = {
    # No value, as an empty shell variable leaves it.
    "ablate --grid": f"no value after --grid: {NO_VALUE}",
    "condense --condensers": f"no value after --condensers: {NO_VALUE}",
    "condense --condensers --ipc 3": "no value after --condensers",
    "condense --condensers ''": "no value after --condensers",
    "condense --condensers dm ''": "no value after dm",
    "condense --dataset ''": "no value after --dataset",
    "condense --dataset=": "no value after --dataset",
    "condense --out ''": "no value after --out",
    "condense --data_root": "no value after --data_root",
    "condense --network ''": "no value after --network",
    "condense --list --ipc": "no value after --ipc",
    "continual --memory": "no value after --memory",
    "continual --storage ''": "no value after --storage",
    "continual --device": "no value after --device",
    "evaluate": "no memories given",
    "evaluate ''": "no value after python -m harness.evaluate",
    "evaluate x.pt --dataset ''": "no value after --dataset",
    "nas --proxy": "no value after --proxy",
    "nas --search": "no value after --search",
    "nas --merge": "no value after --merge",
    "nas --whole-table=": "no value after --whole-table",
    "report --out ''": "no value after --out",
    "targets --out ''": "no value after --out",
    "targets nowhere": "there is no folder nowhere: name the output folders of commands",
    "report nowhere": "there is no folder nowhere: name the output folders of commands",
    "speed --what": "no value after --what",
    "speed --ipc": "no value after --ipc",
    "speed --precisions": "no value after --precisions",
    "speed --out ''": "no value after --out",
    # No such flag, or one value too many.
    "ablate --grids k": "unknown flag '--grids'. Did you mean '--grid'?",
    "condense --oot x": "unknown flag '--oot'. Did you mean '--out'?",
    "condense --iteration=3": "unknown flag '--iteration'. Did you mean '--iterations'?",
    "condense -x": "unknown flag '-x'. Choices: --chunk",
    "condense --foo 3": "unknown flag '--foo'. Choices: --chunk",
    "condense stray": "'stray' belongs to no flag",
    "continual --nettworks 3": "Did you mean '--networks'?",
    "continual --orders 1 2": "'2' belongs to no flag",
    "continual --upper-bound yes": "'yes' belongs to no flag",
    "evaluate x.pt --epoch 3": "unknown flag '--epoch'. Did you mean '--epochs'?",
    "evaluate --memories x.pt": "--memories is no flag here: give memories alone, without its name, before all flags",
    "nas --prox ours": "unknown flag '--prox'. Did you mean '--proxy'?",
    "speed --seed 1": "unknown flag '--seed'. Did you mean '--seconds'?",
    # Not a number, or not one of the choices.
    "ablate --search colours": "'colours' for argument '--search'. Expected one of ('weights', 'readings')",
    "condense --ipc 1.5": "--ipc: '1.5' is no whole number",
    "condense --iterations many": "--iterations: 'many' is no whole number",
    "condense --seed 1e3": "--seed: '1e3' is no whole number",
    "condense --store uint4": "'uint4' for argument '--store'. Expected one of ('float32', 'float16', 'uint8',",
    "condense --protocol papr": "'papr' for argument '--protocol'. Expected one of ('paper', 'bench', 'quick').",
    "condense --precision fp64": "'fp64' for argument '--precision'",
    "condense --network None": "unknown network 'None'",
    "continual --epochs None": "--epochs: 'None' is no whole number",
    "evaluate x.pt --networks five": "--networks: 'five' is no whole number",
    "nas --epochs 1e3": "--epochs: '1e3' is no whole number",
    "nas --search grid": "'grid' for argument '--search'. Expected one of ('tpe', 'evolution', 'random')",
    "speed --seconds soon": "--seconds: 'soon' is no number",
    "speed --ipc 1 x": "--ipc: Could not find valid parse for arguments: ['1', 'x']",
    "table --table 6": "'6' for argument '--table'. Expected one of ('1', '2', '3', '4', '5').",
    "submit x.pt --trained-on-real maybe": "Expected one of ('yes', 'no').",
    "speed --what everything": "'everything' for argument '--what'",
    "speed --precisions fp16": "'fp16' for argument '--precisions'",
    # Out of bounds.
    "analyse": "no memories given: name at least one file",
    "analyse x.pt --networks 0": "--networks is 0; give at least 1",
    "analyse no.safetensors": "no.safetensors",
    "submit": "no memories given: name at least one file",
    "submit x.pt": "--method is '': give a name of small letters, digits and hyphens",
    "submit x.pt --method x --epochs 3": "leave out --network and --epochs",
    "submit x.pt --method x --cost-minutes -1": "--cost-minutes is -1.0; give at least 0",
    "ablate --trials 0": "--trials is 0; give at least 1",
    "ablate --batch 0 --search weights": "--batch is 0; give at least 1",
    "ablate --ipc 0": "--ipc is 0; give at least 1",
    "ablate --validation 1000": "cannot hold out 1000 images per class",
    "ablate --validation 5 --test": "--test and --validation exclude each other",
    "condense --ipc 0": "--ipc is 0; give at least 1",
    "condense --ipc 100000": "100000 images per class asked for",
    "condense --iterations -1": "--iterations is -1; give at least 0",
    "condense --real-batch 0": "--real-batch is 0; give at least 1",
    "condense --steps 0": "--steps is 0; give at least 1",
    "condense --steps 3": "choose one of 1, 2, 5, 10 steps",
    "condense --steps 5 --order -1": "--order is -1; give at least 0",
    "condense --validation -1": "--validation is -1; give at least 0",
    "condense --validation 1000": "cannot hold out 1000",
    "condense --resolution 0": "--resolution is 0; give at least 1",
    "condense --resolution 100000": "--resolution is 100000; give at most 1024",
    "condense --chunk 0": "--chunk is 0; give at least 1",
    "condense --chunk 100000000000000000000": "--chunk is 100000000000000000000; give at most 2147483647",
    "condense --iterations 100000000000000000000": "give at most 2147483647",
    "condense --replicate -1": "--replicate is -1; give at least 0",
    "condense --seed 9223372036854775808": "give at most 9223372036854775807",
    "condense --network ConvNet-W99999999-D3": "give at least 1 of both, at most 2048 and 16",
    "condense --network ConvNet-W8-D9": "pools a 8 px image away",
    "condense --network ConvNet-W0-D3": "give at least 1",
    "continual --memory-per-class -1": "--memory-per-class is -1; give at least 1",
    "continual --memory-size 0": "--memory-size is 0; give at least 1",
    "continual --memory-size 9": "--memory-size is 9; give at least 10, an image for each class",
    "continual --memory-size 264": "--memory-size is 264; give at most 263, 131 images for each class",
    "continual --orders 100000000": "--orders is 100000000; give at most 10000",
    "nas --memories 100000000": "--memories is 100000000; give at most 10000",
    "table --networks 100000000": "--networks is 100000000; give at most 10000",
    "continual --orders 0": "--orders is 0; give at least 1",
    "continual --networks 0": "--networks is 0; give at least 1",
    "continual --workers 0": "--workers is 0; give at least 1",
    "continual --workers 100000": "--workers is 100000; give at most 1024",
    "continual --steps -5": "choose one of 1, 2, 5, 10 steps",
    "evaluate x.pt --networks 0": "--networks is 0; give at least 1",
    "evaluate x.pt --dataset digits --epochs 0": "--epochs is 0; give at least 1",
    "evaluate x.pt --validation -1": "--validation is -1; give at least 0",
    "nas --whole-replicates 0": "--whole-replicates is 0; give at least 1",
    "nas --subset -1": "a subset of -1",
    "nas --search tpe --trials 0": "--trials is 0; give at least 1",
    "nas --search tpe --searches 0": "--searches is 0; give at least 1",
    "speed --seconds 0": "--seconds is 0.0; give at least 0.001",
    "speed --seconds nan": "--seconds is nan; give at least 0.001",
    "speed --seconds inf": "--seconds is inf; give at most 3600",
    "speed --networks 0": "--networks is 0; give at least 1",
    "speed --repeats 0": "--repeats is 0; give at least 1",
    "speed --ipc 0": "0 images per class",
    "condense --order 3": "--order 3 is a class order of --steps: give --steps too",
    # Of no effect here, though it could pass for one.
    "ablate --trials 7": "--trials is for a --search: give one, or leave it out",
    "ablate --grid k --batch 3": "--batch is for a --search",
    "ablate --condenser dm+sm": "--condenser is for a --search",
    "ablate --search weights --memories 9": "--memories is for grids, and a search has one memory of each trial",
    "analyse x.pt --precision bf16": "--precision bf16 is for the real images of condensing, and nothing is condensed",
    "evaluate x.pt --precision bf16": "nothing is condensed here: leave it out, or give tf32 on CUDA",
    "submit x.pt --method x --precision bf16": "--precision bf16 is for the real images of condensing",
    "continual --memory x.safetensors --iterations 7": "--iterations is for condensing, and --memory files are",
    "continual --memory x.safetensors --real-batch 7": "--real-batch is for condensing",
    "continual --memory x.safetensors --store uint8": "--store is for condensing",
    "continual --memory x.safetensors --precision bf16": "--precision bf16 is for the real images of condensing",
    "continual --memory x.safetensors --strategy naive": "--memory is for memories, and naive learns without one",
    "nas --trials 7": "--trials is for a --search: give one, or leave it out",
    "nas --searches 9": "--searches is for a --search",
    "nas --proxy early --iterations 7": "--iterations is for condensing, and no --proxy is condensed here",
    "nas --proxy early --real-batch 7": "--real-batch is for condensing",
    "nas --proxy whole --store uint8": "--store is for condensing",
    "nas --proxy whole --network ConvNet-W8-D1": "--network is for condensing",
    "nas --proxy early --precision bf16": "--precision bf16 is for the real images of condensing",
    "nas --proxy whole --replicates 2": "--replicates is not for --proxy whole: give --whole-replicates",
    "nas --proxy short-1 --memories 2": "--memories is for condensers, and no --proxy is one",
    "nas --proxy short-1 --epochs 3": "--epochs is for memories and early, and no --proxy is one",
    # Too long for the name of a file.
    f"condense --condensers {LONG}": "the name 'dm+ridge:0.0001+ridg' ... has 262 bytes, too many for that of a memory",
    f"continual --condensers dm {LONG}": "too many for that of a memory file: give one of at most",
    f"nas --proxy {LONG}": "too many for that of a memory file: give one of at most",
    f"ablate --search weights --condenser {'dm' + '+ridge' * 17}": "has 189 bytes, too many for that of a memory file",
    f"table --condensers random {LONG}": "too many for that of a memory file: give one of at most",
    # Nothing of that name is there.
    "ablate --grid kk": "unknown grid 'kk'. Did you mean 'k'?",
    "ablate --storage nonsense": "give sqlite:///PATH on one machine",
    "ablate --search weights --condenser our": "unknown condenser 'our'. Did you mean 'ours'?",
    "ablate --search weights --condenser datadam": "no term of datadam is searched: add some that can be",
    "ablate --search weights --grid k": "--grid and --search exclude each other",
    "ablate --search weights --test": "a search chooses on held-out images: leave out --test",
    "ablate --search weights --workers 2": "leave out --workers",
    "condense --condensers herdin": "Did you mean 'herding'?",
    "condense --condensers dm+": "unknown term ''",
    "condense --condensers dm+sm:nan": "is not above 0 and finite",
    "condense --dataset folder:": "unknown data set 'folder:'",
    "condense --condensers dm+sm:0": "the weight in 'sm:0' is not above 0 and finite",
    "condense --dataset folder:/nowhere": "there is no folder /nowhere",
    r"condense --dataset 'two\nlines'": r"unknown data set 'two\nlines'",
    "condense --device gpu": "unknown device 'gpu'",
    "condense --device cpu:5": "device 'cpu:5' is not there",
    "condense --device cuda:-1": "unknown device 'cuda:-1'",
    "condense --device mps": "is not supported",
    "condense --out /dev/null": "cannot write to /dev/null",
    "continual --memory nowhere.safetensors": "nowhere.safetensors",
    "continual --memory .": "it is a folder, not a memory file",
    r"continual --memory 'two\nlines.safetensors'": r"two\nlines.safetensors",
    "continual --storage nonsense": "postgresql+psycopg://USER@HOST/NAME on many",
    "evaluate nowhere.safetensors": "nowhere.safetensors",
    "export": "no memories given",
    "export nowhere.safetensors": "nowhere.safetensors",
    "export x.pt --format parquet": "'parquet' for argument '--format'",
    "export x.pt --mean 0": "--mean and --std go together",
    "export x.pt --format pt --test": "a .pt file holds a memory alone",
    "export x.pt --format pt --mean 0 --std 1": "a .pt file holds a memory alone",
    "export a/x.pt b/x.pt": "two memories are called 'x'",
    "export x.pt --test": "x.pt does not say what it was made from: give --dataset",
    "nas --proxy ourz": "Did you mean 'ours'?",
    "nas --storage sqlite:////nowhere/x.db": "unable to open database file",
    "nas --merge nowhere.csv": "there is no such file",
    "speed --device cpu:5": "device 'cpu:5' is not there",
    "speed --datasets svhn2": "unknown shape 'svhn2'",
}


def words_of(line: str) -> list[str]:
    return [word.replace(r"\n", "\n") for word in shlex.split(line)]


@pytest.mark.parametrize("line", BAD)
def test_a_bad_command_line_is_refused_in_one_line(line, capsys, monkeypatch, tmp_path):
    name, *arguments = words_of(line)
    module = importlib.import_module(f"harness.{name}.__main__")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"python -m harness.{name}", *arguments])
    with pytest.raises(SystemExit) as end:
        command(getattr(module, name.capitalize()), module.main, module.__doc__)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.endswith("\n")
    assert len(said.splitlines()) == 1
    assert BAD[line] in said
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "line", ["", "--storage x", "--storge", "--dataset", "--steps", "--condensers", "--data-root x --order", "--plugin"]
)
@pytest.mark.parametrize("url", ["postgresql+psycopg://u:SECRET@h/x", "mysql://h/x?password=SECRET", "://u:SECRET@h"])
def test_a_url_in_the_wrong_place_is_not_shown(line, url, capsys, monkeypatch, tmp_path):
    module = importlib.import_module("harness.continual.__main__")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["python -m harness.continual", *line.split(), url])
    with pytest.raises(SystemExit) as end:
        command(module.Continual, module.main, module.__doc__)
    said = capsys.readouterr().err
    assert (end.value.code, said.count("\n")) == (2, 1)
    assert "SECRET" not in said


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, env=os.environ | environment, timeout=120
    )


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ("harness.condense --ipc x", {}),
        ("harness nas --epochs x", {}),
        ("harness.nas --epochs x", {"PYTHONIOENCODING": "ascii"}),
        ("harness.nas --epochs x", {"FORCE_COLOR": "1", "COLUMNS": "30"}),
        ("harness.speed --seconds 0", {}),
        ("harness nass", {}),
    ],
)
def test_a_process_ends_in_one_line_and_exit_code_2(arguments, environment, tmp_path):
    answer = run("-m", *arguments.split(), cwd=tmp_path, **environment)
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_a_file_holds_neither_moves_the_cursor_nor_fills_the_screen():
    assert one_line("a\x1b[2J\nb") == r"a\x1b[2J\nb"
    assert one_line("\udcff\u00e9") == "\\udcff\u00e9"
    assert len(one_line("x" * 10**6)) < LONGEST + 10
