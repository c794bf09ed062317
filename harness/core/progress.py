"""Progress with time left: a bar on a terminal, a line a minute elsewhere."""

import os
import sys
import time
from threading import Event, Lock, Thread
from typing import ClassVar, Self

from tqdm import tqdm

SECOND, MINUTE = 1.0, 60.0
LOOKS = 15.0  # seconds between two looks at whether a line is due


class Lines:
    """What `tqdm` is on a terminal, for a log: a plain line on stderr a minute.

    Neither many short pieces of work nor one that takes hours changes that: all bars of a process share the minute, and
    within a `with` a thread says where they stand even if none of them moves.

    Attributes:
        n: how much of the total is done.
    """

    disable = False
    _open: ClassVar[list["Lines"]] = []  # the outermost first
    _lock: ClassVar[Lock] = Lock()
    _said: ClassVar[float] = time.monotonic()

    def __init__(self, total: int, what: str, unit: str = "it", every: float = MINUTE) -> None:
        self.n, self._total, self._what, self._unit, self._every = 0, total, what, unit, every
        self._started, self._now, self._over = time.monotonic(), "", Event()
        self._first: tuple[float, int] | None = None

    def update(self, n: int = 1) -> None:
        """So much more is done; prints a line if the last one is old and anything is done."""
        self.n += n
        self._first = self._first or (time.monotonic() - self._started, self.n)
        if self.n:
            self._say_if_due()

    def set_postfix_str(self, text: str) -> None:
        """What is at work, for the next lines."""
        self._now = f", {text}"

    def _say_if_due(self) -> None:
        with Lines._lock:
            now = time.monotonic()
            if now - Lines._said >= self._every:
                Lines._said = now
                print("; ".join(one._line(now - one._started) for one in self._around()), file=sys.stderr, flush=True)

    def _around(self) -> list["Lines"]:
        """This one after those that it is a part of."""
        return [*Lines._open[: Lines._open.index(self)], self] if self in Lines._open else [self]

    def _line(self, elapsed: float) -> str:
        share = f"{self.n / max(self._total, 1):.0%} ({self.n} of {self._total} {self._unit})"
        return f"{self._what}: {share}, {tqdm.format_interval(elapsed)} gone, {self._left(elapsed)} left{self._now}"

    def _left(self, elapsed: float) -> str:
        """Time left at the pace since the first update, which may have counted what a checkpoint already had."""
        before, done = self._first if self._first and self.n > self._first[1] else (0.0, 0)
        return tqdm.format_interval((elapsed - before) * (self._total - self.n) / (self.n - done)) if self.n else "?"

    def __enter__(self) -> Self:
        Lines._open.append(self)
        if len(Lines._open) == 1:
            Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """A line stays where it is."""
        Lines._open.remove(self)
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(LOOKS):
            for innermost in Lines._open[-1:]:
                innermost._say_if_due()


class Bar(tqdm):
    """A bar whose clock goes on while nothing is counted: networks may be trained before the first iteration."""

    def __enter__(self) -> Self:
        self._over = Event()
        Thread(target=self._tick, daemon=True).start()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        """The clock stops with the bar."""
        self._over.set()
        super().__exit__(*error)

    def _tick(self) -> None:
        while not self._over.wait(SECOND):
            self.refresh()


def _has_rows() -> bool:
    """Whether stderr is a terminal with room for bars: without rows, as without a window, tqdm draws nothing."""
    if not sys.stderr.isatty():
        return False
    try:
        return os.get_terminal_size(sys.stderr.fileno()).lines > 1
    except OSError:
        return True


def bar(total: int, what: str, unit: str = "it") -> Bar | Lines:
    """A bar on stderr that disappears when done; lines if that is no terminal, or one that does not say its size."""
    if not _has_rows():
        return Lines(total, what, unit)
    return Bar(total=total, desc=what, unit=unit, leave=False, dynamic_ncols=True)


def say(text: str) -> None:
    """A line on stdout that does not tear a bar apart; it appears at once in a log too."""
    with tqdm.external_write_mode():
        print(text, flush=True)
