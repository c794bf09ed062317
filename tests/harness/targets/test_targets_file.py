"""targets.csv: read from rows that are whole, held to what is committed, and on the page of a report."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from harness.core.command import command
from harness.evidence.published import VERDICTS, lines
from harness.evidence.sources import read_folders
from harness.report.content import cell, records
from harness.report.targets import section
from harness.targets.__main__ import __doc__ as said_of_it
from harness.targets.__main__ import main
from harness.targets.comparing import one_line_of
from harness.targets.flags import Targets

from .measurements import NARROW, WIDE, stream, table, targets

ROOT = Path(__file__).parents[3]


def damage(folder: Path, how: str) -> None:
    results, table = folder / "results.csv", folder / "table.csv"
    if how == "cut":
        results.write_bytes(results.read_bytes()[:-30])
    elif how == "no rows":
        results.unlink()
    elif how == "a row less":
        results.write_text("".join(results.read_text().splitlines(keepends=True)[:-1]))
    elif how == "another value":
        results.write_text(results.read_text().replace("0.489,", "0.789,"))
    elif how == "another network":
        text = results.read_text().splitlines(keepends=True)
        results.write_text("".join([*text[:-1], text[-2]]))
    elif how == "no count":
        frame = pd.read_csv(table)
        frame.assign(memories=float("nan")).to_csv(table, index=False)
    elif how == "columns":
        table.write_text("dataset,condenser\ncifar10,dm\n")
    else:
        (folder / "other.csv").write_text("a,b\n1,2\n")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("cut", "is damaged at line"),
        ("no rows", "no 3 memories of 5 networks in"),
        ("a row less", "no 3 memories of 5 networks in"),
        ("another value", "says 48.9 [48.2, 49.6] n=3 of dm, but no 3 memories"),
        ("another network", "not of 0 to 4 once each"),
        ("no count", "not every value of 'memories' is a whole number"),
        ("columns", "it lacks the columns"),
        ("other", "other.csv has columns that no command writes"),
    ],
)
def test_damaged_rows_are_refused_in_one_line(how, words, tmp_path, monkeypatch, capsys):
    folder = table(tmp_path / "rows", {"dm": 0.489})
    damage(folder, how)
    monkeypatch.setattr(sys, "argv", ["targets", str(folder), "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as end:
        command(Targets, main, said_of_it)
    said = capsys.readouterr().err
    assert (end.value.code, said.count("\n")) == (2, 1)
    assert words in said
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("error")
def test_a_network_of_a_huge_number_is_damage(tmp_path):
    stream(tmp_path, "dm", 0.344)
    rows = tmp_path / "results.csv"
    rows.write_text(rows.read_text().replace(",0,4,5,", f",0,{2**63 - 1},5,"))
    with pytest.raises(ValueError, match=r"is damaged: cell .* has accuracy of networks 0, 1, 2, 3, 9\.22337e"):
        targets(tmp_path, out=tmp_path / "out")


def test_its_own_file_is_not_read(tmp_path):
    table(tmp_path, {"dm": 0.489})
    (tmp_path / "targets.csv").write_text("damaged")
    assert len(targets(tmp_path, out=tmp_path)) == len(lines())


def test_a_command_of_several_lines_is_one_that_runs():
    loop = "# first\nexport A=1  # why\nfor name in a \\\n  b; do\n  echo $name$A\ndone\n"
    line = one_line_of(f"{loop}run() {{ # number\n  echo $1\n}}\nrun 7 &\nwait")
    assert "\n" not in line
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == ["7", "a1", "b1"]


def test_what_is_committed_is_what_the_command_writes(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    main(Targets(out=tmp_path))
    written = (tmp_path / "targets.csv").read_bytes()
    assert (ROOT / "results" / "targets.csv").read_bytes() == written, "run `python -m harness.targets`"
    frame = pd.read_csv(ROOT / "results" / "targets.csv", keep_default_na=False)
    assert set(frame["verdict"]) <= set(VERDICTS)
    assert len(frame) == len(lines()) == 241
    beside = frame[frame["ours"] != ""]
    assert (beside[["protocol", "our trained", "rows", "command"]] != "").all(axis=None)


def test_it_is_on_the_page_of_the_report(tmp_path):
    table(tmp_path, {"dm": 0.489})
    targets(tmp_path, out=tmp_path)
    shown = section(read_folders([tmp_path]))
    assert not shown.problems
    verdicts, first, *others = shown.figures
    assert verdicts.numbers["published numbers"].sum() == len(lines())
    dm = next(line for line in records(first.numbers) if (line["method"], line["images per class"]) == ("dm", "10"))
    assert (first.title, cell(dm, "ours (%)"), dm["verdict"]) == ("DDM, Table 1", "48.9 [48.2, 49.6]", "reproduced")
    assert (dm["our networks"], dm["memories"]) == (f"{NARROW}, scored on {WIDE}", 3)
    assert sum(len(figure.numbers) for figure in (first, *others)) == len(lines())
    correlations = next(figure for figure in others if "ours" in figure.numbers)
    assert correlations.numbers["published"].min() == -0.04
    assert correlations.note.endswith("intervals are over architectures.")
    assert first.note.endswith("intervals are over memories.")
