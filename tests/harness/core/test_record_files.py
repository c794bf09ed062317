"""Where records are kept: behind a link that several folders share, and where the file system has no locks."""

import errno
import os
from dataclasses import dataclass

import pytest

from harness.core.records import Records


@dataclass(frozen=True)
class StepRow:
    cell: str
    value: float


def rows_of(cell):
    return [StepRow(cell, 0.5)]


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path / "out" / "scores.csv", StepRow)


def test_a_link_to_a_shared_file_stays_one(records, tmp_path):
    shared, link = tmp_path / "shared" / "table.csv", tmp_path / "own" / "table.csv"
    for folder in (shared.parent, link.parent):
        folder.mkdir()
    link.symlink_to(shared)
    Records(link, StepRow).append(rows_of("linked"))
    assert link.is_symlink()
    assert Records(shared, StepRow).finished() == {"linked"}
    with Records(link, StepRow).claim("next") as mine, Records(shared, StepRow).claim("next") as twice:
        assert (mine, twice) == (True, False)


def test_without_locks_nothing_is_written(records, monkeypatch):
    """Marks instead of locks would outlive a process that was killed on another machine."""
    monkeypatch.setattr("fcntl.flock", unsupported)
    with pytest.raises(ValueError, match=r"cannot write .*Function not implemented"):
        records.append(rows_of("a"))
    with pytest.raises(ValueError, match=r"cannot write .*Function not implemented"), records.claim("a"):
        pass


def unsupported(*arguments):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
