"""The distribution: every package is in it and nothing else, and its command works far from any checkout."""

import csv
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
from setuptools import find_namespace_packages

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ROOMS = PROJECT["tool"]["importlinter"]["root_packages"]
PIP = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
# Nothing is downloaded, and no second torch is installed.
OFFLINE = ["--no-deps", "--no-index"]
SIZES = {"memory-per-class": 2, "orders": 1, "networks": 1, "iterations": 2, "epochs": 2, "workers": 2}
DEMO = [
    "continual",
    "--network",
    "ConvNet-W8-D2-GN",
    "--condensers",
    "random",
    "dm",
    *(f"--{name}={size}" for name, size in SIZES.items()),
]


def test_discovery_finds_the_packages_that_python_imports():
    found = find_namespace_packages(str(ROOT), **PROJECT["tool"]["setuptools"]["packages"]["find"])
    inits = [path for room in ROOMS for path in (ROOT / room).rglob("__init__.py")]
    assert sorted(found) == sorted(".".join(path.parent.relative_to(ROOT).parts) for path in inits)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this checkout, built from a copy: beside the sources, setuptools packs what older builds have left."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for folder in (*ROOMS, "tests"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (source / "results").mkdir()
    (source / "results" / "rows.csv").write_text("cell,value\n")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [*PIP, "wheel", *OFFLINE, "--no-build-isolation", "--wheel-dir", built, source]
    subprocess.run(command, check=True, timeout=300)
    (path,) = built.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with what `pip install` of the wheel puts beside torch and the others."""
    target = tmp_path_factory.mktemp("installed")
    subprocess.run([*PIP, "install", *OFFLINE, "--target", target, wheel], check=True, timeout=300)
    return target


def call(installed, cwd, *command):
    """What a command prints that finds the installed packages alone, and no checkout."""
    own = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(command, cwd=cwd, env=own, capture_output=True, text=True, timeout=300)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_the_wheel_holds_every_source_and_neither_tests_nor_results(wheel):
    packed = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    sources = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    typed = [ROOT / room / "py.typed" for room in ROOMS]
    assert packed >= {path.relative_to(ROOT).as_posix() for path in (*sources, *typed)}
    assert {name.split("/")[0] for name in packed} == set(ROOMS)


def test_the_module_lists_the_commands(installed, tmp_path):
    listed = call(installed, tmp_path, sys.executable, "-m", "harness")
    commands = [path.parent.name for path in (ROOT / "harness").glob("*/__main__.py")]
    assert sorted(line.split()[0] for line in listed.splitlines()[2:]) == sorted(commands)


def test_the_console_command_runs_the_demo(installed, tmp_path):
    shown = call(installed, tmp_path, installed / "bin" / "condensed-memories", *DEMO)
    assert "final accuracy" in shown
    out = tmp_path / "out" / "continual" / "digits-5steps"
    assert (out / "accuracy.png").exists()
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["condenser"] for row in rows} == {"random", "dm"}
    # No commit is known where there is no checkout, so rows name the version: the code was the installed one.
    assert {row["commit"] for row in rows} == {PROJECT["project"]["version"]}
    (log,) = out.rglob("worker-*.log")
    assert "final accuracy" in log.read_text()
