"""Every published number meets what was measured under the paper's evaluation, or says that nothing was."""

from pathlib import Path

import pandas as pd
import pytest

from harness.core.protocols import PROTOCOLS
from harness.core.records import csv_of
from harness.evidence.published import lines
from harness.targets.__main__ import main
from harness.targets.flags import Targets

from .measurements import NARROW, NEAR, WIDE, found, stream, table, targets

ROOT = Path(__file__).parents[3]
README = "# Results\n\n## {}: what it is\n\n```sh\n{}\n```\n"


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


def test_without_out_the_first_folder_gets_the_file_and_no_other_is_touched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    table(tmp_path / "mine", {"dm": 0.489})
    main(Targets(folders=(Path("mine"),)))
    assert [str(path) for path in Path().rglob("targets.csv")] == ["mine/targets.csv"]


def test_of_several_lengths_the_longest_stands_beside_not_the_higher(tmp_path):
    for name, flop, mean in (("long", 4e12, 0.48), ("short", 1e12, 0.50)):
        path = table(tmp_path / name, {"dm": mean}) / "table.csv"
        path.write_bytes(csv_of(pd.read_csv(path, keep_default_na=False).assign(flop=flop)))
    assert float(found(targets(tmp_path, out=tmp_path), "dm")["ours"]) == pytest.approx(48.0)


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


def test_images_of_another_size_never_stand_beside(tmp_path):
    # --resolution changes neither a data set's name nor, at 40 px, the ConvNet's.
    table(tmp_path, {"dm": 0.489}, dataset_checksum="of 40 px")
    stream(tmp_path, "dm", 0.344, dataset_checksum="of 40 px")
    assert set(targets(tmp_path, out=tmp_path / "out")["ours"]) == {""}


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
        ("", "of nobody", "not run"),
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


def test_a_memory_that_served_every_class_order_stands_beside_nothing(tmp_path):
    """As a file of that name does, which is one memory however many orders it is streamed in."""
    stream(tmp_path, "dm", 0.344, memory_checksum="ab")
    assert found(targets(tmp_path, out=tmp_path / "out"), "dm", "Figure 3b", "cifar100", "20")["ours"] == ""


@pytest.mark.parametrize(
    ("label", "command"),
    [
        ("bench-1+", f"run='python -m harness.continual --network={NARROW}'"),
        (f"bench-1+network={NARROW}+epochs=3", ""),
        (f"bench-1+network={NARROW}", "python -m harness.continual --network VGG11 --epochs 3"),  # rows know best
    ],
)
def test_a_stream_of_another_width_stands_beside(label, command, tmp_path):
    stream(tmp_path, "dm", 0.344, protocol=label)
    if command:
        (tmp_path / "command.sh").write_text(command)
    line = found(targets(tmp_path, out=tmp_path / "out"), "dm", "Figure 3b", "cifar100", "20")
    assert (line["verdict"], line["ours"][:4]) == ("not run", "34.4")
    assert (line["our trained"], line["our condensed on"]) == (NARROW, NARROW)


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
    frame = targets(tmp_path, out=tmp_path)
    assert found(frame, "dm", metric="spearman_of_top", **place)["verdict"] == "other evaluation"
    # A summary adds up all fifteen networks of an architecture; a search trains one.
    assert float(found(frame, "any", **place)["ours"]) == pytest.approx(summary["minutes"].item() / 15)


def test_of_surveys_the_one_of_most_architectures_stands_beside(tmp_path):
    """What the whole set takes is in each, whatever proxies it is of."""
    summary = pd.read_csv(ROOT / "results" / "nas" / "cifar10" / "summary.csv").iloc[:1]
    for folder, architectures, minutes in (("a", 30, 311.0), ("b", 90, 466.0), ("c", 45, 170.0)):
        (tmp_path / folder).mkdir()
        own = summary.assign(ipc_stored=50, architectures=architectures, whole_minutes=minutes, minutes=minutes / 10)
        (tmp_path / folder / "summary.csv").write_bytes(csv_of(own))
    frame = targets(tmp_path, out=tmp_path)
    whole = found(frame, "whole", "7", ipc="all", metric="minutes")
    assert (float(whole["ours"]), whole["protocol"], whole["networks"]) == (466.0, "short-1", "1")
    assert whole["our trained"] == "all of 90 of convnets-405, whole set by short-1"
    assert float(found(frame, "any", "7", ipc="50", metric="minutes")["ours"]) == pytest.approx(46.6)


@pytest.mark.parametrize(("checksum", "beside"), [("3bf1d19c4f7726a0", True), ("of 16 px", False)])
def test_a_survey_of_images_of_another_size_never_stands_beside(checksum, beside, tmp_path):
    summary = pd.read_csv(ROOT / "results" / "nas" / "cifar10" / "summary.csv").iloc[:1]
    of = summary.assign(ipc_stored=50, dataset_checksum=checksum)
    (tmp_path / "summary.csv").write_bytes(csv_of(of))
    frame = targets(tmp_path, out=tmp_path / "out")
    assert (set(frame["ours"]) == {""}) != beside
    if beside:
        assert found(frame, "random", "7", ipc="50", metric="accuracy_of_chosen")["ours"] != ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accuracy": 7.0}, "not every value of 'accuracy' is from 0 to 1"),
        ({"top_36_by_proxy_high": 7.0}, "not every value of 'top_36_by_proxy_high' is from -1 to 1"),
        ({"minutes": -1.0}, "not every value of 'minutes' is from 0 to inf"),
        ({"memories": 0}, "not every value of 'memories' is a whole number from 1 on"),
        ({"top_30_by_proxy": "abc"}, "Unable to parse string"),
    ],
)
def test_impossible_summaries_of_surveys_are_refused(changes, words, tmp_path):
    summary = pd.read_csv(ROOT / "results" / "nas" / "digits-recipes" / "summary.csv").iloc[:1]
    (tmp_path / "summary.csv").write_bytes(csv_of(summary.assign(**changes)))
    with pytest.raises(ValueError, match=f"summary.csv is damaged: {words}"):
        targets(tmp_path, out=tmp_path / "out")


def test_a_survey_may_have_no_top(tmp_path):
    summary = pd.read_csv(ROOT / "results" / "nas" / "digits-recipes" / "summary.csv").iloc[:1]
    named = summary.assign(dataset="cifar10", proxy="dm", ipc_stored=50, top_36_by_proxy="")
    (tmp_path / "summary.csv").write_bytes(csv_of(named.drop(columns=["top_30_by_proxy", "top_30_by_proxy_low"])))
    frame = targets(tmp_path, out=tmp_path / "out")
    assert found(frame, "dm", "7", ipc="50", metric="spearman_of_top")["ours"] == ""
    assert found(frame, "dm", "7", ipc="50", metric="accuracy_of_chosen")["ours"] != ""
