"""What every command shares: parse a frozen dataclass, run, and turn a user's mistake into one line and exit code 2."""

import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from harness.core.devices import keep_freed_memory
from harness.core.ending import ended_by_signals
from harness.core.flags import check_bounds
from harness.core.parsing import parse
from harness.core.plugins import load as load_plugins
from harness.core.plugins import place_in_plugin


class Flags(Protocol):
    """What every command's dataclass has."""

    @property
    def list_names(self) -> bool:
        """Whether to print names instead of working."""

    @property
    def plugin(self) -> Sequence[str]:
        """Modules or files whose condensers, networks, spaces and data sets are registered first."""


Config = TypeVar("Config", bound=Flags)
TRACEBACK = "HARNESS_TRACEBACK"
OUT_OF_MEMORY = (
    "there is not enough memory: give a smaller --chunk, --network or --resolution, or fewer --networks, --workers or "
    "images per class; what is finished is kept"
)
# A URL with a user name or a password, whichever flag it was given to by mistake; not the example URL of our advice.
PRIVATE = re.compile(r"([\w+.-]*)://(?!USER@HOST/NAME(?:[\s;,)]|$))\S*(?:@|password)\S*")
HIDDEN = r"\1://... (the rest is not shown, for it may hold a password)"
_USUAL = warnings.formatwarning
LONGEST = 2000  # characters of an error: a list of all names fits, a file's worth of bytes does not


def command(config_type: type[Config], execute: Callable[[Config], object], description: str) -> None:
    """Run `execute` on the command line read as a `config_type`, or print the names that flags take.

    Exit codes: 0 done, 1 out of memory, 2 a mistake of the user's (`ValueError`), 130 Ctrl-C, 143 SIGTERM. Set
    HARNESS_TRACEBACK=1 for the whole traceback of an error.
    """
    # A name that the terminal or the log cannot show must not end a run whose work is done.
    sys.stdout.reconfigure(errors="backslashreplace")
    warnings.formatwarning = _one_line_warning
    prog = f"python -m harness.{config_type.__name__.lower()}"
    try:
        with ended_by_signals():
            _run(config_type, execute, prog, description)
    except BrokenPipeError:
        # The reader of our output (such as `| head`) has gone, so there is nothing left to say; not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        said = _said(error)
        if os.environ.get(TRACEBACK) or said is None:
            raise
        print(f"error: {one_line(PRIVATE.sub(HIDDEN, said))}", file=sys.stderr)
        sys.exit(1 if _out_of_memory(error) else 2)


def _said(error: Exception) -> str | None:
    """What a user needs to know of an error; None of one that only its traceback explains."""
    if isinstance(error, ValueError):
        return str(error)
    if _out_of_memory(error):
        return f"{OUT_OF_MEMORY} ({error})" if str(error) else OUT_OF_MEMORY
    place = place_in_plugin(error)
    return place and f"{place}: {type(error).__name__}: {error} (with {TRACEBACK}=1 the whole traceback is shown)"


def _one_line_warning(message: Warning | str, category: type[Warning], *place: object) -> str:
    """A warning meant for users as one line, without its place in the code; other warnings as Python shows them."""
    return f"note: {one_line(str(message))}\n" if category is UserWarning else _USUAL(message, category, *place)


def _out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, which torch reports by a RuntimeError in one of several wordings."""
    wordings = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc")
    return isinstance(error, MemoryError) or any(words in str(error) for words in wordings)


def _run(config_type: type[Config], execute: Callable[[Config], object], prog: str, description: str) -> None:
    config = parse(config_type, sys.argv[1:], prog, description)
    check_bounds(config)  # before torch is imported; commands check again, because Python code may call their functions
    keep_freed_memory()
    load_plugins(config.plugin)
    if config.list_names:
        from harness.core.listing import print_names

        print_names()
    else:
        from harness.core.records import commit

        commit()  # asked now, because a user may commit other code while this runs
        execute(config)


def one_line(text: str) -> str:
    """A text that is safe to print: names and files may hold line ends, control bytes, or megabytes."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[:LONGEST])
    return shown + " ..." * (len(text) > LONGEST)
