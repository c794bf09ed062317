import random
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.core.records import Records, atomic_write, csv_of

ROOT = Path(__file__).resolve().parents[3]
COLUMNS = ["cell", "step", "value"]
ROWS = 50


@dataclass(frozen=True)
class StepRow:
    cell: str
    step: int | None
    value: float


SCRIPT = """
import sys, time
from dataclasses import dataclass
from pathlib import Path
from harness.core.records import Records

@dataclass(frozen=True)
class StepRow:
    cell: str
    step: int | None
    value: float
"""

APPENDER = f"""{SCRIPT}
path, name, cells = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(cells):
    rows = [StepRow(f"{{name}}-{{number}}", k, number / 7 + k) for k in range({ROWS})]
    Records(path, StepRow).append(rows)
"""

CLAIMER = f"""{SCRIPT}
with Records(Path(sys.argv[1]), StepRow).claim(sys.argv[2]) as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def start(script, *arguments):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def rows_of(cell, count=2):
    return [StepRow(cell, k, k / 3) for k in range(count)]


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path / "out" / "scores.csv", StepRow)


def assert_cells_are_whole(frame):
    for cell, rows in frame.groupby("cell"):
        number = int(cell.split("-")[1])
        assert rows["step"].tolist() == list(range(ROWS))
        assert rows["value"].tolist() == [number / 7 + k for k in range(ROWS)]


def test_what_is_appended_is_read_back(records):
    records.append([StepRow("12e4", 1, 0.1 + 0.2)])
    records.append([StepRow("0077", np.int64(2), np.float32(0.1))])
    records.append([StepRow("c", None, torch.tensor(1e-300, dtype=torch.float64))])
    frame = records.read()
    assert frame.columns.tolist() == COLUMNS
    assert frame["cell"].tolist() == ["12e4", "0077", "c"]
    assert frame["value"].tolist() == [0.1 + 0.2, float(np.float32(0.1)), 1e-300]
    assert frame["step"].tolist()[:2] == [1, 2]
    assert np.isnan(frame["step"][2])
    assert records.finished() == {"12e4", "0077", "c"}
    assert records.rows() == [
        StepRow("12e4", 1, 0.1 + 0.2),
        StepRow("0077", 2, float(np.float32(0.1))),
        *records.rows("c"),
    ]
    assert records.rows({"c"}) == [StepRow("c", None, 1e-300)]
    assert records.rows({"d"}) == []


@dataclass(frozen=True)
class KindsRow:
    cell: str
    commit: str
    trained_on_real: bool
    step: int
    value: float
    config: str
    status: str


def test_columns_keep_their_kinds(tmp_path):
    records = Records(tmp_path / "x.csv", KindsRow)
    config = '{"a": [1, "x, y"]}'
    given = KindsRow("a", "1234567", False, 3, float("nan"), config, "none")
    records.append([given, replace(given, value=float("-inf"))])
    frame = records.read()
    assert frame["commit"].tolist() == ["1234567"] * 2
    assert frame["trained_on_real"].dtype == bool
    assert frame["step"].dtype == np.int64
    assert np.isnan(frame["value"][0])
    assert frame["value"][1] == -np.inf
    assert frame["config"][0] == config
    assert frame["status"][0] == "none"


def test_a_number_that_is_none_is_damage(records):
    records.append([StepRow(f"cell{number}", number, number / 7) for number in range(3)])
    text = records.path.read_text()
    records.path.write_text(text.replace(repr(1 / 7), "0.1l4"))
    for attempt in (records.read, records.rows):
        with pytest.raises(ValueError, match=r"at line 3: its value is '0\.1l4', which is no number"):
            attempt()
    records.path.write_text(text.replace("cell2,2", "cell2,2.5"))
    with pytest.raises(ValueError, match=r"at line 4: its step is '2\.5', which is no whole number"):
        records.read()
    assert records.finished() == {"cell0", "cell1", "cell2"}


def test_what_others_do_to_the_file_is_seen_at_once(records):
    records.append(rows_of("a"))
    other = Records(records.path, StepRow)
    assert other.finished() == {"a"}
    records.append(rows_of("b"))
    assert other.finished() == {"a", "b"}
    assert len(other.read()) == len(records.read()) == 2 * len(rows_of("a"))
    text = records.path.read_text()
    records.path.write_text(text.replace("b,", "c,"))
    assert other.finished() == {"a", "c"}
    records.path.unlink()
    assert other.finished() == set()
    assert other.read().columns.tolist() == COLUMNS
    records.path.write_text("")
    assert other.finished() == set()


def test_a_frame_that_was_read_is_its_readers(records):
    records.append(rows_of("a"))
    own = records.read()
    own["value"] = 9.0
    assert 9.0 not in records.read()["value"].tolist()


def test_no_file_means_no_rows(records):
    assert records.finished() == set()
    assert records.read().columns.tolist() == COLUMNS
    assert not records.path.parent.exists()


def test_a_finished_cell_is_not_written_twice(records):
    records.append(rows_of("a"))
    before = records.path.read_bytes()
    records.append([replace(row, value=9.0) for row in rows_of("a")])
    assert records.path.read_bytes() == before
    records.append(rows_of("a") + rows_of("b"))
    assert records.read()["cell"].tolist() == ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        (StepRow("one\ntwo", 1, 1.0), ValueError, "line break"),
        (StepRow("a", 1, "one"), TypeError, "column 'value' cannot hold 'one', which is no number"),
        ({"cell": "a", "step": 1, "value": 1.0}, TypeError, "are of type StepRow, not {"),
    ],
)
def test_a_bad_row_is_refused_with_all_its_cell(records, row, error, message):
    with pytest.raises(error, match=message):
        records.append([*rows_of("a"), row])
    assert records.finished() == set()


@dataclass(frozen=True)
class NoCellRow:
    step: int
    value: float


@dataclass(frozen=True)
class TwiceRow:
    value: float
    own: StepRow


@pytest.mark.parametrize("row_type", [NoCellRow, TwiceRow])
def test_a_schema_has_a_cell_and_distinct_columns(tmp_path, row_type):
    with pytest.raises(ValueError, match="must be distinct and hold 'cell'"):
        Records(tmp_path / "x.csv", row_type)


@dataclass(frozen=True)
class AccuracyRow:
    cell: str
    step: int | None
    accuracy: float


@dataclass(frozen=True)
class ReorderedRow:
    cell: str
    value: float
    step: int | None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (AccuracyRow("a", 1, 1.0), "lacks the columns accuracy and has the unexpected columns value"),
        (ReorderedRow("a", 1.0, 1), "in another order"),
    ],
)
def test_a_file_of_another_schema_is_refused(records, row, message):
    records.append(rows_of("a"))
    before = records.path.read_bytes()
    other = Records(records.path, type(row))
    for attempt in (other.read, other.rows, other.finished, lambda: other.append([row])):
        with pytest.raises(ValueError, match=rf"scores\.csv has another schema: .*{message}; move it away"):
            attempt()
    assert records.path.read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content + b"b,1\n", "line 4: it has 2 fields, not 3"),
        (lambda content: content.replace(b"a,1", b"a,1,1"), "line 3: it has 4 fields, not 3"),
        (lambda content: content + b"\n", "line 4: it has 0 fields"),
        (lambda content: content[:-4], "line 3: it has no line end"),
        (lambda content: content[:-20], "line 3: it has 2 fields"),
        (lambda content: content + b'"b,1,2\n', "line 4: unexpected end of data"),
        (lambda content: content.replace(b"a,0", b'a,"0'), "line 2: unexpected end of data"),
        (lambda content: content.replace(b"a,0", b"a\xff,0"), "line 2: it holds bytes that are no text"),
        (lambda content: content + b"b\0,1,2\n", "line 4: it holds bytes that are no text"),
    ],
)
def test_a_damaged_file_is_refused_and_its_line_named(records, damage, message):
    records.append(rows_of("a"))
    damaged = damage(records.path.read_bytes())
    records.path.write_bytes(damaged)
    for attempt in (records.read, records.finished, lambda: records.append(rows_of("c"))):
        with pytest.raises(ValueError, match=f"is damaged at {message}") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    assert records.path.read_bytes() == damaged


@pytest.mark.parametrize("path", ["file/scores.csv", "file/deeper/scores.csv", "/proc/nowhere/scores.csv", "folder"])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    records = Records(tmp_path / path, StepRow)
    with pytest.raises(ValueError, match=r"cannot (write .*; choose|read .*; give another file, or) another --out$"):
        records.append(rows_of("a"))
    with pytest.raises(ValueError, match=r"another --out$"), records.claim("a"):
        pass


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.bin"
    atomic_write(path, b"old")
    with pytest.raises(TypeError):
        atomic_write(path, "text is not bytes")
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["x.bin"]


def test_processes_that_append_at_once_lose_nothing(records):
    processes = [start(APPENDER, records.path, name, 12) for name in "abcd"]
    shared = start(APPENDER, records.path, "a", 12)
    assert [process.wait(60) for process in [*processes, shared]] == [0] * 5
    frame = records.read()
    assert_cells_are_whole(frame)
    assert records.finished() == {f"{name}-{number}" for name in "abcd" for number in range(12)}
    assert len(frame) == 4 * 12 * ROWS


def test_a_process_killed_while_it_appends_leaves_whole_cells(records):
    draw = random.Random(0)
    for kill in range(8):
        process = start(APPENDER, records.path, f"kill{kill}", 100_000)
        while f"kill{kill}-0" not in records.finished():
            assert process.poll() is None
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.1))
        process.kill()
        process.wait(60)
        assert_cells_are_whole(records.read())
    records.append(rows_of("after-0", ROWS))
    assert sorted(each.name for each in records.path.parent.iterdir()) == [".locks", "scores.csv"]


def test_what_a_killed_write_left_behind_is_swept(records):
    records.append(rows_of("a"))
    leftover = records.path.with_name(".scores.csv.123456.tmp")
    leftover.write_text("half a row")
    records.append(rows_of("b"))
    assert not leftover.exists()


def test_a_claim_is_exclusive_and_ends_with_its_process(records):
    process = start(CLAIMER, records.path, "a")
    try:
        assert process.stdout.readline() == "True\n"
        with records.claim("a") as mine, records.claim("b") as other:
            assert not mine
            assert other
    finally:
        process.kill()
        process.wait(60)
    with records.claim("a") as mine:
        assert mine


def test_claims_of_killed_processes_are_swept_and_those_of_live_ones_are_not(records):
    claimers = [start(CLAIMER, records.path, cell) for cell in ("dead", "alive")]
    assert [process.stdout.readline().strip() for process in claimers] == ["True", "True"]
    claimers[0].kill()
    claimers[0].communicate()
    records.sweep()
    assert [path.name for path in (records.path.parent / ".locks").glob("*.cell.*")] == [
        f"{records.path.name}.cell.alive.lock"
    ]
    with records.claim("alive") as mine:
        assert not mine
    claimers[1].kill()
    claimers[1].communicate()


def test_a_claim_is_exclusive_within_a_process(records):
    with records.claim("a") as first, records.claim("a") as second:
        assert first
        assert not second
    with records.claim("a") as again:
        assert again


def test_a_cell_that_failed_can_be_claimed_again(records):
    with pytest.raises(RuntimeError, match="diverged"), records.claim("a"):
        raise RuntimeError("diverged")
    with records.claim("a") as mine:
        assert mine


def test_a_finished_cell_is_nobodys_and_leaves_no_lock(records):
    with records.claim("odd/name") as mine:
        assert mine
        records.append(rows_of("odd/name"))
    with records.claim("odd/name") as mine:
        assert not mine
    assert [each.name for each in (records.path.parent / ".locks").iterdir()] == ["scores.csv.append.lock"]


def test_files_of_one_folder_do_not_share_claims(records):
    other = Records(records.path.with_name("other.csv"), StepRow)
    with records.claim("a") as mine, other.claim("a") as theirs:
        assert mine
        assert theirs


@dataclass(frozen=True)
class NamedRow:
    cell: str
    name: str


def test_a_frame_has_the_texts_themselves_and_no_summary_holds_a_formula(tmp_path):
    records = Records(tmp_path / "x.csv", NamedRow)
    records.append([NamedRow("a", "=1+1"), NamedRow("b", "'b")])
    assert records.read()["name"].tolist() == ["=1+1", "'b"]
    assert csv_of(records.read().assign(n=1)) == b"cell,name,n\na,'=1+1,1\nb,''b,1\n"
    records.path.write_bytes(records.path.read_bytes().replace(b"'=1", b"=1"))
    with pytest.raises(ValueError, match="line 2: its name is '=1"):
        records.read()
