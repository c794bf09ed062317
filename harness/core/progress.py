"""Progress with time left: a bar on a terminal, a line a minute elsewhere.

Bars are nested: iterations within a cell, cells within a command. Progress of an inner bar counts at once in the outer
one, so a command can tell the time left before its first cell has ended.
"""

import os
import sys
import time
from threading import Event, Lock, Thread
from typing import ClassVar, Self

from tqdm import tqdm

SECOND, MINUTE = 1.0, 60.0
WORDED = "{desc}: {percentage:3.0f}%|{bar}| {unit} [{elapsed}<{remaining}]"
LOOKS = 15.0  # seconds between two looks at whether a line is due


class Nested:
    """What bars and lines share.

    Attributes:
        n: how much of the total is done.
        total: how much there is to do.
        unit: what is counted; or the text to show instead of a count, if the total means nothing to people.
        worth: how much of the enclosing bar's total this bar stands for.
    """

    _open: ClassVar[list["Nested"]] = []  # the outermost first
    n: float
    total: float
    unit: str
    worth = 0.0

    def __enter__(self) -> Self:
        Nested._open.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        """A line stays where it is, a bar disappears."""
        Nested._open.remove(self)

    def stand(self, n: float, unit: str) -> None:
        """Set how much is done in all, whatever was counted before; `unit` is the text that says so."""
        self.unit = unit
        self.update(n - self.n)

    def update(self, n: float = 1) -> None:
        """So much more is done."""
        raise NotImplementedError

    def _count(self, n: float) -> None:
        """Count so much more as done, without having to show it at once."""
        raise NotImplementedError

    def _around(self) -> list["Nested"]:
        """The bars around this one, outermost first, and then this one."""
        return [*Nested._open[: Nested._open.index(self)], self] if self in Nested._open else [self]

    def _pass_on(self, n: float) -> None:
        for whole in self._around()[-2:-1] if self.worth else ():
            whole._count(self.worth * n / self.total)


class Lines(Nested):
    """Progress for a log, in place of a bar: a plain line on stderr every minute.

    It stays one line a minute for many short pieces of work and for a piece that takes hours: all bars of a process
    share the minute, and within a `with` a thread prints their state even if nothing is counted.
    """

    _lock: ClassVar[Lock] = Lock()
    _said: ClassVar[float] = time.monotonic()

    def __init__(
        self, total: float, what: str, unit: str = "it", every: float = MINUTE, worth: float = 0.0, counts: bool = True
    ) -> None:
        self.n, self.total, self.unit, self.worth = 0, total, unit, worth
        self._what, self._every, self._counts = what, every, counts
        self._started, self._now, self._over = time.monotonic(), "", Event()
        self._first: tuple[float, int] | None = None

    def update(self, n: float = 1) -> None:
        """Count so much more as done; print a line if it is time for one and anything is done."""
        self._count(n)
        if self.n:
            self._say_if_due()

    def _count(self, n: float) -> None:
        self.n += n
        self._first = self._first or (time.monotonic() - self._started, self.n)
        self._pass_on(n)

    def _say_if_due(self) -> None:
        with Lines._lock:
            now = time.monotonic()
            if now - Lines._said >= self._every:
                Lines._said = now
                print("; ".join(one._line(now - one._started) for one in self._around()), file=sys.stderr, flush=True)

    def _line(self, elapsed: float) -> str:
        counted = f"{self.n} of {self.total} {self.unit}" if self._counts else self.unit
        share = f"{self.n / max(self.total, 1):.0%} ({counted})"
        return f"{self._what}: {share}, {tqdm.format_interval(elapsed)} gone, {self._left(elapsed)} left"

    def _left(self, elapsed: float) -> str:
        """Time left at the pace since the first update, because that one may count the iterations of a checkpoint."""
        before, done = self._first if self._first and self.n > self._first[1] else (0.0, 0)
        return tqdm.format_interval((elapsed - before) * (self.total - self.n) / (self.n - done)) if self.n else "?"

    def __enter__(self) -> Self:
        super().__enter__()
        if len(Nested._open) == 1:
            Thread(target=self._look, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """A line stays where it is."""
        super().__exit__(*error)
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(LOOKS):
            for innermost in Nested._open[-1:]:
                innermost._say_if_due()


class Bar(Nested, tqdm):
    """A bar whose clock goes on while nothing is counted: networks may be trained before the first iteration."""

    def __enter__(self) -> Self:
        self._over = Event()
        Thread(target=self._tick, daemon=True).start()
        return super().__enter__()

    def __exit__(self, *error: object) -> None:
        """The clock stops with the bar."""
        self._over.set()
        super().__exit__(*error)
        self.close()

    def update(self, n: float = 1) -> None:
        """So much more is done."""
        tqdm.update(self, n)
        self._pass_on(n)

    _count = update

    def _tick(self) -> None:
        while not self._over.wait(SECOND):
            self.refresh()


def _has_rows() -> bool:
    """Whether stderr is a terminal with room for bars: if it has no rows, as without a window, tqdm draws nothing."""
    if not sys.stderr.isatty():
        return False
    try:
        return os.get_terminal_size(sys.stderr.fileno()).lines > 1
    except OSError:
        return True


def bar(total: float, what: str, unit: str = "it", worth: float = 0.0, counts: bool = True) -> Bar | Lines:
    """A bar on stderr that disappears when done; lines if stderr is no terminal, or one that does not say its size.

    Args:
        total: how much there is to do.
        what: the work, for people.
        unit: what is counted; the text to show instead of a count if not `counts`.
        worth: how much of the enclosing bar's total this bar stands for.
        counts: whether to show the count.
    """
    if not _has_rows():
        return Lines(total, what, unit, worth=worth, counts=counts)
    # Time left: for unequal pieces use the average pace of the whole run (smoothing 0), for equal iterations the recent
    # pace.
    shown = {} if counts else {"bar_format": WORDED, "smoothing": 0}
    made = Bar(total=total, desc=what, unit=unit, leave=False, dynamic_ncols=True, **shown)
    made.worth = worth
    return made


def say(text: str) -> None:
    """A line on stdout that does not tear a bar apart; it appears at once in a log too."""
    with tqdm.external_write_mode():
        print(text, flush=True)
