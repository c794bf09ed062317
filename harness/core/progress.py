"""Progress with time left: a bar on a terminal, a line a minute elsewhere."""

import sys
import time
from typing import Self

from tqdm import tqdm

MINUTE = 60.0


class Lines:
    """What `tqdm` is on a terminal, for a log: a plain line on stderr a minute, however small the pieces of work are.

    Attributes:
        n: how much of the total is done.
    """

    disable = False
    _said = time.monotonic()  # shared by all bars, or a run of many short ones would never say anything

    def __init__(self, total: int, what: str, unit: str = "it", every: float = MINUTE) -> None:
        self.n, self._total, self._what, self._unit, self._every = 0, total, what, unit, every
        self._started, self._now = time.monotonic(), ""

    def update(self, n: int = 1) -> None:
        """So much more is done; prints a line if the last one is old and anything is done, or no time left is known."""
        self.n += n
        now = time.monotonic()
        if self.n and now - Lines._said >= self._every:
            Lines._said = now
            print(self._line(now - self._started), file=sys.stderr, flush=True)

    def set_postfix_str(self, text: str) -> None:
        """What is at work, for the next lines."""
        self._now = f", {text}"

    def _line(self, elapsed: float) -> str:
        left = tqdm.format_interval(elapsed * (self._total - self.n) / self.n)
        share = f"{self.n / max(self._total, 1):.0%} ({self.n} of {self._total} {self._unit})"
        return f"{self._what}: {share}, {tqdm.format_interval(elapsed)} gone, {left} left{self._now}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """A line stays where it is."""


def bar(total: int, what: str, unit: str = "it") -> tqdm | Lines:
    """A bar on stderr that disappears when done; lines if that is no terminal."""
    if not sys.stderr.isatty():
        return Lines(total, what, unit)
    return tqdm(total=total, desc=what, unit=unit, leave=False, dynamic_ncols=True)


def say(text: str) -> None:
    """A line on stdout that does not tear a bar apart; it appears at once in a log too."""
    with tqdm.external_write_mode():
        print(text, flush=True)
