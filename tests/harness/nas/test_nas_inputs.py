"""What the search command takes and refuses: memory files, whole-set tables, rows from other machines, flags."""

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
import tyro

from condensers.device.chunks import within
from condensers.memory import read_metadata
from harness.condense import __main__ as condense
from harness.condense.flags import Condense
from harness.core.protocols import QUICK, SURVEYS, WHOLE_TRAININGS
from harness.core.records import Records
from harness.core.rows import NetworkRow
from harness.core.settings import Setup
from harness.nas.__main__ import main
from harness.nas.candidates import candidates, make_memories, proxies, run
from harness.nas.flags import Nas
from harness.nas.survey import Survey, prepare
from harness.nas.tables import read_networks

SMALL = Nas(proxy=("random",), subset=5, ipc=2, epochs=2, whole_replicates=1)


def surveyed(config: Nas) -> Survey:
    survey = prepare(config)
    return replace(survey, whole=replace(survey.whole, epochs=1))


def rows_of(path: Path):
    return Records(path, NetworkRow).read()


@pytest.mark.cuda
def test_chunks_on_cuda_are_for_the_largest_network(tmp_path):
    flags = {"resolution": 32, "space": "convnets-720", "subset": 720}
    survey = prepare(Nas(dataset="digits", protocol="quick", device="cuda", out=tmp_path, **flags))
    free, _ = torch.cuda.mem_get_info()
    assert survey.training.chunk == survey.whole.chunk
    assert 1 <= survey.whole.chunk <= within(free, "ConvNet-W256-D4-IN-ReLU-None", 10, (1, 32, 32))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Survey:
    survey = surveyed(replace(SMALL, subset=7, out=tmp_path_factory.mktemp("nas")))
    run(survey)
    return survey


def memory(out: Path, **flags: object) -> Path:
    condense.main(Condense(condensers=("random",), ipc=3, iterations=1, out=out, **flags))
    return next(out.glob("*.safetensors"))


