"""Every published number meets what was measured under the paper's evaluation, or says that nothing was."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from harness.core.command import command
from harness.core.protocols import PROTOCOLS
from harness.core.records import Records, csv_of
from harness.core.schema import Provenance, ScoreRow
from harness.evidence.intervals import interval
from harness.evidence.published import lines
from harness.evidence.sources import read_folders
from harness.report.content import cell, records
from harness.report.targets import section
from harness.targets.__main__ import __doc__ as said_of_it
from harness.targets.__main__ import main
from harness.targets.comparing import one_line_of
from harness.targets.flags import Targets

ROOT = Path(__file__).parents[3]
WIDE = "ConvNet-W128-D3-IN-ReLU-Avg"
NARROW = WIDE.replace("128", "64")
ORIGIN = Provenance(device="cpu", precision="fp32", backend="mkldnn", threads=1, chunk=16, commit="x", versions="x")
NEAR = (-0.003, 0.0, 0.003)  # of memories from their mean: an interval of 0.75 points to either side
README = "# Results\n\n## {}: what it is\n\n```sh\n{}\n```\n"


def row(**about: object) -> ScoreRow:
    usual = {
        "dataset": "cifar10",
        "dataset_checksum": "whole",
        "ipc_stored": 10,
        "ipc_decoded": 10,
        "steps": 1,
        "step": 1,
        "trained_on_real": False,
        "class_order": 0,
        "memory_replicate": 0,
        "classes_seen": 10,
        "seconds": 1.0,
        "protocol": "bench-1",
        "origin": ORIGIN,
        "memory_checksum": "x",
        "metric": f"accuracy of {WIDE}",
    }
    return ScoreRow(**usual | about)


def cells(means: list[float], networks: int, **about: object) -> list[ScoreRow]:
    """A cell for each memory, whose networks lie evenly around its mean."""
    rows = []
    for memory, mean in enumerate(means):
        key = "-".join(map(str, (memory, *about.values())))
        for network in range(networks):
            value = mean + 0.001 * (network - (networks - 1) / 2)
            own = {"cell": key, "config": f"of {about}", "memory_replicate": memory, "network_replicate": network}
            rows.append(row(value=value, **own | about))
    return rows


def table(
    folder: Path,
    measured: dict[str, float],
    around: tuple[float, ...] = NEAR,
    networks: int = 5,
    name: str = "table.csv",
    **about: object,
) -> Path:
    """What harness.table, or harness.ablate, leaves of memories of these mean accuracies."""
    about = {"scored on": "test", "protocol": "bench-1", "ipc": 10, "trained": WIDE, "verdict": "", **about}
    records, table, ends = Records(folder / "results.csv", ScoreRow), [], "accuracy_" if name == "ablate.csv" else ""
    for condenser, mean in measured.items():
        of_rows = {"ipc_stored": about["ipc"], "ipc_decoded": about["ipc"], "metric": f"accuracy of {about['trained']}"}
        of_rows |= {"condenser": condenser, "protocol": about["protocol"]}
        rows = cells([mean + off for off in around], networks, **of_rows)
        records.append(rows)
        frame = records.read()
        value = interval(frame[frame["cell"].isin([one.cell for one in rows])])
        more = dict.fromkeys(("grid", "paper", "variant", "base"), "x") | dict.fromkeys(
            ("difference", "difference_low", "difference_high"), 0.0
        )
        table.append(
            {
                "dataset": "cifar10",
                "condenser": condenser,
                "league": "strict",
                "images per class": about["ipc"],
                "decoded per stored": 1,
                "condensed on": NARROW,
                "trained": about["trained"],
                "accuracy": value.mean,
                f"{ends}low": value.low,
                f"{ends}high": value.high,
                "memories": value.n,
                "networks": networks,
                "published": "",
                "verdict": about["verdict"],
                "seconds": 90.0,
                "flop": 1e12,
                "scored on": about["scored on"],
                "protocol": about["protocol"],
                "hidden_images": 0,
                "peak_bytes": 1,
                **(more if name == "ablate.csv" else {}),
            }
        )
    (folder / name).write_bytes(csv_of(pd.DataFrame(table)))
    return folder


def targets(*folders: Path, out: Path) -> pd.DataFrame:
    main(Targets(folders=folders, out=out))
    return pd.read_csv(out / "targets.csv", keep_default_na=False, dtype=str)


def found(frame: pd.DataFrame, method: str, place: str = "1", dataset: str = "cifar10", ipc: str = "10", **more: str):
    about = {"method": method, "table": place, "dataset": dataset, "images per class": ipc, **more}
    own = frame
    for column, value in about.items():
        own = own[own[column] == value]
    (line,) = own.to_dict("records")
    return line


def test_verdicts_are_those_of_the_rule(tmp_path, capsys):
    means = {"dm": 0.489, "ours": 0.55, "dsa": 0.50, "idm": 0.586, "random": 0.32, "herding-trained": 0.385}
    table(tmp_path / "narrow", means)
    table(tmp_path / "wide", {"datadam": 0.54}, around=(-0.02, 0.0, 0.02))
    frame = targets(tmp_path, out=tmp_path)
    verdicts = {name: found(frame, name, place)["verdict"] for name, place in (("dm", "1"), ("ddm", "1"), ("dsa", "1"))}
    assert verdicts == {"dm": "reproduced", "ddm": "exceeded", "dsa": "not reproduced"}
    assert found(frame, "datadam", "5")["verdict"] == "not reproduced"  # holds it, but is too wide
    assert found(frame, "random")["verdict"] == "other evaluation"
    assert found(frame, "random", "rerun")["verdict"] == "not reproduced"
    assert found(frame, "herding", "rerun")["verdict"] == "reproduced"  # by the features of a trained network
    assert found(frame, "herding")["ours"] == ""
    assert found(frame, "dm", "1", ipc="50") == found(frame, "dm", "1", ipc="50") | {"verdict": "not run", "ours": ""}
    assert found(frame, "dm", "4", trained="ConvNet")["verdict"] == "reproduced"
    assert found(frame, "dm", "4", trained="VGG11")["ours"] == ""
    assert found(frame, "dm", "2")["ours"] == ""
    assert found(frame, "dm+icd k=0.0", "6")["verdict"] == "reproduced"
    said = capsys.readouterr().out
    assert "241 published numbers: " in said
    assert said.count("reproduced\n") + said.count("exceeded\n") + said.count("other evaluation\n") == sum(
        frame["verdict"] != "not run"
    )


def test_a_line_says_what_was_measured_and_where(tmp_path):
    folder = table(tmp_path / "tables" / "bench", {"dm": 0.489})
    (tmp_path / "README.md").write_text(
        README.format("tables/bench", "python -m harness.table \\\n  --dataset cifar10")
    )
    line = found(targets(tmp_path, out=tmp_path / "out"), "dm")
    ours, low, high = (float(line[name]) for name in ("ours", "low", "high"))
    assert ours == pytest.approx(48.9)
    assert high - ours == ours - low == pytest.approx(0.745, abs=0.001)
    assert (
        line
        | {
            "source": "DDM",
            "published": "48.9",
            "deviation": "0.6",
            "unit": "%",
            "memories": "3",
            "networks": "5",
            "our condensed on": NARROW,
            "our trained": WIDE,
            "protocol": "bench-1",
            "league": "strict",
            "minutes": "1.5",
            "flop": "1000000000000.0",
            "rows": str(folder),
            "command": "python -m harness.table --dataset cifar10",
        }
        == line
    )


@pytest.mark.parametrize(
    ("around", "networks"), [((-0.001, 0.001), 5), (NEAR, 4), ((0.0,), 1)], ids=["memories", "networks", "one"]
)
def test_too_few_are_not_run(around, networks, tmp_path):
    table(tmp_path, {"dm": 0.489}, around=around, networks=networks)
    line = found(targets(tmp_path, out=tmp_path), "dm")
    assert (line["verdict"], line["memories"], line["networks"]) == ("not run", str(len(around)), str(networks))
    assert float(line["ours"]) == pytest.approx(48.9)
    assert (line["low"] == "") == (len(around) == 1)


def test_another_protocol_stands_beside_by_its_name_and_has_no_verdict(tmp_path):
    small = WIDE.replace("128", "32")
    table(tmp_path / "quick", {"dm": 0.489}, trained=small, protocol="quick-1")
    line = found(targets(tmp_path, out=tmp_path), "dm")
    assert (line["verdict"], line["protocol"], line["our trained"]) == ("not run", "quick-1", small)
    assert float(line["ours"]) == pytest.approx(48.9)
    # The paper's length on a narrower network is not the paper's evaluation either.
    table(tmp_path / "narrow", {"dm": 0.489}, trained=small)
    assert found(targets(tmp_path / "narrow", out=tmp_path), "dm")["verdict"] == "not run"


def test_what_is_held_out_or_of_another_size_never_stands_beside(tmp_path):
    table(tmp_path / "held out", {"dm": 0.489}, **{"scored on": "validation"})
    table(tmp_path / "larger", {"dm": 0.489}, ipc=20)
    frame = targets(tmp_path, out=tmp_path)
    assert set(frame["ours"]) == {""}
    assert set(frame["verdict"]) == {"not run"}
    assert len(frame) == len(lines())


def test_the_papers_evaluation_is_preferred_and_never_the_higher_number(tmp_path):
    table(tmp_path / "a", {"dm": 0.60}, protocol="quick-1")
    table(tmp_path / "b", {"dm": 0.70}, around=(0.0, 0.001))
    assert found(targets(tmp_path, out=tmp_path), "dm")["ours"].startswith("70.0")
    table(tmp_path / "c", {"dm": 0.40})
    table(tmp_path / "d", {"dm": 0.80}, around=(*NEAR, 0.0), protocol="quick-1")
    assert found(targets(tmp_path, out=tmp_path), "dm")["ours"].startswith("40.0")
    table(tmp_path / "e", {"dm": 0.45}, around=(*NEAR, 0.0))
    assert found(targets(tmp_path, out=tmp_path), "dm")["ours"].startswith("45.0")
    table(tmp_path / "f", {"dm": 0.30}, protocol="paper-1")
    line = found(targets(tmp_path, out=tmp_path), "dm")
    assert (line["ours"][:4], line["protocol"], line["verdict"]) == ("30.0", "paper-1", "not reproduced")


@pytest.mark.parametrize(
    ("command", "verdict", "expected"),
    [
        ("", "", "not run"),
        ("python -m harness.table --iterations 9 --networks 5", "", "reproduced"),
        ("python -m harness.table --epochs=300", "", "not run"),
        ("", "not run", "not run"),
        ("", "not reproduced", "reproduced"),  # by another number; the command knew its flags
    ],
)
def test_an_overridden_protocol_counts_if_its_evaluation_is_known(command, verdict, expected, tmp_path):
    table(tmp_path, {"dm": 0.489}, protocol="bench-1+", verdict=verdict)
    if command:
        (tmp_path / "command.sh").write_text(command)
    assert found(targets(tmp_path, out=tmp_path / "out"), "dm")["verdict"] == expected


def test_a_protocol_that_is_not_known_has_no_verdict(tmp_path):
    assert "paper-0" not in {protocol.name for protocol in PROTOCOLS.values()}
    table(tmp_path, {"dm": 0.489}, protocol="paper-0")
    assert found(targets(tmp_path, out=tmp_path), "dm")["verdict"] == "not run"


def test_ablations_meet_the_numbers_of_their_tables(tmp_path):
    table(tmp_path, {"dm+icd-k0.3": 0.4983, "dm+sm-block2": 0.5}, name="ablate.csv")
    frame = targets(tmp_path, out=tmp_path)
    assert found(frame, "dm+icd k=0.3", "6")["verdict"] == "reproduced"
    assert found(frame, "dm+sm block2", "8")["verdict"] == "not reproduced"


def stream(folder: Path, condenser: str, mean: float, networks: int = 5, **about: object) -> None:
    """What harness.continual leaves of the first and the last step of a stream, with a memory for each class order."""
    usual = {"dataset": "cifar100", "ipc_stored": 20, "ipc_decoded": 20, "steps": 5, "classes_seen": 100}
    last = cells([mean + off for off in NEAR], networks, condenser=condenser, metric="accuracy", **usual | about)
    last = [replace(one, step=5, class_order=one.memory_replicate, memory_replicate=0) for one in last]
    first = [replace(one, cell=f"{one.cell}-first", step=1, value=0.9) for one in last]
    Records(folder / "results.csv", ScoreRow).append([*first, *last])


def test_streams_and_whole_sets_are_met_after_the_last_step(tmp_path):
    stream(tmp_path, "dm", 0.344)
    stream(tmp_path, "ours", 0.38, networks=3)
    stream(tmp_path, "random (gdumb)", 0.248)
    stream(tmp_path, "herding", 0.281, ipc_stored=10, ipc_decoded=10)
    stream(tmp_path, "whole", 0.562, ipc_stored=500, ipc_decoded=500)
    frame = targets(tmp_path, out=tmp_path / "out")
    place = ("Figure 3b", "cifar100", "20")
    dm, ours = (found(frame, name, *place) for name in ("dm", "ddm"))
    assert (dm["verdict"], dm["memories"], dm["metric"]) == ("reproduced", "3", "accuracy_after_5_steps")
    assert (dm["our trained"], dm["our condensed on"], dm["minutes"]) == (WIDE, NARROW, "")
    assert (ours["verdict"], ours["ours"][:4]) == ("not run", "38.0")
    assert found(frame, "random", *place)["ours"] == found(frame, "herding", *place)["ours"] == ""
    whole = found(frame, "whole", "1", "cifar100", "all")
    assert (whole["verdict"], float(whole["ours"])) == ("other evaluation", pytest.approx(56.2))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("", ("not run", "")),  # not even the network is known
        ("python -m harness.continual --memory-per-class 20", ("reproduced", "34.4")),
        ("python -m harness.continual --memory-size 2000", ("not run", "34.4")),
        ("python -m harness.continual --network VGG11", ("not run", "")),
    ],
)
def test_an_overridden_stream_counts_if_its_network_is_known(command, expected, tmp_path):
    stream(tmp_path, "dm", 0.344, protocol="bench-1+")
    if command:
        (tmp_path / "command.sh").write_text(command)
    line = found(targets(tmp_path, out=tmp_path / "out"), "dm", "Figure 3b", "cifar100", "20")
    assert (line["verdict"], line["ours"][:4]) == expected


def test_surveys_stand_beside_what_searches_are_said_to_reach(tmp_path):
    summary = pd.read_csv(ROOT / "results" / "nas" / "digits-recipes" / "summary.csv").iloc[:1]
    named = summary.assign(dataset="cifar10", proxy="dm", ipc_stored=50, space_size=720, architectures=90)
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "summary.csv").write_bytes(csv_of(named))
    frame = targets(tmp_path, out=tmp_path)
    place = {"place": "7", "ipc": "50"}
    ranked = found(frame, "dm", metric="spearman_of_top", **place)
    assert float(ranked["ours"]) == summary["top_36_by_proxy"].item()
    assert ranked["our trained"].startswith("36 best by the proxy of 90 of ")
    assert float(found(frame, "dm", metric="accuracy_of_chosen", **place)["ours"]) == pytest.approx(
        100 * summary["accuracy"].item()
    )
    assert float(found(frame, "any", **place)["ours"]) == summary["minutes"].item()
    assert set(frame["verdict"]) == {"not run"}
    whole = named.assign(architectures=720, epochs=200, whole_recipe="paper-200", memories=3, networks=5)
    (tmp_path / "some" / "summary.csv").write_bytes(csv_of(whole))
    assert found(targets(tmp_path, out=tmp_path), "dm", metric="spearman_of_top", **place)["verdict"] == (
        "other evaluation"
    )


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
    verdicts = {"reproduced", "exceeded", "not reproduced", "other evaluation", "not run"}
    assert set(frame["verdict"]) <= verdicts
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
