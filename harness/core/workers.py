"""Starts further processes with this process's command line: the workers of one storage on one machine."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from harness.core.ending import start
from harness.core.progress import say
from harness.core.storage import STORAGE

THREADS, GPUS = "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"


@contextmanager
def further_workers(workers: int, storage: str, logs: Path) -> Iterator[Callable[[], None]]:
    """Run so many workers while the context lasts; this process is worker 1, worker K writes to `logs/worker-K.log`.

    At the end the workers are waited for; after an error here, or Ctrl-C or SIGTERM in a command, they are ended. CPU
    threads are divided among them unless OMP_NUM_THREADS is set, GPUs unless `--device cuda:N` names one.

    Yields:
        A function that prints a line for each worker that has died since the last call.

    Raises:
        ValueError: this process was not started as `python -m harness.COMMAND`.
    """
    processes: dict[Path, subprocess.Popen] = {}
    try:
        if workers > 1:
            processes |= _start(workers, storage, logs)
        yield lambda: _say_dead(processes)
        for process in processes.values():
            process.wait()
        _say_dead(processes)
    finally:
        for process in processes.values():
            process.terminate()
            process.wait()


def _start(workers: int, storage: str, logs: Path) -> dict[Path, subprocess.Popen]:
    # Appended, because of a flag that is given twice the last value counts.
    command = [*_command_line(), "--workers", "1"]
    environment, gpus, processes = os.environ | _threads(workers) | {STORAGE: storage}, _gpus(), {}
    logs.mkdir(parents=True, exist_ok=True)
    for number in range(2, workers + 1):
        if len(gpus) > 1:
            environment[GPUS] = gpus[(number - 1) % len(gpus)]
        log = logs / f"worker-{number}.log"
        with log.open("a") as output:  # appended: a run on another machine may write to the same log
            quiet = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
            processes[log] = start(partial(subprocess.Popen, command, env=environment, **quiet))
    return processes


def _command_line() -> list[str]:
    module = sys.modules["__main__"].__spec__
    if module is None or not module.parent.startswith("harness."):
        raise ValueError("--workers repeats a command line, and this is none: run python -m harness.COMMAND")
    return [sys.executable, "-m", module.parent, *without_storage(sys.argv[1:])]


def without_storage(arguments: Sequence[str]) -> list[str]:
    """The arguments without `--storage URL`, which a list of processes would show."""
    kept, skips = [], False
    for argument in arguments:
        if not skips and not argument.startswith("--storage="):
            kept.append(argument)
        skips = not skips and argument == "--storage"
    return [argument for argument in kept if argument != "--storage"]


def _threads(workers: int) -> dict[str, str]:
    import torch

    if THREADS in os.environ:
        return {}
    share = max(1, torch.get_num_threads() // workers)
    torch.set_num_threads(share)
    return {THREADS: str(share)}


def _gpus() -> list[str]:
    import torch

    # An explicit cuda:N holds for every worker; N counts the GPUs that this process sees.
    if any("cuda:" in argument for argument in sys.argv):
        return []
    every = ",".join(map(str, range(torch.cuda.device_count())))
    return os.environ.get(GPUS, every).split(",")


def _say_dead(processes: dict[Path, subprocess.Popen]) -> None:
    for log, process in list(processes.items()):
        if process.poll():
            say(f"{log.stem} ended with exit code {process.returncode}, see {log}; the others do its work")
            del processes[log]
