"""The README's Python runs as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
<<<<<<< HEAD
=======

from condensers import registry
from condensers.condense import Group, condense
from condensers.core.matching import Schedule
>>>>>>> tests

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
QUICK = ["--epochs", "2", "--device", "cpu"]


def run(*arguments: str, cwd: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def plugin(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "covariance.py"
    path.write_text(BLOCKS[1])
    assert len(BLOCKS[1].splitlines()) <= 40
    return path


@pytest.mark.usefixtures("unchecked")
def test_the_library_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(BLOCKS[0], names)
    assert len(names["buffer"].buffer) == 50
    assert (tmp_path / "ours.safetensors").exists()
    assert names["from_condensed"] > 0.9
    assert names["with_replay"] > 0.85


def test_the_contract_suite_runs_over_the_new_condenser(plugin):
    asked = ["tests/condensers/test_contract.py", "--plugin", str(plugin), "-q", "-k", "coral or cov"]
    said = run("pytest", *asked, cwd=ROOT)
    assert int(re.search(r"(\d+) passed", said)[1]) >= 16
    assert "failed" not in said


def test_every_command_knows_the_new_condenser(plugin, tmp_path):
    own = ["--plugin", plugin.name]
    made = [
        "--condensers",
        "dm",
        "coral",
        "ours+cov",
        "--ipc",
        "2",
        "--iterations",
        "2",
        "--out",
        str(tmp_path / "made"),
    ]
    run("harness.condense", *own, *made, cwd=plugin.parent)
    files = sorted(map(str, (tmp_path / "made").glob("*.safetensors")))
    assert len(files) == 3
    said = run(
        "harness.evaluate",
        *files,
        *own,
        *QUICK,
        "--networks",
        "1",
        "--out",
        str(tmp_path / "scores"),
        cwd=plugin.parent,
    )
    assert "coral" in said
    stream = [
        "--condensers",
        "coral",
        "--memory-per-class",
        "2",
        "--iterations",
        "2",
        "--out",
        str(tmp_path / "stream"),
    ]
    assert "coral" in run("harness.continual", *own, *QUICK, *stream, cwd=plugin.parent)
    survey = ["--proxy", "ours+cov", "--subset", "5", "--ipc", "2", "--iterations", "2", "--out", str(tmp_path / "nas")]
    assert "ours+cov" in run("harness.nas", *own, *QUICK, *survey, cwd=plugin.parent)
    assert "covariance of features" in run("harness.speed", *own, "--list", cwd=plugin.parent)
