"""What tells one output folder from another, for what several of them keep in one database."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.records import Records
from harness.core.schema import ScoreRow

PRINTED = """
import sys
from pathlib import Path
from harness.core.records import Records
from harness.core.schema import ScoreRow
print(Records(Path(sys.argv[1]), ScoreRow).folder_id())
"""


def records_in(folder):
    return Records(folder / "scores.csv", ScoreRow)


def asked_for(folder):
    command = [sys.executable, "-c", PRINTED, str(folder / "scores.csv")]
    return subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True)


def test_processes_that_share_a_folder_under_any_path_have_one_id(tmp_path):
    folder, elsewhere = tmp_path / "out", tmp_path / "mounted"
    folder.mkdir()
    elsewhere.symlink_to(folder)
    started = [asked_for(each) for each in (folder, elsewhere, folder)]
    (own,) = {process.communicate(timeout=60)[0].strip() for process in started}
    assert own == records_in(folder).folder_id()


def test_another_folder_has_another_id(tmp_path):
    ids = [records_in(tmp_path / name).folder_id() for name in ("a", "b", "a")]
    assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize("kept", [b"", b"no id\n", b"\xff" * 16])
def test_what_is_no_id_is_made_anew(kept, tmp_path):
    first = records_in(tmp_path).folder_id()
    (tmp_path / ".locks" / "scores.csv.id").write_bytes(kept)
    again = records_in(tmp_path).folder_id()
    assert first != again == records_in(tmp_path).folder_id()
