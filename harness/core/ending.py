"""How a run is ended from outside: by Ctrl-C, or by SIGTERM as schedulers of clusters send it.

No exception unwinds the run. It might be raised within Optuna, which then fails in its own way, or within a destructor,
which swallows it; and while the main thread is in a long call into C, none would be raised at all. But a run may be
killed at any moment, because every file is written whole or not at all. So a separate thread receives the signal, ends
the processes that were started with `start`, prints one line and exits.
"""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAID = "interrupted; the same command goes on from here"
PATIENCE = 2.0  # seconds that other processes have to end, before they are killed

_starting = threading.Lock()
_started: list[subprocess.Popen] = []


def start(process: Callable[[], subprocess.Popen]) -> subprocess.Popen:
    """Start a process that is ended together with this one."""
    with _starting:
        _started.append(process())
        return _started[-1]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """While the context lasts, Ctrl-C and SIGTERM end this process and those that it started, with one line.

    The exit code is 128 plus the number of the signal: 130 or 143. Only the main thread can set handlers of signals, so
    in another thread the context does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ear, mouth = socket.socketpair()
    mouth.setblocking(False)  # required by `set_wakeup_fd`
    # Set even if a shell started this process in the background, ignoring Ctrl-C: else it would go on as an orphan.
    usual = {number: signal.signal(number, _wait) for number in SIGNALS}
    before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_listen, args=(ear,), daemon=True).start()
    try:
        yield
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(before)
        mouth.close()


def _wait(number: int, frame: FrameType | None) -> None:
    """Keep the main thread from printing or doing anything more, while the listening thread ends the process."""
    time.sleep(2 * PATIENCE)


def _listen(ear: socket.socket) -> None:
    while heard := ear.recv(1):
        if heard[0] in SIGNALS:
            _end(heard[0])
    ear.close()


def _end(number: int) -> None:
    try:
        _starting.acquire(timeout=PATIENCE)  # and never released, so that no further process is started
        _end_others()
        # Not `print`, which waits for a lock that the main thread may hold. On a terminal the line may hold a bar.
        os.write(2, f"{os.linesep * sys.stderr.isatty()}{SAID}{os.linesep}".encode())
    finally:
        os._exit(128 + number)


def _end_others() -> None:
    others = [*_started, *multiprocessing.active_children()]
    for one in others:
        with suppress(OSError):  # it has ended by itself
            one.terminate()
    deadline = time.monotonic() + PATIENCE
    while any(map(_lives, others)) and time.monotonic() < deadline:
        time.sleep(0.02)
    for one in filter(_lives, others):
        with suppress(OSError):
            one.kill()


def _lives(one: subprocess.Popen | multiprocessing.Process) -> bool:
    return one.poll() is None if isinstance(one, subprocess.Popen) else one.is_alive()
