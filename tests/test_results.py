"""Rows in results/ are found again by the commands that stand beside them: nobody has to run them anew to go on."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.evidence.commands import SECTION, SHELL

ROOT = Path(__file__).parents[1]
ELSEWHERE = ("--dataset cifar", "--out digits-table")  # what needs images that are not here, or leaves no rows here
LEFT = re.compile(r"^(scores|networks|searches|trials) +(\d+) ", re.MULTILINE)


def asked() -> list[str]:
    """The commands in results/README.md that can say what is left to do of digits."""
    page = (ROOT / "results/README.md").read_text()
    blocks = [block.replace("\\\n", " ") for _, text in SECTION.findall(page) for block in SHELL.findall(text)]
    found = re.findall(r"python (-m harness\.(?:ablate|continual|nas|table) [^\n\"]*)", "\n".join(blocks))
    return [line for line in found if not any(name in line for name in ELSEWHERE)]


def test_there_are_such_commands():
    assert {line.split()[1] for line in asked()} == {
        f"harness.{name}" for name in ("ablate", "continual", "nas", "table")
    }
    assert len(asked()) > 6


@pytest.mark.parametrize("line", asked(), ids=lambda line: Path(line.partition("--out ")[2].partition(" ")[0]).name)
def test_nothing_is_left_of_what_is_committed(line):
    call = [sys.executable, *shlex.split(line), "--dry-run"]
    # The rows are of a CPU, where another protocol is the default than on a GPU.
    own = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(call, cwd=ROOT, env=own, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert {left for _, left in LEFT.findall(done.stdout)} == {"0"}, done.stdout
