"""Timing side by side: every competitor in a process of its own, all of them in turn on one machine.

A process of its own keeps precision switches, compiled code, allocators and peak memory of one competitor out of the
others; taking turns spreads whatever else happens on the machine over all of them.
"""

import multiprocessing
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import torch
from torch.utils.flop_counter import FlopCounterMode

WARM_UP = 0.25  # share of a turn's seconds that a competitor warms up for; at least one step


class Competitor(Protocol):
    """What takes part: picklable, and able to build the step that is timed."""

    label: str
    device: str

    def build(self) -> Callable[[], object]:
        """Make everything that the steps need; called in the competitor's process."""


@dataclass(frozen=True)
class Turn:
    """What one competitor did in one turn.

    Attributes:
        steps: calls of its step.
        seconds: that these steps took, until the device had finished.
        cpu_seconds: of all threads; less than the threads in use times `seconds` if other processes used the cores too.
        peak_bytes: most memory so far. CUDA: allocated on the device. CPU: resident memory of the process beyond what
            it held before anything was built; None where the system does not tell.
    """

    steps: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int | None


def alternate(
    competitors: Sequence[Competitor], repeats: int, seconds: float, progress: Callable[[int], object]
) -> list[list[Turn]]:
    """Warm everybody up, then let them take turns (a, b, a, b, ...): one list of turns for each repeat.

    `progress` is called with 1 after every turn, warm-ups included.

    Raises:
        ValueError: what a competitor raised, or that its process was killed.
    """

    def turn(lane: Lane, budget: float) -> Turn:
        done = lane.turn(budget)
        progress(1)
        return done

    with ExitStack() as stack:
        lanes = [stack.enter_context(Lane(competitor)) for competitor in competitors]
        for lane in lanes:
            turn(lane, seconds * WARM_UP)
        return [[turn(lane, seconds) for lane in lanes] for _ in range(repeats)]


class Lane:
    """A competitor in its own process: `with Lane(competitor) as lane: lane.turn(seconds)`."""

    def __init__(self, competitor: Competitor) -> None:
        self.label = competitor.label
        processes = _context(competitor)
        self.pipe, theirs = processes.Pipe()
        self.process = processes.Process(target=_serve, args=(theirs, competitor), daemon=True)
        self.process.start()
        # Closed here: if the parent kept the child's end open, it would not notice that the child died.
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.join()
        self.pipe.close()

    def turn(self, seconds: float) -> Turn:
        """Step for about that long, at least once. Raises what the step raised, ValueError if the process died."""
        try:
            self.pipe.send(seconds)
            answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join()
            raise ValueError(
                f"the process of {self.label!r} ended with code {self.process.exitcode}, for want of memory if that "
                "is -9: leave this measurement out or give a smaller --chunk"
            ) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer


def timed(step: Callable[[], object], seconds: float, wait: Callable[[], object]) -> tuple[int, float]:
    """Call `step` for about `seconds`, at least once; return how often, and how long that took.

    `wait` blocks until the device is idle. It is called after 1, 2, 4, ... steps: a device that works asynchronously
    must be kept busy, as it is in a long run.
    """
    wait()
    started, steps = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - started) < seconds or not steps:
        for _ in range(max(1, steps)):
            step()
        wait()
        steps = max(1, 2 * steps)
    return steps, elapsed


def flop_of(work: Callable[[], object]) -> int:
    """Floating-point operations of the convolutions and matrix products in `work`, forward and back."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def _context(competitor: Competitor) -> BaseContext:
    """How processes start. To fork a server that has loaded torch is quick, but needs Linux and no CUDA."""
    if sys.platform != "linux" or competitor.device != "cpu":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    # torch._dynamo, because otherwise the first optimiser loads it within a competitor's time and memory.
    context.set_forkserver_preload([__name__, type(competitor).__module__, "torch._dynamo"])
    return context


def _serve(pipe: Connection, competitor: Competitor) -> None:
    """The child: build on the first request, then one turn for each number of seconds that comes in."""
    # Ctrl-C is ignored here: the parent handles it and ends its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    before, step = _resident("VmRSS"), None
    # These errors mean that the parent is gone, so there is nothing left to do.
    with suppress(EOFError, BrokenPipeError):
        while True:
            seconds = pipe.recv()
            try:
                step = step or competitor.build()
                answer = _turn(step, seconds, torch.device(competitor.device), before)
            except Exception as error:
                error.add_note(traceback.format_exc())
                answer = error
            pipe.send(answer)


def _turn(step: Callable[[], object], seconds: float, device: torch.device, before: int | None) -> Turn:
    on_cuda, started = device.type == "cuda", time.process_time()
    steps, elapsed = timed(step, seconds, (lambda: torch.cuda.synchronize(device)) if on_cuda else lambda: None)
    busy = time.process_time() - started
    if on_cuda:
        return Turn(steps, elapsed, busy, torch.cuda.max_memory_allocated(device))
    return Turn(steps, elapsed, busy, None if before is None else _resident("VmHWM") - before)


def _resident(field: str) -> int | None:
    """VmRSS or VmHWM of this process in bytes.

    Not `ru_maxrss`: a child inherits that from its parent, so a small child of a large parent would seem large.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith(field))
