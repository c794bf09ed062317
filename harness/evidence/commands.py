"""Which command made a file: a `command.sh` beside it says so, or a section of a README above it.

A section is about a file if its heading names the file's folder, or the file, as seen from the README:

    ## tables/digits-quick: every method in one table

Its first shell block is the command.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SCRIPT, PAGE = "command.sh", "README.md"
LARGEST = 2**20  # characters of a page or a script
SECTION = re.compile(r"^## (.*?)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Making:
    """What is written down about a file.

    Attributes:
        command: the command that made it, as written there; empty if none is.
        about: what the file is about, in a few words; empty if nothing says so.
    """

    command: str = ""
    about: str = ""


def making_of(path: Path, root: Path) -> Making:
    """What is written down about a file, beside it or in the folders above it up to `root`."""
    beside = _text(path.parent / SCRIPT).strip()
    for folder in (path.parent, *path.parent.parents):
        found = _section(_text(folder / PAGE), path.relative_to(folder))
        if found.command or folder == root:
            return Making(beside or found.command, found.about)
    return Making(beside)


def _section(page: str, path: Path) -> Making:
    for heading, text in SECTION.findall(page):
        names, _, about = heading.partition(": ")
        shell = SHELL.search(text)
        if shell and any(_names(name, path) for name in re.split(r"[\s,]+", names)):
            return Making(shell[1].strip(), about)
    return Making()


def _names(name: str, path: Path) -> bool:
    return name in (path.name, path.as_posix(), *(parent.as_posix() for parent in path.parents if parent.name))


@cache
def _text(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        with path.open(errors="replace") as file:
            return file.read(LARGEST)
    except OSError:
        return ""
