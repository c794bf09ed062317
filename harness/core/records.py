"""Records are the truth: one CSV per experiment, whose rows are all of one dataclass.

A cell is the unit of work: its rows appear together or not at all, so a run can be killed at any moment and
started again, and several processes can share one folder.
"""

import csv
import glob
import importlib.metadata
import io
import math
import os
import platform
import re
import secrets
import subprocess
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Generic
from urllib.parse import quote

from filelock import FileLock, Timeout

from condensers.device.files import atomic_write, one_line_errors, require_file
from harness.core.paths import ROOT
from harness.core.schema import AnyRow, Column, Provenance, columns, escaped, parse, values

if TYPE_CHECKING:
    import pandas as pd

PAUSE = 1.0  # seconds between two looks at what other processes do
LARGEST = 2**30  # bytes of a file that is read; that is over a million rows
ROOMS = ("condensers", "harness", "scenarios", "search_spaces")
NO_TEXT = "it holds bytes that are no text"
PACKAGES = ("torch", "torchvision", "avalanche-lib", "optuna", "numpy", "numba")


class Records(Generic[AnyRow]):
    """The CSV of one experiment.

    Args:
        path: the file; it and its folder are made when the first cell is claimed or appended.
        row_type: the dataclass of the rows; its fields are the columns, with their order and kinds. One is `cell`.

    Raises:
        ValueError: columns without `cell`, or two of one name.
    """

    def __init__(self, path: Path, row_type: type[AnyRow]) -> None:
        self.path = Path(path)
        # A link to a table that several folders share stays one, and they share its locks.
        self._file = self.path.resolve() if self.path.is_symlink() else self.path
        self.row_type = row_type
        self.columns = tuple(column.name for column in columns(row_type))
        if "cell" not in self.columns or len(set(self.columns)) < len(self.columns):
            raise ValueError(f"columns must be distinct and hold 'cell', not {', '.join(self.columns)}")
        self._stamp: tuple[int, ...] | None = None
        self._lines: list[list[str]] = []
        self._frame: pd.DataFrame | None = None

    def append(self, rows: Sequence[AnyRow]) -> None:
        """Add every row of a finished cell at once; a cell that is in the file already is left as it is.

        Args:
            rows: all rows of one or more cells.

        Raises:
            TypeError: a row of another type, or a value that is not of its column's kind.
            ValueError: text with a line break, the file is damaged or has another schema, or the folder cannot be
                written.
        """
        lines = [self._fields(row) for row in rows]
        with self.lock("append"):
            self._extend(lines)

    def read(self) -> "pd.DataFrame":
        """Every row, with the schema's columns; no rows if there is no file yet.

        Raises:
            ValueError: the file is damaged (naming the line) or has another schema.
        """
        import pandas as pd

        lines = self._current()
        if self._frame is None:
            texts = zip(*lines, strict=True) if lines else [()] * len(self.columns)
            by_column = zip(columns(self.row_type), texts, strict=True)
            self._frame = pd.DataFrame({column.name: self._series(column, fields) for column, fields in by_column})
        return self._frame.copy()

    def rows(self, cells: Collection[str] | None = None) -> list[AnyRow]:
        """Every row, or those of some cells, in the order of the file.

        Raises:
            ValueError: as `read`.
        """
        cell, lines = self.columns.index("cell"), enumerate(self._current(), start=2)
        return [self._row(number, line) for number, line in lines if cells is None or line[cell] in cells]

    def finished(self) -> set[str]:
        """The cells in the file.

        Raises:
            ValueError: as `read`.
        """
        cell = self.columns.index("cell")
        return {line[cell] for line in self._current()}

    @contextmanager
    def claim(self, cell: str) -> Iterator[bool]:
        """Work on a cell alone: `with records.claim(cell) as mine: if mine: ...`.

        The operating system drops the claim when the process dies, however it dies.

        Yields:
            True if the cell is this process's to run; False if another live process works on it, or if it was
            finished in the meantime.

        Raises:
            ValueError: as `read`, or the folder cannot be written.
        """
        lock = self._acquire(f"cell.{quote(cell, safe='')}", timeout=0)
        if lock is None:
            yield False
            return
        try:
            yield cell not in self.finished()
        finally:
            _drop(lock)

    def sweep(self) -> None:
        """Delete the claims that killed processes left, so that they do not pile up."""
        for path in (self._file.parent / ".locks").glob(f"{glob.escape(self._file.name)}.cell.*.lock"):
            lock = _lock(path)
            with suppress(Timeout, OSError):
                lock.acquire(timeout=0)
                _drop(lock)

    def folder_id(self) -> str:
        """An identifier of the output folder, kept beside its locks: the same under whatever path it is mounted.

        The first process to ask makes the identifier, and all that share the folder get the same one.

        Raises:
            ValueError: the folder cannot be written.
        """
        path = self.path.parent / ".locks" / f"{self.path.name}.id"
        with self.lock("folder"), one_line_errors("write", path):
            known = path.read_bytes() if path.exists() else b""
            if not re.fullmatch(rb"[0-9a-f]{16}", known):
                known = secrets.token_hex(8).encode()
                atomic_write(path, known)
            return known.decode()

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold a lock, after waiting for it: of all processes that share the folder, only one holds it at a time.

        Raises:
            ValueError: the folder cannot be written.
        """
        lock = self._acquire(name)
        try:
            yield
        finally:
            lock.release()

    def _acquire(self, name: str, timeout: float = -1) -> FileLock | None:
        folder = self._file.parent / ".locks"
        with one_line_errors("write", self.path):
            folder.mkdir(parents=True, exist_ok=True)
            lock = _lock(folder / f"{self._file.name}.{name}.lock")
            with suppress(Timeout):
                lock.acquire(timeout=timeout)
                return lock
        return None

    def _extend(self, lines: list[list[str]]) -> None:
        finished, cell = self.finished(), self.columns.index("cell")
        new = [line for line in lines if line[cell] not in finished]
        if new:
            self._sweep()
            atomic_write(self._file, (self._content() or _encode([self.columns])) + _encode(new))

    def _sweep(self) -> None:
        # Under the lock nobody else is writing, so any temporary file is from a process that was killed.
        for leftover in self._file.parent.glob(f".{glob.escape(self._file.name)}.*.tmp"):
            leftover.unlink(missing_ok=True)

    def _fields(self, row: AnyRow) -> list[str]:
        if type(row) is not self.row_type:
            raise TypeError(f"the rows of {self.path} are of type {self.row_type.__name__}, not {row!r}")
        return [column.text(value) for column, value in zip(columns(self.row_type), values(row), strict=True)]

    def _current(self) -> list[list[str]]:
        """The lines of the file, parsed again only if the file has changed since the last time."""
        with one_line_errors("read", self.path):
            stamp, content = _unless(self._stamp, self.path)
        if stamp != self._stamp:
            self._lines, self._frame = self._parse(content), None
            self._stamp = stamp
        return self._lines

    def _content(self) -> bytes:
        with one_line_errors("read", self.path):
            return _unless(None, self.path)[1]

    def _parse(self, content: bytes) -> list[list[str]]:
        if not content:
            return []
        lines = self._numbered_lines(content)
        _, header = next(lines)
        advice = "move it away or choose another --out"
        _check_columns(f"{self.path} has another schema: it", self.columns, header, advice)
        if tuple(header) != self.columns:
            raise ValueError(f"{self.path} has another schema: its columns are in another order; {advice}")
        return list(self._whole(lines))

    def _numbered_lines(self, content: bytes) -> Iterator[tuple[int, list[str]]]:
        # Each line is parsed alone (no row has a line break). Otherwise a stray quote would swallow the lines after it,
        # and the error would name the wrong line.
        lines = content.removesuffix(b"\n").split(b"\n")
        for number, line in enumerate(lines, 1):
            try:
                text = line.decode()
                fields = next(csv.reader([text], strict=True), [])
            except UnicodeDecodeError as error:
                raise self._damage(number, NO_TEXT) from error
            except csv.Error as error:
                raise self._damage(number, str(error)) from error
            if "\0" in text:
                raise self._damage(number, NO_TEXT)
            yield number, fields
        if not content.endswith(b"\n"):
            raise self._damage(len(lines), "it has no line end, so it may be cut off")

    def _whole(self, lines: Iterable[tuple[int, list[str]]]) -> Iterator[list[str]]:
        for number, fields in lines:
            if len(fields) != len(self.columns):
                of = f" (cell {fields[0]})" if self.columns[0] == "cell" and fields else ""
                raise self._damage(number, f"it has {len(fields)} fields, not {len(self.columns)}{of}")
            yield fields

    def _series(self, column: Column, texts: Sequence[str]) -> list[object]:
        # As pandas has it: a missing number is nan, and whole numbers beside it become floats.
        missing = "" if column.kind is str else math.nan
        return [missing if value is None else value for value in self._values(column, texts)]

    def _values(self, column: Column, texts: Iterable[str]) -> Iterator[object]:
        """The values of a column, line by line."""
        for number, text in enumerate(texts, start=2):
            try:
                yield column.value(text)
            except ValueError as error:
                raise self._damage(number, str(error)) from error

    def _row(self, number: int, line: Sequence[str]) -> AnyRow:
        try:
            return parse(self.row_type, line)
        except ValueError as error:
            raise self._damage(number, str(error)) from error

    def _damage(self, line: int, what: str) -> ValueError:
        return ValueError(f"{self.path} is damaged at line {line}: {what}; delete the rows of its cell to run it again")


def _drop(lock: FileLock) -> None:
    # Deleted while the lock is held: a process that had opened the file sees that it is gone, and makes a new one.
    with suppress(OSError):
        Path(lock.lock_file).unlink()
    lock.release()


def _unless(known: tuple[int, ...] | None, path: Path) -> tuple[tuple[int, ...] | None, bytes]:
    """A stamp of the file's version (None if there is no file), and the content, left out if the stamp is `known`."""
    if not path.exists():
        return None, b""
    require_file(path, LARGEST)
    # Opened before its state is read: only opening makes a network file system ask for a newer version.
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        stamp = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        return stamp, b"" if stamp == known else file.read()


