"""Ctrl-C and SIGTERM with real processes: all of them end, within seconds, with one line, and the command resumes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.core.ending import SAID
from harness.core.records import Records
from harness.core.rows import NetworkRow
from harness.core.studies import HEARTBEAT

COMMAND = [sys.executable, "-m", "harness.nas", "--subset", "6", "--proxy", "random", "--ipc", "2", "--epochs", "40"]
COMMAND += ["--whole-replicates", "1", "--workers", "2"]
SECONDS = 5  # that all processes have to end; they take less than half of it
ENDINGS = {
    "Ctrl-C": (signal.SIGINT, os.killpg),  # a terminal sends it to all processes of the command
    "SIGINT": (signal.SIGINT, os.kill),
    "SIGTERM": (signal.SIGTERM, os.kill),
}


def start(out: Path) -> subprocess.Popen:
    environment = os.environ | {HEARTBEAT: "1", "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*COMMAND, "--out", str(out)], env=environment, start_new_session=True, **quiet)


def alive(group: int) -> bool:
    """Whether a process of the group lives; one that has ended and waits for init to notice does not."""
    listed = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    return any(int(own) == group and "Z" not in state for own, state in map(str.split, listed.splitlines()))


def rows(out: Path) -> int:
    return len(Records(out / "results.csv", NetworkRow).rows())


@pytest.mark.skipif(os.name != "posix", reason="process groups")
@pytest.mark.parametrize("ending", ENDINGS)
def test_all_processes_end_with_one_line_and_the_command_resumes(ending, tmp_path):
    number, send = ENDINGS[ending]
    chance, ended_amid = random.Random(ending), 0
    for attempt in range(2):
        process = start(tmp_path)
        while attempt and rows(tmp_path) <= ended_amid:  # the first one is ended while it starts
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(chance.uniform(0.2, 2))
        ended_amid = rows(tmp_path)
        send(process.pid, number)
        sent = time.monotonic()
        _, said = process.communicate(timeout=2 * SECONDS)
        while alive(process.pid) and time.monotonic() - sent < SECONDS:
            time.sleep(0.05)
        assert not alive(process.pid)
        assert time.monotonic() - sent < SECONDS
        if process.returncode == -number:
            assert not attempt, "only Python's own start may end without a word"
        else:
            assert (process.returncode, said) == (128 + number, f"{SAID}\n")
    logs = "".join(log.read_text() for log in (tmp_path / "workers").glob("*.log"))
    assert "Traceback" not in logs
    assert "ignored" not in logs
    assert ended_amid
    process = start(tmp_path)
    _, said = process.communicate(timeout=240)
    assert (process.returncode, said) == (0, "")
    assert rows(tmp_path) == len(Records(tmp_path / "results.csv", NetworkRow).finished()) == 12
    assert not list((tmp_path / ".locks").glob("*.cell.*"))
