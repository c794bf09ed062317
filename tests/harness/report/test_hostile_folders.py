"""Folders that nobody would wish for: colliding, damaged, huge and hostile ones cost a line each, never the page."""

import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from condensers.memory import Memory, save_memory
from harness.core.paths import ROOT
from harness.report.__main__ import main
from harness.report.content import MOST_ROWS
from harness.report.flags import Report

RESULTS = ROOT / "results"
STREAM = RESULTS / "continual" / "digits-strategies" / "results.csv"
STUDY = RESULTS / "study" / "cifar10-test" / "results.csv"
TABLE = RESULTS / "tables" / "digits-quick" / "table.csv"


def put(frame: pd.DataFrame, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False, lineterminator="\n")
    return path


def draw(out: Path, *folders: Path) -> tuple[str, pd.DataFrame]:
    main(Report(folders=folders, out=out, data_root=out / "no data"))
    numbers = pd.read_csv(out / "numbers.csv", keep_default_na=False)
    return (out / "index.html").read_text(), numbers


def lines_of(captured: pytest.CaptureFixture) -> list[str]:
    return [line for line in captured.readouterr().out.splitlines() if line.startswith("left out: ")]


def test_folders_that_differ_in_signs_have_ids_of_their_own(tmp_path):
    for name in ("a b", "a-b", "试"):
        put(pd.read_csv(STUDY), tmp_path / "in" / name / "results.csv")
    text, numbers = draw(tmp_path / "out", tmp_path / "in")
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert len([name for name in set(numbers["figure"]) if name.startswith("accuracy-")]) == 3


def test_the_page_goes_into_the_first_folder_and_is_not_read_again(tmp_path):
    put(pd.read_csv(STUDY), tmp_path / "in" / "results.csv")
    texts = []
    for _ in range(2):
        main(Report(folders=(tmp_path / "in", tmp_path / "in"), data_root=tmp_path / "no data"))
        texts.append((tmp_path / "in" / "report" / "index.html").read_text())
    assert texts[0] == texts[1]


def test_a_folder_that_is_named_twice_is_read_once(tmp_path, monkeypatch, capsys):
    put(pd.read_csv(STUDY), tmp_path / "in" / "results.csv")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    _, numbers = draw(tmp_path / "out", Path("in"), tmp_path / "in", Path("link"))
    assert len([name for name in set(numbers["figure"]) if name.startswith("accuracy-")]) == 1
    assert lines_of(capsys) == []


def test_names_that_are_no_text_are_a_line(tmp_path, capsys):
    folder = tmp_path / "in" / os.fsdecode(b"caf\xe9")
    folder.mkdir(parents=True)
    shutil.copyfile(STUDY, folder / "results.csv")
    draw(tmp_path / "out", tmp_path / "in")
    (line,) = lines_of(capsys)
    assert "has a name that cannot be written down" in line


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("accuracy", float("inf"), "not finite"), ("memories", None, "is not drawn"), ("images per class", None, "drawn")],
)
def test_a_damaged_table_is_a_line(tmp_path, capsys, column, value, message):
    table = pd.read_csv(TABLE, keep_default_na=False)
    table[column] = table[column].astype(float)
    table.loc[table["condenser"] == "dm", column] = value
    put(table, tmp_path / "in" / "table.csv")
    text, _ = draw(tmp_path / "out", tmp_path / "in")
    lines = lines_of(capsys)
    assert len(lines) == 1
    assert message in lines[0]
    assert "published numbers" in text


def test_a_damaged_number_that_older_tables_lack_is_a_line_too(tmp_path, capsys):
    put(pd.read_csv(TABLE, keep_default_na=False).assign(**{"below best": "much"}), tmp_path / "in" / "table.csv")
    text, _ = draw(tmp_path / "out", tmp_path / "in")
    (line,) = lines_of(capsys)
    assert "much" in line
    assert "muchmuch" not in text


def test_many_problems_are_counted_on_the_terminal_and_listed_on_the_page(tmp_path, capsys):
    for number in range(50):
        put(pd.DataFrame({"a": [1]}), tmp_path / "in" / str(number) / "results.csv")
    text, _ = draw(tmp_path / "out", tmp_path / "in")
    lines = lines_of(capsys)
    assert len(lines) == 21
    assert lines[-1] == "left out: 30 more, listed on the page"
    assert text.count("has columns that no command writes") == 50


