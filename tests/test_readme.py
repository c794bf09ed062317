"""The README's Python runs as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


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
    def call(command: str, flags: str, *files: str) -> str:
        own = ["--plugin", plugin.name, *flags.split()]
        return run(f"harness.{command}", *files, *own, cwd=plugin.parent)

    call("condense", f"--condensers dm coral ours+cov --ipc 2 --iterations 2 --out {tmp_path}/made")
    files = sorted(map(str, (tmp_path / "made").glob("*.safetensors")))
    assert len(files) == 3
    assert "coral" in call("evaluate", f"--epochs 2 --networks 1 --out {tmp_path}/scores", *files)
    quick = "--epochs 2 --iterations 2"
    assert "coral" in call("continual", f"--condensers coral --memory-per-class 2 {quick} --out {tmp_path}/stream")
    assert "ours+cov" in call("nas", f"--proxy ours+cov --subset 5 --ipc 2 {quick} --out {tmp_path}/nas")
    assert "covariance of features" in call("speed", "--list")
