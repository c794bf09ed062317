"""Rows: what a dataclass says of its file, and that every committed file is read as it was written."""

import subprocess
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest

from harness.core.records import Records, provenance
from harness.core.rows import MeasureRow, NetworkRow, RungRow, SubmissionRow, TrialRow, TurnRow
from harness.core.schema import NATURAL, Column, Fraction, FractionOrNan, Provenance, ScoreRow, columns, parse, values
from harness.evidence.sources import SUMMARIES

RESULTS = Path(__file__).resolve().parents[3] / "results"
# Summaries, winners and tables are reports: made anew by every command.
COMMITTED = sorted(path for path in RESULTS.rglob("*.csv") if path.name not in SUMMARIES)
ROW_TYPES = (ScoreRow, NetworkRow, TrialRow, TurnRow, RungRow, MeasureRow, SubmissionRow)


def row_type_of(path: Path) -> type:
    """The row type by which a command that writes such a file reads it."""
    named = {"search.csv": TrialRow, "speed.csv": TurnRow, "rungs.csv": RungRow, "submissions.csv": SubmissionRow}
    if path.is_relative_to(RESULTS / "analyses"):
        return MeasureRow
    return named.get(path.name) or (NetworkRow if path.is_relative_to(RESULTS / "nas") else ScoreRow)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: str(path.relative_to(RESULTS)))
def test_every_committed_file_is_read_and_would_be_written_the_same(path, tmp_path):
    committed = Records(path, row_type_of(path))
    rows = committed.rows()
    assert len(rows) == len(committed.read()) > 0
    again = Records(tmp_path / "again.csv", row_type_of(path))
    again.append(rows)
    assert again.path.read_bytes() == path.read_bytes()


def test_committed_files_are_of_every_kind():
    assert {row_type_of(path) for path in COMMITTED} == set(ROW_TYPES)


def test_a_row_in_a_row_stands_for_its_columns_in_place():
    names = [column.name for column in columns(ScoreRow)]
    assert names[-9:] == ["protocol", *(field.name for field in fields(Provenance)), "memory_checksum"]
    assert "origin" not in names


@pytest.mark.parametrize("row_type", ROW_TYPES)
def test_a_row_is_parsed_from_what_it_is_written_as(row_type):
    texts = {str: "0e1", int: "7", float: "0.1", bool: "True"}
    line = ["" if column.optional else texts[column.kind] for column in columns(row_type)]
    row = parse(row_type, line)
    assert [column.text(value) for column, value in zip(columns(row_type), values(row), strict=True)] == line
    assert type(row) is row_type


@pytest.mark.parametrize("row_type", ROW_TYPES)
def test_every_column_is_explained_in_the_order_of_the_file(row_type):
    said = row_type.__doc__.partition("Attributes:\n")[2]
    names = [
        line.strip().partition(":")[0] for line in said.splitlines() if line.startswith(" " * 8 + line.strip()[:1])
    ]
    assert [name for name in names if name] == [field.name for field in fields(row_type)]


def test_provenance_is_what_a_row_holds_beside_the_chunk():
    assert Provenance(chunk=16, **provenance("cpu", "fp32")).precision == "fp32"


def test_kinds_are_those_of_the_annotations():
    found = {column.name: column for column in columns(TurnRow)}
    assert found["commit"] == Column("commit", str, optional=False)
    assert found["units"] == Column("units", int, optional=False, within=NATURAL)
    assert found["ratio"] == Column("ratio", float, optional=True)
    assert {column.name: column for column in columns(ScoreRow)}["trained_on_real"].kind is bool


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (str, "0077", "0077"),
        (str, "", ""),
        (int, 7, "7"),
        (int, np.int64(7), "7"),
        (float, 0.1 + 0.2, "0.30000000000000004"),
        (float, np.float32(0.1), "0.10000000149011612"),
        (float, 1, "1.0"),
        (float, float("-inf"), "-inf"),
        (bool, True, "True"),
        (bool, np.False_, "False"),
    ],
)
def test_a_value_is_written_exactly_and_read_back(kind, value, text):
    column = Column("x", kind, optional=False)
    assert column.text(value) == text
    assert column.value(text) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((str, other) for other in (7, None, Path("x"))),
        *((int, other) for other in (7.0, True, "7", None)),
        *((float, other) for other in ("7", True, 1j, [1.0], None)),
        *((bool, other) for other in (1, "True", None)),
    ],
)
def test_a_value_of_another_kind_is_refused_before_it_is_written(kind, value):
    with pytest.raises(TypeError, match="column 'x' cannot hold"):
        Column("x", kind, optional=False).text(value)