def test_no_path_of_this_machine_is_on_the_page(tmp_path, monkeypatch):
    put(pd.read_csv(TABLE), tmp_path / "in" / "table.csv")
    monkeypatch.chdir(tmp_path)
    text, numbers = draw(tmp_path / "out", Path("in"))
    assert str(ROOT) not in text
    assert str(tmp_path) not in text
    assert set(numbers["rows"]) == {"in/table.csv", "harness/evidence/published.csv"}


def test_lengths_of_a_condenser_are_told_apart_and_lead_to_its_article(tmp_path):
    table = pd.read_csv(TABLE)
    table = table[table["condenser"].isin(["random", "dm"]) & (table["images per class"] == 1)]
    short = table.assign(iterations=[0, 100])
    long = short[short["condenser"] == "dm"].assign(iterations=200, flop=short["flop"].max() * 2)
    put(pd.concat([short, long]), tmp_path / "in" / "table.csv")
    text, numbers = draw(tmp_path / "out", tmp_path / "in")
    own = numbers[numbers["figure"].str.startswith("table-")]
    assert sorted(own.loc[own["column"] == "iterations", "value"].astype(int)) == [0, 100, 200]
    assert sorted(own.loc[own["column"] == "condenser", "value"]) == ["dm", "dm", "random"]
    assert "dm, 200 it." in text


def test_sizes_of_memories_in_one_file_have_figures_of_their_own(tmp_path, capsys):
    rows = pd.read_csv(STREAM)
    more = rows[rows["ipc_stored"] > 0].copy()
    for column in ("cell", "config"):
        more[column] = "x" + more[column].str[1:]
    more[["ipc_stored", "ipc_decoded"]] *= 2
    more["value"] /= 2
    put(pd.concat([rows, more]), tmp_path / "in" / "results.csv")
    text, numbers = draw(tmp_path / "out", tmp_path / "in")
    assert lines_of(capsys) == []
    curves = [name for name in dict.fromkeys(numbers["figure"]) if name.startswith("curve-")]
    assert len(curves) == 2
    lines = numbers[numbers["figure"].isin(curves)]
    assert lines[lines["value"].str.startswith("naive")].groupby("figure").size().min() > 0  # no memory: beside each
    assert "per class: accuracy as classes come" in text


