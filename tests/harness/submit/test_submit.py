"""Submissions of real memories of digits: rows, leagues that are derived, and what is refused."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from condensers.memory import Memory, load_memory, save_memory
from harness.condense.__main__ import main as condense
from harness.condense.flags import Condense
from harness.core.protocols import QUICK
from harness.core.records import Records
from harness.core.rows import SubmissionRow
from harness.core.schema import ScoreRow
from harness.core.scoring import scoring_of, seeds_of
from harness.core.settings import Setup
from harness.core.stored import Stored
from harness.report.__main__ import main as report
from harness.report.flags import Report
from harness.submit.__main__ import main
from harness.submit.checks import copies_of_test
from harness.submit.flags import Submit
from harness.submit.submitting import seeded


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    out = tmp_path_factory.mktemp("memories")
    for replicate in range(2):
        made = Condense(condensers=("dm", "m3d"), ipc=2, iterations=2, real_batch=8, network="ConvNet-W4-D1")
        condense(replace(made, replicate=replicate, out=out))
    return {name: tuple(sorted(out.glob(f"{name}-*.safetensors"))) for name in ("dm", "m3d")}


@pytest.fixture(scope="module")
def published(files, tmp_path_factory):
    """The first memory as another project would publish it."""
    path = tmp_path_factory.mktemp("published") / "theirs.pt"
    memory = load_memory(files["dm"][0])
    torch.save({"data": [[memory.images, memory.labels]]}, path)
    return path


def entry(path, **more):
    paths = path if isinstance(path, tuple) else (path,)
    return Submit(memories=paths, networks=1, dataset="digits", **({"method": "mine"} | more))


def test_a_row_for_each_memory_and_its_scores_beside(files, tmp_path):
    main(entry(files["dm"], out=tmp_path, cost_minutes=1.5, hardware="a laptop", paper="Us, This, 2026"))
    rows = Records(tmp_path / "submissions.csv", SubmissionRow).rows()
    scores = Records(tmp_path / "results.csv", ScoreRow).rows()
    assert [row.memory_replicate for row in rows] == [0, 1]
    assert {row.league for row in rows} == {"strict"}
    assert {(row.method, row.cost_minutes, row.hardware, row.paper) for row in rows} == {
        ("mine", 1.5, "a laptop", "Us, This, 2026")
    }
    assert {row.cell: row.accuracy for row in rows} == {score.cell: score.value for score in scores}
    assert [row.memory_checksum for row in rows] == [load_memory(path).checksum for path in files["dm"]]


def test_replicates_of_a_published_method_have_networks_of_their_own(files, digits):
    scoring = scoring_of(Setup(entry(()), QUICK, torch.device("cpu"), digits))
    memories = [replace(load_memory(path), metadata={}) for path in files["dm"]]
    first, second = (seeds_of(scoring, seeded(Stored(Path("x.pt"), memory)).memory) for memory in memories)
    assert set(first).isdisjoint(second)
    own = load_memory(files["dm"][0])
    assert seeded(Stored(files["dm"][0], own)).memory.metadata["seed"] == own.metadata["seed"]


def test_the_same_again_adds_nothing_and_another_name_is_refused(files, tmp_path):
    config = entry(files["dm"][0], out=tmp_path)
    main(config)
    before = (tmp_path / "submissions.csv").read_bytes()
    main(config)
    assert (tmp_path / "submissions.csv").read_bytes() == before
    with pytest.raises(ValueError, match="entered already, as 'mine'"):
        main(replace(config, method="theirs"))


def test_what_decodes_to_more_is_in_the_open_league(files, tmp_path):
    with pytest.raises(ValueError, match="open league, not strict: it decodes several images from a stored one"):
        main(entry(files["m3d"][0], out=tmp_path, league="strict"))
    assert not (tmp_path / "submissions.csv").exists()


@pytest.mark.parametrize(("said", "league"), [("no", "strict"), ("yes", "open")])
def test_a_published_set_is_in_the_league_that_its_making_says(published, tmp_path, said, league):
    main(entry(published, out=tmp_path, trained_on_real=said, league=league))
    (row,) = Records(tmp_path / "submissions.csv", SubmissionRow).rows()
    assert (row.league, row.trained_on_real, row.file) == (league, said == "yes", "theirs.pt")


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("store", ["float32", "uint8"])
def test_test_images_are_refused(digits, tmp_path, mirrored, store):
    chosen = torch.stack([(digits.test.labels == label).nonzero()[0, 0] for label in range(10)])
    images = digits.test.normalise(digits.test.images[chosen])
    memory = Memory(
        images.flip(-1) if mirrored else images,
        digits.test.labels[chosen],
        {"dataset": "digits", "dataset_checksum": digits.checksum, "trained_on_real": False},
    )
    save_memory(memory, tmp_path / "test.safetensors", store)
    with pytest.raises(ValueError, match="holds 10 images of the test set, the first at 0"):
        main(entry(tmp_path / "test.safetensors", out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_training_images_and_made_ones_are_no_copies(files, digits):
    images = digits.train.normalise(digits.train.images[:300])
    assert not copies_of_test(images, digits).any()
    assert not copies_of_test(load_memory(files["dm"][0]).images, digits).any()
    test = digits.test.normalise(digits.test.images[:20])
    train = replace(
        digits.train,
        images=torch.cat([digits.test.images[:5], digits.train.images]),
        labels=torch.cat([digits.test.labels[:5], digits.train.labels]),
    )
    both = replace(digits, train=train)
    assert copies_of_test(test, both).tolist() == [False] * 5 + [True] * 15  # what both splits hold is no cheat


def test_more_images_of_one_class_are_refused(digits, tmp_path):
    # Groups may say so honestly; the row would still have the images per class of the smallest.
    labels = torch.tensor([*range(10), 3, 3])
    images = digits.train.normalise(digits.train.images[: len(labels)])
    about = {"dataset": "digits", "dataset_checksum": digits.checksum, "trained_on_real": False}
    groups = {"groups": [[[3], 3], [[label for label in range(10) if label != 3], 1]]}
    save_memory(Memory(images, labels, about | {"config": groups}), tmp_path / "odd.safetensors")
    with pytest.raises(ValueError, match="has 1 to 3 images of a class"):
        main(entry(tmp_path / "odd.safetensors", out=tmp_path / "out"))


def test_the_same_memory_twice_is_refused(files, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(files["dm"][0].read_bytes())
    with pytest.raises(ValueError, match="a replicate is another memory"):
        main(entry((files["dm"][0], copy), out=tmp_path / "out"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "My Method"}, "give a name of small letters"),
        ({"paper": "two\nlines"}, "cannot be written into one line"),
        ({"network": "AlexNet"}, "scored by its protocol alone"),
        ({"seed": 7}, "scored by its protocol alone"),
        ({"trained_on_real": "yes"}, "says that it was not made by networks trained on real labels"),
        ({"memories": ()}, "no memories given"),
        ({"cost_minutes": float("inf")}, "--cost-minutes is inf; give at most"),
        ({"hardware": "x" * 10**6}, "has 1000000 letters; give at most 1000"),
    ],
)
def test_mistakes_are_said_before_any_training(files, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        main(replace(entry(files["dm"][0], out=tmp_path), **change))
    assert not (tmp_path / "results.csv").exists()


def test_a_published_set_must_say_how_it_was_made(published, tmp_path):
    with pytest.raises(ValueError, match="give --trained-on-real yes or no"):
        main(entry(published, out=tmp_path))


def test_memories_that_are_entered_one_by_one_have_numbers_of_their_own(files, tmp_path, capsys):
    for path in files["dm"]:
        main(entry(path, out=tmp_path))
    rows = Records(tmp_path / "submissions.csv", SubmissionRow).rows()
    assert [row.memory_replicate for row in rows] == [0, 1]
    before = (tmp_path / "submissions.csv").read_bytes()
    main(entry(files["dm"][::-1], out=tmp_path))
    assert (tmp_path / "submissions.csv").read_bytes() == before


def test_other_statements_about_what_is_entered_are_not_dropped_silently(files, tmp_path):
    config = entry(files["dm"][0], out=tmp_path, hardware="a laptop")
    main(config)
    main(replace(config, hardware=""))
    with pytest.raises(ValueError, match="entered already with another --paper and --hardware: delete its row"):
        main(replace(config, hardware="a cluster", paper="Us"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda rows: pd.concat([rows, rows]), "is there more than once"),
        (lambda rows: rows.assign(league="open"), "holds league = 'open', which does not follow"),
        (lambda rows: rows.assign(league="strikt"), "holds league = 'strikt', which does not follow"),
        (lambda rows: rows.assign(accuracy="0.5"), "in accuracy; "),
        (lambda rows: rows.assign(ipc_stored="9", ipc_decoded="9"), "in ipc_stored, ipc_decoded"),
        (lambda rows: rows.assign(memory_checksum="0" * 16), "in memory_checksum; "),
        (lambda rows: rows.assign(networks="7", network="x"), "in network, networks"),
    ],
)
def test_damaged_entries_are_neither_taken_nor_drawn(files, tmp_path, damage, words, capsys):
    config = entry(files["dm"][0], out=tmp_path)
    main(config)
    path = tmp_path / "submissions.csv"
    damage(pd.read_csv(path, dtype=str, keep_default_na=False)).to_csv(path, index=False, lineterminator="\n")
    with pytest.raises(ValueError, match="is damaged") as caught:
        main(config)
    assert words in str(caught.value)
    if not words.startswith("in "):  # what does not fit the scores is seen by who computes them
        report(Report(folders=(tmp_path,), out=tmp_path / "page"))
        assert words in capsys.readouterr().out
