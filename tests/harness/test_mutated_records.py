"""Five hundred mutated CSVs: every reader says ValueError in one line, or reads what is there and nothing else."""

import csv
import io
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from harness.condense import __main__ as condense
from harness.condense.flags import Condense
from harness.continual import report
from harness.core.records import Records
from harness.core.rows import MeasureRow, NetworkRow, RungRow, SubmissionRow, TrialRow, TurnRow
from harness.core.schema import ScoreRow, columns, values
from harness.evaluate import __main__ as evaluate
from harness.evaluate.flags import Evaluate

RESULTS = Path(__file__).resolve().parents[2] / "results"
STREAM = RESULTS / "continual" / "cifar100-5steps-quick" / "results.csv"
REAL = {
    ScoreRow: STREAM,
    NetworkRow: RESULTS / "nas" / "digits" / "results.csv",
    TrialRow: RESULTS / "nas" / "digits-search" / "search.csv",
    RungRow: RESULTS / "ablations" / "digits-search" / "rungs.csv",
    MeasureRow: RESULTS / "analyses" / "digits-quick" / "results.csv",
    SubmissionRow: RESULTS / "leaderboard" / "submissions.csv",
    TurnRow: RESULTS / "speed" / "cpu" / "speed.csv",
}
HOSTILE = ("", "nan", "-nan", "inf", "-7", "-0.0", "1e999", "7.0", " 7", "7_0", "0x7", "9" * 30, "9" * 5000)
HOSTILE += ("True", "true", "\0", "=1+1", "'", '"', '"",', "\n", "\r", "\u0663", "\u2028", "x" * 100_000, "\x1b[2J")


def mutated(content: bytes, generator: random.Random) -> bytes:
    """One to three random changes: of a byte, of a field, or of a line."""
    for _ in range(generator.choice((1, 1, 1, 3))):
        content = generator.choice((_byte, _field, _field, _line))(content, generator)
    return content


def _byte(content: bytes, generator: random.Random) -> bytes:
    at, new = generator.randrange(len(content)), bytes([generator.randrange(256)])
    return generator.choice((content[:at] + new + content[at + 1 :], content[:at] + new + content[at:], content[:at]))


def _field(content: bytes, generator: random.Random) -> bytes:
    lines = content.split(b"\n")
    number = generator.randrange(len(lines) - 1)
    fields = lines[number].split(b",")
    fields[generator.randrange(len(fields))] = generator.choice(HOSTILE).encode()
    lines[number] = b",".join(fields)
    return b"\n".join(lines)


def _line(content: bytes, generator: random.Random) -> bytes:
    lines = content.split(b"\n")
    one, other = generator.randrange(len(lines)), generator.randrange(len(lines))
    lines[one] = generator.choice((lines[other], lines[one] + lines[other], lines[one] + b",", b""))
    return b"\n".join(lines)


def message(error: ValueError) -> str:
    """What is said, which must name the file and be one line."""
    text = str(error)
    assert "results.csv" in text
    assert len(text.splitlines()) == 1
    return text


@pytest.mark.parametrize("row_type", REAL)
def test_a_mutated_file_is_refused_or_read_as_it_stands(row_type, tmp_path):
    whole = b"".join(REAL[row_type].read_bytes().splitlines(keepends=True)[:40])
    path, generator, outcomes = tmp_path / "results.csv", random.Random(row_type.__name__), Counter()
    for _ in range(100):
        path.write_bytes(mutated(whole, generator))
        records = Records(path, row_type)
        try:
            rows = records.rows()
            assert len(records.read()) == len(rows)
        except ValueError as error:
            outcomes[bool(message(error))] += 1
            continue
        outcomes["read"] += 1
        # What is read is what stands there by an independent reading, field for field, and could be written.
        found = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))[1:]
        written = [
            [column.text(value) for column, value in zip(columns(row_type), values(row), strict=True)] for row in rows
        ]
        assert written == found
        kinds = [column.kind for column in columns(row_type)]
        assert all(
            not field or field.isdigit()
            for line in found
            for field, kind in zip(line, kinds, strict=True)
            if kind is int
        )
    assert outcomes[True] > 60
    assert outcomes["read"] < 40


CHANGES = {
    "cell": "00ff00ff00ff00ff",
    "dataset": "cifar10",
    "dataset_checksum": "00ff00ff00ff00ff",
    "condenser": "dn",
    "config": "00ff00ff00ff00ff",
    "ipc_stored": 11,
    "ipc_decoded": 11,
    "trained_on_real": True,
    "class_order": 9,
    "memory_replicate": 9,
    "network_replicate": 9,
    "step": 4,
    "classes_seen": 10,
    "metric": "accurbcy",
    "value": 1.25,
    "seconds": 0.5,
    "protocol": "paper",
    "memory_checksum": "00ff00ff00ff00ff",
}


def broken(rows: list[ScoreRow], generator: random.Random) -> list[ScoreRow]:
    """One row lost, there twice, or with one field changed to what another row or no row may hold."""
    at, kind = generator.randrange(len(rows)), generator.randrange(20)
    if kind == 0:
        return rows[:at] + rows[at + 1 :]
    if kind == 1:
        return [*rows, rows[at]]
    name = generator.choice([name for name in CHANGES if getattr(rows[at], name) != CHANGES[name]])
    value = generator.choice((-0.5, 1.25, float("nan"), 7.0)) if name == "value" else CHANGES[name]
    return [*rows[:at], replace(rows[at], **{name: value}), *rows[at + 1 :]]


def write(path: Path, rows: list[ScoreRow]) -> None:
    """The rows as they are, also where `Records` would take them for a cell that it has."""
    lines = [[column.text(value) for column, value in zip(columns(ScoreRow), values(row), strict=True)] for row in rows]
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([[column.name for column in columns(ScoreRow)], *lines])


def test_a_stream_with_one_broken_row_is_never_averaged(tmp_path):
    path, generator = tmp_path / "results.csv", random.Random("stream")
    rows = Records(STREAM, ScoreRow).rows()
    order = [row for row in rows if row.class_order == 0]  # whole cells, of every step
    forgetting = {row.cell for row in order if row.metric == "forgetting"}
    report.check(Records(STREAM, ScoreRow).read(), 1, STREAM)
    for _ in range(70):
        write(path, broken(order, generator))
        with pytest.raises(ValueError, match="is damaged") as caught:
            report.check(Records(path, ScoreRow).read(), 1, path)
        message(caught.value)
    assert len(forgetting) > 1


def test_scores_of_a_memory_with_one_broken_row_are_never_averaged(tmp_path):
    condense.main(Condense(condensers=("random",), ipc=1, out=tmp_path))
    (memory,) = tmp_path.glob("*.safetensors")
    config = Evaluate(memories=(memory,), dataset="digits", networks=3, epochs=1, out=tmp_path, network="ConvNet-W4-D1")
    evaluate.main(config)
    path, generator = tmp_path / "results.csv", random.Random("evaluate")
    rows = Records(path, ScoreRow).rows()
    for _ in range(30):
        write(path, broken(rows, generator))
        with pytest.raises(ValueError, match="is damaged") as caught:
            evaluate.main(config)
        message(caught.value)
    write(path, rows)
    evaluate.main(config)