def refused(config: Nas, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        main(config)
    assert len(str(caught.value).splitlines()) == 1


MISTAKES = {
    "proxy": (["--proxy", "herdin"], "unknown proxy 'herdin'. Did you mean 'herding'?"),
    "baseline": (["--proxy", "whol"], "Did you mean 'whole'?"),
    "term": (["--proxy", "dm+sn"], "Did you mean 'sm'?"),
    "nothing": (["--proxy"], "name at least one"),
    "file": (["--proxy", "nowhere.safetensors"], "nowhere.safetensors"),
    "dataset": (["--dataset", "cifar1000"], "Did you mean 'cifar100'?"),
    "recipe": (["--recipe", "short"], "Did you mean 'short-1'?"),
    "space": (["--space", "convnets-72"], "Did you mean 'convnets-720'?"),
    "resolution": (["--space", "convnets-720"], "--space convnets-405, or --resolution 16"),
    "tiny": (["--resolution", "4"], "no search space fits images of 4 px"),
    "few": (["--subset", "4"], "no rank correlation: give --subset 5"),
    "many": (["--subset", "406"], "convnets-405 has 405 architectures"),
    "none": (["--subset", "0"], "a subset of 0"),
    "ipc": (["--ipc", "500"], "the smallest class has"),
    "no images": (["--ipc", "0"], "0 images per class"),
    "no steps": (["--proxy", "early", "--ipc", "0"], "0 images per class"),
    "published file": (["--proxy", "nowhere.pt"], "there is no memory file nowhere.pt"),
    "whole file": (["--proxy", "memories/whole.safetensors"], "rename the file"),
    "recipe file": (["--proxy", "short-1.safetensors"], "rename the file"),
    "validation": (["--validation", "500"], "cannot hold out 500"),
    "no validation": (["--validation", "0"], "choose at least 1"),
    "epochs": (["--epochs", "0"], "--epochs is 0"),
    "replicates": (["--replicates", "0"], "--replicates is 0"),
    "memories": (["--memories", "0"], "--memories is 0"),
    "whole replicates": (["--whole-replicates", "0"], "--whole-replicates is 0"),
    "ceiling": (["--proxy", "whole", "--whole-replicates", "1"], "give --whole-replicates 2"),
    "same recipe": (["--recipe", "short-1", "--proxy", "short-1"], "--proxy whole does so once more"),
    "search by a recipe": (["--search", "tpe", "--proxy", "short-1"], "leave out --proxy short-1"),
    "merge": (["--merge", "nowhere.csv"], "no such file"),
    "device": (["--device", "gpu"], "unknown device"),
    "data": (["--dataset", "folder:/nowhere"], "/nowhere"),
    "out": (["--out", "/proc/nothing"], "/proc/nothing"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake, tmp_path, monkeypatch):
    flags, words = MISTAKES[mistake]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"\S") as caught:
        main(tyro.cli(Nas, args=["--subset", "5", *flags]))
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not list(tmp_path.glob("**/results.csv"))


def test_a_memory_file_of_the_split_is_a_proxy_of_its_name(tmp_path, finished):
    path = memory(tmp_path, validation=30).rename(tmp_path / "mine.safetensors")
    names = (str(path), "random", "early")
    survey = surveyed(replace(SMALL, proxy=names, ipc=None, out=tmp_path, whole_table=finished.table.path))
    run(survey)
    rows = rows_of(tmp_path / "results.csv").query("proxy != 'whole'")
    assert rows.groupby("proxy").size().to_dict() == {"mine": 5, "random": 5, "early": 5}
    # It is the memory that the survey makes of that name, size and seed: one thing under two names.
    assert rows.groupby("memory_checksum").size().tolist() == [5, 10]
    mine, random = (rows[rows["proxy"] == name]["test_accuracy"].tolist() for name in ("mine", "random"))
    assert mine == random
    assert set(rows["steps"]) == {2 * 1}


def test_a_memory_that_has_seen_the_validation_images_is_refused(tmp_path):
    path = memory(tmp_path)
    refused(replace(SMALL, proxy=(str(path),), out=tmp_path), "--dataset digits --validation 30")
    # A split of another size shares images with this one.
    path = memory(tmp_path / "smaller", validation=29)
    refused(replace(SMALL, proxy=(str(path),), out=tmp_path), "may have seen")


def test_a_memory_of_another_resolution_or_data_set_is_refused(tmp_path):
    path = memory(tmp_path, validation=30, resolution=16)
    refused(replace(SMALL, proxy=(str(path),), out=tmp_path), "at 8 px")
    refused(replace(SMALL, proxy=(str(path),), resolution=32, out=tmp_path), "--dataset digits --resolution 32 --val")
    other = memory(tmp_path / "other", validation=30)
    content = other.read_bytes().replace(b'dataset\\": \\"digits', b'dataset\\": \\"svhnss')
    content = content.replace(read_metadata(other)["dataset_checksum"].encode(), b"0" * 16)
    other.write_bytes(content)
    refused(replace(SMALL, proxy=(str(other),), out=tmp_path), "condensed from svhnss")


def test_a_published_memory_does_not_say_what_it_has_seen(tmp_path):
    path = tmp_path / "published.pt"
    torch.save({"data": [[torch.randn(20, 1, 8, 8), torch.arange(10).repeat_interleave(2)]]}, path)
    refused(replace(SMALL, proxy=(str(path),), out=tmp_path), "may have seen")


def test_two_proxies_of_one_name_are_refused(tmp_path):
    path = memory(tmp_path, validation=30).rename(tmp_path / "random.safetensors")
    refused(replace(SMALL, proxy=("random", str(path)), out=tmp_path), "two proxies would be called random")
    # An alias is no second proxy.
    assert prepare(replace(SMALL, proxy=("ours", "ddm"), out=tmp_path)).proxies == ("ours",)


def test_a_whole_set_table_of_another_recipe_or_split_is_refused(finished, tmp_path):
    table = finished.table.path
    config = replace(SMALL, whole_table=table, out=tmp_path)
    refused(replace(config, recipe="short-1"), "accuracies of quick-whole-1, which are not comparable with short-1")
    refused(replace(config, validation=20), "with 30 validation images per class")
    refused(replace(config, resolution=16), "is of digits")
    refused(replace(config, whole_table=finished.records.path), "rows of proxies")
    before = table.read_bytes()
    (tmp_path / "cut.csv").write_bytes(before[:-20])
    refused(replace(config, whole_table=tmp_path / "cut.csv"), "damaged")
    assert table.read_bytes() == before


def test_rows_of_another_machine_are_merged_and_not_trained_again(finished, tmp_path):
    survey = surveyed(replace(SMALL, out=tmp_path))
    run(survey, (finished.records.path,))
    mine, theirs = rows_of(tmp_path / "results.csv"), rows_of(finished.records.path)
    assert len(mine) == 10
    assert mine["seconds"].tolist() == theirs[theirs["cell"].isin(mine["cell"])]["seconds"].tolist()
    # The table takes the whole set's rows of all architectures.
    assert len(rows_of(survey.table.path)) == 7
    run(survey, (finished.records.path, finished.table.path))
    assert len(rows_of(tmp_path / "results.csv")) == 10


def test_rows_that_do_not_belong_are_not_merged(finished, tmp_path):
    survey = surveyed(replace(SMALL, validation=20, out=tmp_path))
    with pytest.raises(ValueError, match="with 30 validation images per class"):
        run(survey, (finished.records.path,))
    survey = replace(surveyed(replace(SMALL, seed=1, out=tmp_path)), whole_name="short-1")
    with pytest.raises(ValueError, match="were the flags the same"):
        run(survey, (finished.records.path,))
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="another schema"):
        run(survey, (tmp_path / "other.csv",))
    assert not (tmp_path / "results.csv").exists()