def further(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows as those of another making."""
    return rows.assign(**{column: "x" + rows[column].str[1:] for column in ("cell", "config")})


def numbers_of(numbers: pd.DataFrame, figure: str, column: str) -> dict[str, float]:
    """A column of the only figure whose id begins so, by condenser; without what is not there."""
    own = numbers[numbers["figure"].str.startswith(figure)]
    assert own["figure"].nunique() == 1
    wide = own.pivot(index="line", columns="column", values="value").set_index("condenser")
    return pd.to_numeric(wide[column]).dropna().to_dict()


def test_a_total_budget_has_figures_of_its_own(tmp_path, capsys):
    """Also while one of its streams is not finished."""
    rows = pd.read_csv(STREAM)
    more = further(rows[rows["condenser"].isin(["random (gdumb)", "dm (gdumb)"])])
    more[["ipc_stored", "ipc_decoded"]] = more[["step", "step"]].rsub(11).to_numpy()
    more = more[(more["condenser"] == "random (gdumb)") | (more["step"] <= 2)]
    put(pd.concat([rows, more]), tmp_path / "in" / "results.csv")
    text, numbers = draw(tmp_path / "out", tmp_path / "in")
    assert lines_of(capsys) == []
    assert "10 down to 6 per class: accuracy as classes come" in text
    (budget,) = {name for name in numbers["figure"] if name.startswith("curve-") and "10-down-to-6" in name}
    own = numbers[(numbers["figure"] == budget) & (numbers["column"] == "condenser")]
    assert set(own["value"]) == {"random (gdumb)", "dm (gdumb)", "naive"}


def test_a_stream_that_lacks_a_network_is_not_drawn(tmp_path, capsys):
    rows = pd.read_csv(STREAM)
    lost = rows[(rows["metric"] == "accuracy") & (rows["network_replicate"] == 1)].index[0]
    put(rows.drop(index=lost), tmp_path / "in" / "results.csv")
    draw(tmp_path / "out", tmp_path / "in")
    (line,) = lines_of(capsys)
    assert f"is damaged: cell {rows['cell'][lost]} has accuracy of networks 0, 2, not of 0 to 2 once each" in line


def test_above_random_is_said_of_the_first_makings_alone(tmp_path):
    rows = pd.read_csv(STREAM)
    rows = rows[rows["condenser"].isin(["random (gdumb)", "dm (gdumb)", "naive"])]
    rows["condenser"] = rows["condenser"].str.removesuffix(" (gdumb)")
    put(pd.concat([rows, further(rows)]), tmp_path / "in" / "results.csv")
    _, numbers = draw(tmp_path / "out", tmp_path / "in")
    assert {"dm #2", "naive #2"} <= set(numbers_of(numbers, "last-", "final accuracy (%)"))
    assert set(numbers_of(numbers, "last-", "above random (points)")) == {"dm"}  # naive has no memory


@pytest.mark.parametrize("protocol", ["quick-1", "quick-1+", "quick-1+epochs=3"])
def test_a_page_says_what_an_overridden_protocol_leaves_open(tmp_path, protocol):
    put(pd.read_csv(STREAM).assign(protocol=protocol), tmp_path / "in" / "results.csv")
    text, _ = draw(tmp_path / "out", tmp_path / "in")
    assert ("The + says that flags overrode the protocol. Which, beside those named" in text) == ("+" in protocol)


def test_networks_of_another_training_are_not_compared(tmp_path):
    rows, compared = pd.read_csv(STREAM), "above random (points)"
    real, made = (rows[rows["condenser"] == name] for name in ("random (gdumb)", "dm (gdumb)"))
    put(pd.concat([real, made]), tmp_path / "alike" / "results.csv")
    put(pd.concat([real, made.assign(protocol="quick-1+epochs=99")]), tmp_path / "apart" / "results.csv")
    assert compared in set(draw(tmp_path / "first", tmp_path / "alike")[1]["column"])
    text, numbers = draw(tmp_path / "second", tmp_path / "apart")
    assert "Protocol quick-1+epochs=99" in text
    assert compared not in set(numbers["column"])


def test_older_rows_of_one_making_say_less_of_their_training_and_are_drawn_together(tmp_path):
    rows = pd.read_csv(STREAM)
    late = rows["class_order"] > 2
    put(rows.assign(protocol="quick-1+epochs=60"), tmp_path / "alike" / "results.csv")
    put(
        rows.assign(protocol=late.map({True: "quick-1+epochs=60", False: "quick-1+"})),
        tmp_path / "grown" / "results.csv",
    )
    alike, grown = (draw(tmp_path / f"{name} out", tmp_path / name)[1] for name in ("alike", "grown"))
    assert alike["value"].tolist() == grown["value"].tolist()


def test_memories_of_another_seed_keep_their_label_and_are_not_averaged_with_others(tmp_path):
    rows = pd.read_csv(STREAM)
    late = rows["class_order"] > 2
    of_seed = {True: "quick-1+epochs=60+memory_seed=7", False: "quick-1+epochs=60"}
    put(rows.assign(protocol=late.map(of_seed)), tmp_path / "in" / "results.csv")
    text, numbers = draw(tmp_path / "out", tmp_path / "in")
    assert all(f"Protocol {label}." in text for label in of_seed.values())
    counts = numbers[(numbers["column"] == "memories") & numbers["figure"].str.startswith("curve-")]
    assert sorted(set(counts["value"].astype(int))) == [2, 3]


def test_what_does_not_say_its_league_stands_in_none(tmp_path):
    rows = pd.read_csv(STUDY)
    put(
        rows.assign(trained_on_real=rows["trained_on_real"].mask(rows["condenser"] == "dm")),
        tmp_path / "in/results.csv",
    )
    text, numbers = draw(tmp_path / "out", tmp_path / "in")
    assert "league not said: in: cifar10, 10 per class" in text
    named = numbers[(numbers["column"] == "condenser") & numbers["figure"].str.startswith("accuracy-")]
    assert sorted(map(sorted, named.groupby("figure")["value"].agg(list))) == [["dm"], ["dm+ridge", "ours", "random"]]


def test_speeds_of_several_sizes_are_not_averaged(tmp_path):
    rows = pd.read_csv(RESULTS / "speed" / "cpu" / "speed.csv")
    rows = rows[(rows["what"] == "condense") & rows["ratio"].notna()]
    other = rows.assign(real_batch=rows["real_batch"] + 1, ratio=3 * rows["ratio"], cell="x" + rows["cell"].str[1:])
    put(rows, tmp_path / "one" / "speed.csv")
    put(pd.concat([rows, other]), tmp_path / "two" / "speed.csv")
    one, two = (
        numbers.loc[numbers["figure"].str.startswith("speed-") & (numbers["column"] == "ratio (times)"), "value"]
        for numbers in (draw(tmp_path / f"{name} out", tmp_path / name)[1] for name in ("one", "two"))
    )
    expected = [ratio * factor for factor in (1, 3) for ratio in one.astype(float)]
    assert sorted(two.astype(float)) == pytest.approx(sorted(expected))


def test_searches_are_counted_as_their_interval_does(tmp_path):
    rows = pd.read_csv(RESULTS / "nas" / "digits-search" / "search_summary.csv")
    known = [name for name in rows if name.startswith("regret_after_") and name.endswith("_n")]
    put(rows.assign(**dict.fromkeys(known, 2)), tmp_path / "in" / "search_summary.csv")
    _, numbers = draw(tmp_path / "out", tmp_path / "in")
    assert set(numbers.loc[numbers["column"] == "searches", "value"].astype(int)) == {2}


def test_two_contents_of_one_making_and_number_are_no_replicates(tmp_path, capsys):
    """Such as what another machine makes of one seed, or older memories of several class orders."""
    rows = pd.read_csv(STUDY)
    rows = rows[rows["condenser"].isin(["random", "dm"])]
    first = rows[rows["cell"].isin(rows.drop_duplicates("condenser")["cell"])]
    other = first.assign(cell="x" + first["cell"].str[1:], memory_checksum="x" + first["memory_checksum"].str[1:])
    put(pd.concat([first, other.assign(value=other["value"] + 0.1)]), tmp_path / "in" / "results.csv")
    _, numbers = draw(tmp_path / "out", tmp_path / "in")
    assert lines_of(capsys) == []
    found = numbers_of(numbers, "accuracy-", "memories")
    assert set(found.values()) == {1}
    assert set(found) == {"random", "random #2", "dm", "dm #2"}
    assert not numbers["figure"].str.startswith("difference-").any()


def test_all_real_images_stand_beside_memories_whatever_a_class_has(tmp_path, capsys):
    rows = pd.read_csv(STREAM)
    bound = rows[rows["condenser"] == "naive"].assign(condenser="whole", config="of all")
    bound["cell"] = "x" + bound["cell"].str[1:]
    fewest = 131 + (bound["class_order"] + bound["step"]) % 3
    bound = bound.assign(ipc_stored=fewest, ipc_decoded=fewest)
    put(pd.concat([rows, bound]), tmp_path / "in" / "results.csv")
    _, numbers = draw(tmp_path / "out", tmp_path / "in")
    assert lines_of(capsys) == []
    (curve,) = {name for name in numbers["figure"] if name.startswith("curve-")}
    assert {"whole", "ours (gdumb)"} <= set(numbers[numbers["figure"] == curve]["value"])


def test_a_further_making_is_compared_with_its_own_name_alone(tmp_path):
    rows = pd.read_csv(STUDY)
    more = rows.assign(value=rows["value"] + 0.1)
    for column in ("cell", "config"):
        more[column] = "x" + more[column].str[1:]
    put(pd.concat([rows, more]), tmp_path / "in" / "results.csv")
    _, numbers = draw(tmp_path / "out", tmp_path / "in")
    own = numbers[numbers["figure"].str.startswith("difference-")]
    names = own[own["column"] == "condenser"].groupby("figure")["value"].agg(set)
    above = own[own["column"] == "difference (points)"].groupby("figure")["value"].agg(list)
    with_dm = names[[("dm-" in figure) and "dm #2" not in found for figure, found in names.items()]]
    assert {name for found in with_dm for name in found if " #" not in name} >= {"random", "ours", "dm+ridge"}
    further = [figure for figure, found in names.items() if any(" #" in name for name in found)]
    assert len(further) == 4
    for figure in further:
        assert len(names[figure]) == 1
        assert list(map(float, above[figure])) == pytest.approx([10.0])


@pytest.mark.parametrize(("column", "value", "said"), [("recipe", "another", ", another"), ("epochs", 5, ", 5 epochs")])
def test_networks_of_several_trainings_are_not_averaged(tmp_path, column, value, said):
    rows = pd.read_csv(RESULTS / "nas" / "digits-recipes" / "results.csv", keep_default_na=False)
    others = rows[rows["proxy"] != "whole"].assign(test_accuracy=0.5, validation_accuracy=0.5, **{column: value})
    for key in ("cell", "config"):
        others[key] = "x" + others[key].str[1:]
    put(pd.concat([rows, others]), tmp_path / "in" / "results.csv")
    _, numbers = draw(tmp_path / "out", tmp_path / "in")
    own = numbers[numbers["figure"].str.startswith("scatter-")]
    columns = [name for name in dict.fromkeys(own["column"]) if "as proxy" in name]
    assert len(columns) == 3
    (mine,) = [name for name in columns if said in name]
    assert set(map(float, own[own["column"] == mine]["value"])) == {50.0}


def test_a_survey_of_two_seeds_has_a_line_instead_of_its_scatter(tmp_path, capsys):
    rows = pd.read_csv(RESULTS / "nas" / "digits-recipes" / "results.csv", keep_default_na=False)
    seeded = rows.assign(**{column: "x" + rows[column].str[1:] for column in ("cell", "config")})
    put(pd.concat([rows, seeded]), tmp_path / "in" / "two" / "results.csv")
    put(rows[rows["proxy"] == "whole"], tmp_path / "in" / "whole" / "whole_digits.csv")
    text, numbers = draw(tmp_path / "out", tmp_path / "in")
    assert not numbers["figure"].str.startswith("scatter-").any()
    (line,) = lines_of(capsys)
    assert "two/results.csv: no scatter of digits, convnets-405, paper-200, for its architectures have several" in line
    assert line.endswith(
        "as of two --seed, and rows do not say which a proxy goes with: give each --seed its own --out"
    )
    assert "no scatter of digits" in text


def test_the_page_stays_small_whatever_is_in_the_folders(tmp_path):
    rows = pd.read_csv(RESULTS / "nas" / "digits" / "results.csv", keep_default_na=False)
    many = [
        rows.assign(cell=rows["cell"].str[:8] + f"{number:08x}", architecture=rows["architecture"] + f"-{number}")
        for number in range(9)
    ]
    put(pd.concat(many), tmp_path / "in" / "results.csv")
    for name in ("dm", "ours"):
        made = Memory(torch.randn(10, 3, 600, 600), torch.arange(10), {"condenser": name, "dataset": "large"})
        save_memory(made, tmp_path / "in" / f"{name}.safetensors")
    text, numbers = draw(tmp_path / "out", tmp_path / "in")
    assert len(text.encode()) < 5_000_000
    scatter = re.search(r'<figure id="scatter-.*?</figure>', text, re.DOTALL)[0]
    assert scatter.count("<tr>") == MOST_ROWS + 1
    assert "2,645 more lines are in <code>numbers.csv</code>" in scatter
    assert numbers[numbers["figure"].str.startswith("scatter-")]["line"].max() == 9 * 405


def test_memories_that_do_not_fit_beside_others_are_a_line_each(tmp_path, capsys):
    for name, count, means in (("all", 10, [0.5] * 3), ("few", 4, [0.5] * 3), ("odd", 10, [0.5] * 2)):
        made = Memory(
            torch.randn(count, 3, 8, 8),
            torch.arange(count),
            {"condenser": name, "dataset": "<b>", "dataset_checksum": "0", "class_names": ["<i>"] * 10, "seed": 0}
            | {"stored_per_class": 1, "mean": means, "std": means},
        )
        (tmp_path / "in").mkdir(exist_ok=True)
        save_memory(made, tmp_path / "in" / f"{name}.safetensors")
    text, _ = draw(tmp_path / "out", tmp_path / "in")
    lines = lines_of(capsys)
    assert len(lines) == 2
    assert all("cannot be drawn beside the others" in line for line in lines)
    assert "all: &lt;i&gt;" in text
    assert "<b>," not in text


def test_entries_of_several_commands_are_several_memories(tmp_path):
    rows = pd.read_csv(RESULTS / "leaderboard" / "submissions.csv", keep_default_na=False)
    first = rows.iloc[[0, 0, 0]].assign(
        cell=list("abc"), memory_checksum=["1" * 16, "2" * 16, "2" * 16], memory_replicate=0, accuracy=[0.4, 0.5, 0.5]
    )
    put(first, tmp_path / "in" / "submissions.csv")
    _, numbers = draw(tmp_path / "out", tmp_path / "in")
    own = numbers[numbers["figure"].str.startswith("leaderboard-")].set_index("column")["value"]
    assert int(own["memories"]) == 2
    assert float(own["accuracy (%)"]) == pytest.approx(45)
    assert float(own["low (%)"]) < 0 < 100 < float(own["high (%)"])
