"""Writing files so that a kill at any moment leaves the old file or the new one, never half of either.

And reading only what has an end and a bound: a pipe may never be written to, /dev/zero never ends.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from uuid import uuid4

MOST_BYTES = 255  # of a file's name, on nearly every file system
_BESIDE = 38  # bytes that the name of a file has more while it is being written
LONGEST_NAME = MOST_BYTES - _BESIDE


def atomic_write(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`; its folder is made if need be.

    Raises:
        ValueError: the file or its folder cannot be written; one line.
    """
    # Not by the number of the process: on another machine, or in another container, there may be the same.
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    with one_line_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Make the folder and write a test file, so that hours of work do not end with a folder that cannot be written.

    Raises:
        ValueError: it cannot be written; one line.
    """
    with one_line_errors("write to", folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass


def require_file(path: Path, most: int) -> None:
    """Refuse what would be waited for, or would fill the memory, before it is opened.

    Args:
        path: of what is there, whatever it is.
        most: bytes that it may have.

    Raises:
        OSError: it is no regular file, or it is larger.
    """
    if not path.is_file():
        raise OSError(f"it is a {'folder' if path.is_dir() else 'pipe or a device'}, not a file")
    if (size := path.stat().st_size) > most:
        raise OSError(f"it has {size:,} bytes, and at most {most:,} are read")


@contextmanager
def one_line_errors(action: str, path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a ValueError of one line."""
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename})" if error.filename else str(error)
        advice = "choose another --out" if action.startswith("write") else "give another file, or another --out"
        raise ValueError(f"cannot {action} {path}: {reason}; {advice}") from error