@pytest.mark.parametrize(
    ("kind", "text"), [(int, "7.0"), (int, ""), (int, "nan"), (float, ""), (float, "0.1l4"), (bool, "1"), (bool, "")]
)
def test_a_field_of_another_kind_is_refused(kind, text):
    with pytest.raises(ValueError, match=r"its x is .*, which is no "):
        Column("x", kind, optional=False).value(text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((int, text) for text in ("07", "+7", " 7", "7_0", "\u0667")),
        *((float, text) for text in ("0.50", ".5", "5e-1", "1_0.0", "NaN", "inf ", "0.1000000000000000055", "1")),
        *((str, text) for text in ("=1+1", "'x", "\x00", "a\u2028b")),
    ],
)
def test_another_spelling_is_refused(kind, text):
    with pytest.raises(ValueError, match=r"which no command writes|cannot hold a line break"):
        Column("x", kind, optional=False).value(text)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "'x", "''", "a=b", "folder:=x", ""])
def test_a_text_is_no_formula_in_the_file_and_itself_when_read(text):
    column = Column("x", str, optional=False)
    assert not column.text(text).startswith(("=", "+", "-", "@"))
    assert column.value(column.text(text)) == text


@pytest.mark.parametrize("kind", [str, int, float, bool])
def test_an_empty_field_is_none_where_it_may_be(kind):
    column = Column("x", kind, optional=True)
    assert column.text(None) == ""
    assert column.value("") is None


@dataclass(frozen=True)
class BoundedRow:
    cell: str
    count: int
    share: Fraction
    accuracy: FractionOrNan


@pytest.mark.parametrize("line", ["a,0,0.0,nan", "a,9223372036854775807,1.0,1.0"])
def test_numbers_within_their_bounds_are_read(line):
    row = parse(BoundedRow, line.split(","))
    assert ",".join(column.text(value) for column, value in zip(columns(BoundedRow), values(row), strict=True)) == line


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a,-1,0.0,0.0", "its count is -1, which is not from 0 to 9223372036854775807"),
        ("a,9223372036854775808,0.0,0.0", "which is not from 0"),
        (f"a,{10**400},0.0,0.0", "which is not from 0"),
        ("a,0,-0.1,0.0", "its share is -0.1, which is not from 0 to 1"),
        ("a,0,nan,0.0", "its share is nan, which is not from 0 to 1"),
        ("a,0,0.0,1.5", "its accuracy is 1.5, which is not from 0 to 1, or nan"),
        ("a,0,0.0,inf", "its accuracy is inf"),
    ],
)
def test_numbers_out_of_their_bounds_are_neither_read_nor_written(line, words):
    with pytest.raises(ValueError, match=words):
        parse(BoundedRow, line.split(","))
    row = BoundedRow(*(kind(text) for kind, text in zip((str, int, float, float), line.split(","), strict=True)))
    with pytest.raises(ValueError, match=words):
        [column.text(value) for column, value in zip(columns(BoundedRow), values(row), strict=True)]


def test_a_line_break_is_refused():
    with pytest.raises(ValueError, match="line break"):
        Column("x", str, optional=False).text("one\ntwo")


@dataclass(frozen=True)
class ListRow:
    cell: str
    values: list[float]


@dataclass(frozen=True)
class EitherRow:
    cell: str
    value: int | float


@pytest.mark.parametrize("row_type", [ListRow, EitherRow])
def test_a_field_of_no_kind_is_refused(row_type):
    with pytest.raises(TypeError, match="is of no kind that a file holds"):
        columns(row_type)


@dataclass(frozen=True)
class SmallRow:
    cell: str
    count: int | None


def test_whole_numbers_stay_whole_where_none_is_missing(tmp_path):
    records = Records(tmp_path / "x.csv", SmallRow)
    records.append([SmallRow("a", 1), SmallRow("b", 2)])
    assert records.read()["count"].dtype == np.int64
    records.append([replace(records.rows({"a"})[0], cell="c", count=None)])
    assert records.read()["count"].tolist()[:2] == [1.0, 2.0]
    assert records.rows({"c"}) == [SmallRow("c", None)]


def test_schemas_are_light():
    code = "import sys, harness.core.schema; sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