def test_what_cannot_be_merged_is_said_before_anything_is_condensed(finished, tmp_path):
    rows = finished.records.path.read_text().splitlines(keepends=True)
    path, config = tmp_path / "rows.csv", replace(SMALL, merge=(tmp_path / "rows.csv",), out=tmp_path / "out")
    for content, words in (
        ("", "has no rows|another schema"),
        (rows[0], "it has no rows; leave it out, or copy it again"),
        ("".join(row for row in rows if ",whole," not in row).replace(",random,", ",dm,"), "were the flags the same"),
        ("".join(row for row in rows if ",random," not in row).replace("quick-whole-1", "short-1"), "were the flags"),
    ):
        path.write_text(content)
        refused(config, words)
    assert not list(tmp_path.glob("out/**/*.safetensors"))


def test_flags_that_a_memory_file_has_no_use_for_are_refused(tmp_path):
    path = memory(tmp_path, validation=30)
    config = replace(SMALL, proxy=(str(path),), ipc=None, out=tmp_path / "out")
    for changed, words in (
        ({"ipc": 2}, "^--ipc is for condensers, and memory files have a size of their own: leave it out"),
        ({"memories": 2}, "^--memories is for condensers, and no --proxy is one"),
        ({"store": "uint8"}, "^--store is for condensing, and no --proxy is condensed here"),
    ):
        refused(replace(config, **changed), words)
    assert prepare(config).ipc == 3
    assert prepare(replace(config, proxy=(str(path), "early"), ipc=2, memories=2)).memory_replicates == 2


@pytest.mark.parametrize(
    ("strategy", "whole"),
    [("color_crop_cutout_scale_rotate", "crop"), ("color_crop_cutout_flip_scale_rotate", "standard")],
)
def test_a_recipe_flips_only_what_may_be_flipped(strategy, whole, digits):
    dataset = replace(digits, augmentation=strategy)
    largest = "ConvNet-W32-D2-IN-ReLU-Avg"
    setup = Setup(Nas(epochs=3), QUICK, torch.device("cpu"), dataset)
    training = setup.whole_training(WHOLE_TRAININGS["paper-200"], largest)
    assert (training.augmentation, training.epochs, training.batch) == (whole, 200, 256), "no flag changes a recipe"


def test_a_csv_of_another_schema_is_left_alone(tmp_path):
    (tmp_path / "results.csv").write_text("a,b\n1,2\n")
    refused(replace(SMALL, out=tmp_path), "another schema")
    assert (tmp_path / "results.csv").read_text() == "a,b\n1,2\n"


