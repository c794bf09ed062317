"""`torchrun -m harness.condense`: one rank's memory from two, a rank that dies, and a mistake that all make."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.distributed import TCPStore

from condensers.memory import load_memory
from harness.condense import __main__ as condense
from harness.condense.flags import Condense

ROOT = Path(__file__).parents[3]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
CONDENSERS = ("ours", "random")
# So many iterations that torchrun, on a busy machine, sees the death of one rank before the other is through.
NUMBERS = {"ipc": 8, "iterations": 300, "real_batch": 8, "chunk": 40}
FLAGS = [str(x) for name, number in NUMBERS.items() for x in (f"--{name.replace('_', '-')}", number)]
NETWORK = "ConvNet-W4-D2"


def start(out):
    """The command on two ranks."""
    command = [*TORCHRUN, Path(__file__).with_name("told_condense.py"), "--condensers", *CONDENSERS, *FLAGS]
    return subprocess.Popen(
        [*command, "--network", NETWORK, "--out", out],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(lines):
    """Process and first iteration of each rank."""
    found = re.findall(r"^rank (\d) is (\d+) at (\d+)$", lines, re.MULTILINE)
    return {int(rank): (int(process), int(iteration)) for rank, process, iteration in found}


def iterations_saved(folder):
    """Of each checkpoint that can be read, ascending."""
    found = []
    for path in folder.rglob("*.safetensors"):
        try:
            state = load_file(path)
        except (OSError, SafetensorError):
            continue
        found.append(int(state["iteration"]))
    return sorted(found)


def kill_one(out, after):
    """Start the command, and kill rank 1 without warning when both have saved so many iterations."""
    torchrun = start(out)
    processes = told(torchrun.stdout.readline() + torchrun.stdout.readline() + torchrun.stdout.readline())
    while len(saved := iterations_saved(out / "checkpoints")) < 2 or saved[0] < after:
        assert torchrun.poll() is None
        time.sleep(0.01)
    os.kill(processes[1][0], signal.SIGKILL)
    return torchrun, processes


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    out = tmp_path_factory.mktemp("two ranks")
    torchrun, processes = kill_one(out, after=10)
    _, errors = torchrun.communicate(timeout=60)
    return out, torchrun.returncode, processes, errors, iterations_saved(out / "checkpoints")


@pytest.fixture(scope="module")
def resumed(killed):
    torchrun = start(killed[0])
    output, errors = torchrun.communicate(timeout=120)
    assert torchrun.returncode == 0, errors
    return killed[0], output


def test_a_rank_that_dies_ends_the_run_with_an_error(killed):
    out, code, processes, errors, saved = killed
    assert code != 0
    assert "Signal 9 (SIGKILL)" in errors
    assert not list(out.glob("*.safetensors"))
    assert all(10 <= iterations < NUMBERS["iterations"] for iterations in saved)
    for process, _ in processes.values():
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


def test_the_same_command_goes_on_from_the_last_checkpoints(killed, resumed):
    assert sorted(iteration for _, iteration in told(resumed[1]).values()) == killed[4]
    assert not list((resumed[0] / "checkpoints").rglob("*.safetensors"))


def test_two_ranks_give_the_memories_of_one_process(resumed, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    condense.main(Condense(condensers=CONDENSERS, network=NETWORK, out=tmp_path, **NUMBERS))
    torch.set_num_threads(threads)
    expected = sorted(tmp_path.glob("*.safetensors"))
    assert len(expected) == 2
    assert sorted(path.name for path in resumed[0].glob("*.*")) == sorted(path.name for path in tmp_path.glob("*.*"))
    for path in expected:
        ours, one = load_memory(resumed[0] / path.name), load_memory(path)
        assert torch.equal(ours.images, one.images)
        assert torch.equal(ours.labels, one.labels)
        # Time and memory are measured, and are another run's.
        costs = [metadata.pop("cost") for metadata in (ours.metadata, one.metadata)]
        assert json.loads(json.dumps(ours.metadata)) == one.metadata | {"ranks": 2}
        assert costs[0]["flop"] == costs[1]["flop"]


def test_rank_0_alone_prints(resumed):
    lines = [line for line in resumed[1].splitlines() if not line.startswith("rank ")]
    said = f"{NUMBERS['iterations']} iterations, {NUMBERS['ipc']} images per class"
    assert lines[0].endswith(f"on cpu, 2 of 2 ranks at work: {said}")
    assert [line.split(":")[0] for line in lines[1:]] == list(CONDENSERS)


def test_a_mistake_is_said_once_and_ends_every_rank_with_exit_code_2(tmp_path):
    # As torchrun starts ranks, but for its end: it kills the others as soon as one has failed.
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port)}
    shared |= {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "harness.condense", "--condensers", "dm", "dm+ridge", "--steps", "2"],
            cwd=tmp_path,
            env=ENVIRONMENT | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs, errors = zip(*(rank.communicate(timeout=60) for rank in ranks), strict=True)
    assert [rank.returncode for rank in ranks] == [2, 2]
    (line,) = "".join(errors).splitlines()
    assert line.startswith("error: dm+ridge cannot share its classes out to ranks, for it couples them")
    assert "".join(outputs) == ""
    assert not list(tmp_path.rglob("*.*"))
