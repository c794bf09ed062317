"""Writing files so that a kill at any moment leaves the old file or the new one, never half of either.

Files are read only if they are regular and not too large: a pipe may never be written to, /dev/zero never ends.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from uuid import uuid4

MOST_BYTES = 255  # of a file's name, on nearly every file system
_BESIDE = 38  # bytes that the temporary name adds while a file is being written
LONGEST_NAME = MOST_BYTES - _BESIDE


def atomic_write(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`; its folder is made if it is missing.

    Raises:
        ValueError: the file or its folder cannot be written; one line.
    """
    # A random name, because a process on another machine or in another container may have the same number.
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
    """Refuse a file, before it is opened, that reading would wait for or that would fill the memory.

    Args:
        path: what to check; it must exist.
        most: bytes that the file may have.

    Raises:
        OSError: it is no regular file, or it is larger.
    """
    if not path.is_file():
        raise OSError(f"it is a {'folder' if path.is_dir() else 'pipe or a device'}, not a file")
    if (size := path.stat().st_size) > most:
        raise OSError(f"it has {size:,} bytes, and at most {most:,} are read")


@contextmanager
def one_line_errors(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError into a ValueError whose message is one line."""
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error} ({error.filename})" if error.filename else str(error)
        advice = "choose another --out" if action.startswith("write") else "give another file, or another --out"
        raise ValueError(f"cannot {action} {path}: {reason}; {advice}") from error
