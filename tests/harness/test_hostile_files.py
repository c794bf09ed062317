"""Files that are none, never end, or fill the memory, and names that no file should have: one line, at once."""

import importlib
import os
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from harness.core import command as commands
from harness.core.command import command
from harness.core.records import Records
from harness.core.schema import ScoreRow


def say_of(capsys, monkeypatch, name, *arguments) -> tuple[int, str]:
    """Exit code and stderr of a command in this process."""
    module = importlib.import_module(f"harness.{name}.__main__")
    monkeypatch.setattr(sys, "argv", [f"python -m harness.{name}", *map(str, arguments)])
    capsys.readouterr()
    code = 0
    try:
        command(getattr(module, name.capitalize()), module.main, module.__doc__)
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr().err
    # One line about a mistake, and nothing otherwise, but how far it is on a slow machine.
    assert said.count("\n") == 1 if code else all(" gone" in line for line in said.splitlines())
    return code, said


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(5 * 2**30)


NO_FILES = {
    "device": (endless, "a pipe or a device, not a file"),
    "pipe": (os.mkfifo, "a pipe or a device, not a file"),
    "folder": (Path.mkdir, "a folder, not a file"),
    "5 GB": (sparse, "it has 5,368,709,120 bytes, and at most "),
}
FLAGS = {
    "--whole-table": ("nas", "x.csv", ("--dry-run",)),
    "--merge": ("nas", "x.csv", ("--dry-run",)),
    "--plugin": ("condense", "x.py", ("--list",)),
}


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("flag", FLAGS)
def test_what_is_no_file_or_too_large_is_not_opened(flag, kind, capsys, monkeypatch, tmp_path):
    make, words = NO_FILES[kind]
    name, file, further = FLAGS[flag]
    make(tmp_path / file)
    monkeypatch.chdir(tmp_path)
    code, said = say_of(capsys, monkeypatch, name, flag, file, *further)
    assert (code, words in said) == (2, True)


@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_memory_that_is_none_is_told_before_it_is_read(suffix, kind, capsys, monkeypatch, tmp_path):
    path = tmp_path / f"x{suffix}"
    NO_FILES[kind][0](path)
    code, said = say_of(capsys, monkeypatch, "evaluate", path, "--dataset", "digits", "--out", tmp_path / "out")
    assert (code, str(path) in said) == (2, True)
    assert "weights_only` to `False" not in said


def test_a_records_file_that_is_a_device_ends_a_run_before_it_starts(capsys, monkeypatch, tmp_path):
    endless(tmp_path / "results.csv")
    code, said = say_of(capsys, monkeypatch, "continual", "--condensers", "random", "--out", tmp_path)
    assert (code, "a pipe or a device" in said) == (2, True)


def test_a_picture_of_one_bit_is_refused_without_a_warning(capsys, monkeypatch, tmp_path):
    for name in ("a/0.png", "b/0.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        Image.new("1", (13000, 13000)).save(tmp_path / "set" / name)
    for split in ("train", "test"):
        (tmp_path / split).symlink_to(tmp_path / "set")
    code, said = say_of(capsys, monkeypatch, "condense", "--dataset", f"folder:{tmp_path}", "--out", tmp_path / "out")
    assert (code, "13000 x 13000 pixels, at most 67,108,864 in all are read" in said) == (2, True)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes\nmore"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    ],
)
def test_out_of_memory_is_one_line_that_says_what_to_do(error, capsys, monkeypatch):
    monkeypatch.setattr(commands, "load_plugins", lambda _: (_ for _ in ()).throw(error))
    code, said = say_of(capsys, monkeypatch, "condense", "--list")
    assert (code, "give a smaller --chunk" in said) == (1, True)


def test_real_exhaustion_is_told_by_torch_as_expected():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert commands._out_of_memory(caught.value)
    assert not commands._out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


NOT_UTF8 = os.fsdecode(b"bad\xff")


@pytest.mark.parametrize(
    ("name", "flag", "value", "words"),
    [
        ("condense", "--dataset", f"folder:{NOT_UTF8}", "cannot be written down"),
        ("condense", "--out", NOT_UTF8, r"--out is 'bad\udcff', which is not UTF-8"),
        ("continual", "--out", NOT_UTF8, "which is not UTF-8"),
        ("continual", "--dataset", f"folder:{NOT_UTF8}", "cannot be written down"),
        ("nas", "--whole-table", NOT_UTF8, "--whole-table is"),
        ("evaluate", "--out", NOT_UTF8, "which is not UTF-8"),
    ],
)
def test_a_path_that_is_not_utf8_is_told_before_the_work(name, flag, value, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    memories = ["x.pt"] if name == "evaluate" else []
    code, said = say_of(capsys, monkeypatch, name, *memories, flag, value)
    assert (code, words in said) == (2, True)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def write_set(path: Path, seed: int) -> Path:
    torch.save([torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(seed)), torch.arange(10)], path)
    return path


def test_a_file_named_like_a_formula_is_none_in_a_spreadsheet(capsys, monkeypatch, tmp_path):
    names = ("=1+1", "-2", "+3", "@4", "'5", "plain")
    files = [write_set(tmp_path / f"{name}.pt", seed) for seed, name in enumerate(names)]
    small = ("--dataset", "digits", "--networks", 1, "--epochs", 1, "--network", "ConvNet-W4-D1")
    code, _ = say_of(capsys, monkeypatch, "evaluate", *files, *small, "--out", tmp_path / "out")
    assert code == 0
    records = Records(tmp_path / "out" / "results.csv", ScoreRow)
    assert [row.condenser for row in records.rows()] == list(names)
    fields = {field for line in records.path.read_text().splitlines() for field in line.split(",")}
    assert {"'=1+1", "'-2", "'+3", "'@4", "''5", "plain"} <= fields
    assert not [field for field in fields if field[:1] in "=+-@" and field]


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", NOT_UTF8])
def test_a_memory_whose_name_cannot_be_written_down_is_told_before_the_work(name, capsys, monkeypatch, tmp_path):
    path = write_set(tmp_path / f"{name}.pt", 0)
    code, said = say_of(capsys, monkeypatch, "evaluate", path, "--dataset", "digits", "--out", tmp_path / "out")
    assert (code, "rename the file" in said) == (2, True)
    assert not (tmp_path / "out").exists()