def test_a_default_that_is_spelled_out_finds_the_networks_of_the_default(tmp_path):
    short = replace(SMALL, ipc=None, epochs=None, proxy=("random",), out=tmp_path)
    usual, spelled = prepare(short), prepare(replace(short, epochs=SURVEYS[QUICK.name].epochs))
    assert usual.protocol != spelled.protocol, "it is marked in the rows"
    make_memories(usual)
    assert [one.key for one in candidates(usual, proxies(usual))] == [
        one.key for one in candidates(spelled, proxies(spelled))
    ]


def test_a_table_that_holds_a_cell_twice_is_taken_once(finished, tmp_path):
    twice = tmp_path / "twice.csv"
    header, *lines = finished.table.path.read_text().splitlines(keepends=True)
    twice.write_text("".join([header, *lines, *lines]))
    survey = surveyed(replace(SMALL, out=tmp_path / "out", whole_table=twice))
    run(survey)
    assert not rows_of(tmp_path / "out" / "results.csv")["cell"].duplicated().any()


def written(column: str, text: str):
    """What writes a text into the second row."""
    return lambda rows: rows.assign(**{column: [text if place == 1 else own for place, own in enumerate(rows[column])]})


DAMAGE = {
    "a row twice": (lambda rows: pd.concat([rows, rows.tail(1).assign(seconds="9.0")]), "is there more than once"),
    "nan": (written("validation_accuracy", "nan"), "holds validation_accuracy = nan, not 0 to 1"),
    "infinite": (written("test_accuracy", "inf"), "holds test_accuracy = inf, not 0 to 1"),
    "negative": (written("test_accuracy", "-7.0"), "holds test_accuracy = -7, not 0 to 1"),
    "negative count": (written("epochs", "-7"), "its epochs is -7, which is not from 0"),
    "no time": (written("seconds", "nan"), "holds seconds = nan, not 0 or more"),
    "state": (written("status", "fine"), "holds status = 'fine', which there is not"),
    "NUL for a number": (written("test_accuracy", "\0"), "it holds bytes that are no text"),
    "NUL in a text": (written("architecture", "Conv\0Net"), "it holds bytes that are no text"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_rows_are_refused_wherever_they_come_from(damage, finished, tmp_path):
    change, words = DAMAGE[damage]
    own, foreign = tmp_path / "own" / "results.csv", tmp_path / "foreign.csv"
    own.parent.mkdir()
    rows = pd.read_csv(finished.out / "results.csv", dtype=str, keep_default_na=False)
    for path in (own, foreign):
        change(rows).to_csv(path, index=False)
    whole = tmp_path / "whole.csv"
    change(rows[rows["proxy"] == "whole"]).to_csv(whole, index=False)
    for config in (
        replace(SMALL, out=own.parent),
        replace(SMALL, out=tmp_path / "other", merge=(foreign,)),
        replace(SMALL, out=tmp_path / "other", whole_table=whole),
        replace(SMALL, out=own.parent, subset=None, search=("random",)),
    ):
        with pytest.raises(ValueError, match="is damaged") as caught:
            main(config)
        assert words in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "other" / "results.csv").exists()


def test_a_row_that_is_missing_is_made_again(finished, tmp_path):
    shutil.copytree(finished.out, tmp_path / "out")
    path = tmp_path / "out" / "results.csv"
    header, _, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join([header, *others]))
    run(surveyed(replace(SMALL, out=tmp_path / "out")))
    mine, theirs = (
        rows_of(each).drop(columns=["seconds", "commit"]).sort_values("cell", ignore_index=True)
        for each in (path, finished.out / "results.csv")
    )
    pd.testing.assert_frame_equal(mine, theirs)


def test_the_committed_rows_are_whole(unpublished):
    files = [*unpublished.glob("whole_*.csv"), *unpublished.glob("*/results.csv")]
    assert len(files) >= 5
    for path in files:
        assert read_networks(Records(path, NetworkRow))
