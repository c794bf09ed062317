"""What a row says of where it comes from: the code, the versions, the machine."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.core.records import origin_of, provenance
from harness.core.schema import Provenance

ROOT = Path(__file__).resolve().parents[3]


def test_provenance_says_what_ran():
    found = provenance("cpu", "bfloat16")
    assert found["device"] == "cpu"
    assert found["precision"] == "bfloat16"
    assert found["threads"] == torch.get_num_threads()
    assert found["versions"].startswith(f"python {sys.version.split()[0]} torch {importlib.metadata.version('torch')} ")
    assert found["backend"] == ("mkldnn" if torch.backends.mkldnn.is_available() else "native")
    assert provenance("cuda:0", "float32")["backend"].startswith("cudnn ")
    assert origin_of("cpu", "bfloat16", 16) == Provenance(chunk=16, **found)


# All that the records need of the code.
NEEDED = ["condensers/device/files.py", "harness/core/paths.py", "harness/core/records.py", "harness/core/schema.py"]
NEEDED += [f"{package}/__init__.py" for package in ("condensers", "condensers/device", "harness", "harness/core")]


def commit_seen_by(checkout):
    """What rows written by the code in this folder name: in a process of its own, where no other code is loaded."""
    command = [sys.executable, "-c", "from harness.core.records import commit; print(commit())"]
    own = os.environ | {"PYTHONPATH": str(checkout)}
    return subprocess.run(command, cwd=checkout, env=own, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    for room in ("condensers", "harness", "scenarios", "search_spaces", "results"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "x.txt").write_text(room)
    for file in NEEDED:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_acommit_is_dirty_when_its_code_is_and_not_when_its_results_grow(checkout):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(checkout), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    git("add", ".")
    git("commit", "-m", "x")
    commit = git("describe", "--always")
    (checkout / "results" / "x.txt").write_text("more rows")
    assert commit_seen_by(checkout) == commit
    (checkout / "condensers" / "new.py").write_text("")
    assert commit_seen_by(checkout) == f"{commit}-dirty"


def test_without_git_the_installed_version_is_named(checkout):
    try:
        version = importlib.metadata.version("condensed-memories")
    except importlib.metadata.PackageNotFoundError:
        version = "unknown"
    assert commit_seen_by(checkout) == version
