"""Progress with time left on a terminal, quiet elsewhere."""

import sys

from tqdm import tqdm


def bar(total: int, what: str, unit: str = "it") -> tqdm:
    """A bar on stderr that disappears when done; silent when stderr is not a terminal."""
    return tqdm(total=total, desc=what, unit=unit, leave=False, dynamic_ncols=True, disable=not sys.stderr.isatty())


def say(text: str) -> None:
    """A line on stdout that does not tear a bar apart; it appears at once in a log too."""
    with tqdm.external_write_mode():
        print(text, flush=True)