def _check_columns(what: str, wanted: Sequence[str], given: Sequence[str], advice: str) -> None:
    faults = {
        "lacks the columns": [name for name in wanted if name not in given],
        "has the unexpected columns": [name for name in given if name not in wanted],
    }
    said = [f"{fault} {', '.join(map(str, names))}" for fault, names in faults.items() if names]
    if said:
        raise ValueError(f"{what} {' and '.join(said)}; {advice}")


def _encode(lines: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()


def csv_of(frame: "pd.DataFrame") -> bytes:
    """A summary as a CSV, with an apostrophe in front of texts that a spreadsheet would take for formulas."""
    safe = frame.map(lambda value: escaped(value) if isinstance(value, str) else value)
    return safe.to_csv(index=False, lineterminator="\n").encode()


def write_csv(path: Path, frame: "pd.DataFrame") -> None:
    """Write a summary as a CSV. Raises ValueError if it cannot be written."""
    atomic_write(path, csv_of(frame))


def provenance(device: str, precision: str) -> dict[str, object]:
    """Where a row or a memory comes from: what `Provenance` holds beside the chunk.

    Args:
        device: what the cell ran on, e.g. `cpu` or `cuda NVIDIA H200`; starts with the kind.
        precision: arithmetic of the networks, e.g. `fp32`.

    Returns:
        commit (of this code; `-dirty` if one of its packages has uncommitted changes), versions, threads
        (number of CPU threads of torch), backend (the library behind convolutions), device, precision.
    """
    import torch

    return {
        "commit": commit(),
        "versions": _versions(),
        "threads": torch.get_num_threads(),
        "device": device,
        "precision": precision,
        "backend": _backend(device),
    }


def origin_of(device: str, precision: str, chunk: int) -> Provenance:
    """Where the rows of a cell come from: `provenance`, and how many images went through a network at once."""
    return Provenance(chunk=chunk, **provenance(device, precision))


@cache
def commit() -> str:
    """The commit of this code when first asked, `-dirty` if it has changes; without git the package's version."""
    # Only the code's folders: a run that appends to committed results does not change the code.
    try:
        described = _git("describe", "--always") if (ROOT / ".git").exists() else ""
        changed = described and _git("status", "--porcelain", "--", *ROOMS)
    except (OSError, subprocess.CalledProcessError):
        described = changed = ""
    return f"{described}-dirty" if changed else described or _version("condensed-memories") or "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@cache
def _versions() -> str:
    found = {name: _version(name) or "absent" for name in PACKAGES}
    return " ".join(["python", platform.python_version(), *(f"{name} {at}" for name, at in found.items())])


def _version(package: str) -> str | None:
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def _lock(path: Path) -> FileLock:
    # Where the file system has no locks, filelock would leave marks that outlive a process killed on another machine.
    return FileLock(path, fallback_to_soft=False)


def _backend(device: str) -> str:
    from torch import backends

    if device.startswith("cpu"):
        return "mkldnn" if backends.mkldnn.is_available() else "native"
    return f"cudnn {backends.cudnn.version()}"
