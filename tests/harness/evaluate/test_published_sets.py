"""What others published, through the command: counted, compared, mended, and told when it looks wrong."""

import re
from dataclasses import replace

import pandas as pd
import pytest
import torch

from condensers.memory import Memory, load_memory
from harness.condense import __main__ as condense
from harness.condense.flags import Condense
from harness.continual.experiment import prepare
from harness.continual.flags import Continual
from harness.core.protocols import QUICK
from harness.core.records import Records
from harness.core.schema import ScoreRow
from harness.core.scoring import scoring_of, seeds_of
from harness.core.settings import Setup
from harness.evaluate import __main__ as evaluate
from harness.evaluate.flags import Evaluate

FLAGS = {"dataset": "digits", "networks": 2, "epochs": 2}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A memory of random images for each of two seeds."""
    out = tmp_path_factory.mktemp("own")
    for replicate in (0, 1):
        condense.main(Condense(condensers=("random",), ipc=2, replicate=replicate, out=out))
    return sorted(out.glob("*.safetensors"))


@pytest.fixture
def memory(own, digits):
    return load_memory(own[0], digits.train)


def test_published_sets_count_and_are_compared_with_the_first_and_with_our_own(own, memory, tmp_path, capsys):
    paths = tmp_path / "first.pt", tmp_path / "second.pt"
    torch.save({"data": [[memory.images, memory.labels]]}, paths[0])
    torch.save([[memory.images.flip(0), memory.labels.flip(0)]], paths[1])
    evaluate.main(Evaluate(memories=(*paths, *own), out=tmp_path, **FLAGS))
    lines = capsys.readouterr().out.splitlines()
    first, second, ours = (
        next(x for x in lines if x.lstrip().startswith(f"{n}, 2")) for n in ("first", "second", "random")
    )
    assert first.count("(n=1, no interval)") == 1
    assert second.count("(n=1, no interval)") == 2
    assert ours.count("n=2") == 2
    assert not any("n=0" in line for line in lines)
    assert any("what has no seed is compared as it is" in line for line in lines)


def test_soft_labels_are_trained_on_in_the_open_league_and_by_evaluate_alone(memory, tmp_path, capsys):
    soft = torch.nn.functional.one_hot(memory.labels, 10) * 0.9 + 0.01
    torch.save((memory.images, soft), tmp_path / "soft.pt")
    torch.save((memory.images, memory.labels), tmp_path / "hard.pt")
    paths = tmp_path / "soft.pt", tmp_path / "hard.pt"
    evaluate.main(Evaluate(memories=paths, out=tmp_path, **FLAGS | {"epochs": 15}))
    rows = Records(tmp_path / "results.csv", ScoreRow).read().groupby("condenser")
    said = rows["trained_on_real"].agg(lambda values: values.dropna().unique().tolist()).to_dict()
    assert said == {"hard": [], "soft": [True]}  # a file of hard labels does not say
    assert rows["value"].mean().min() > 0.2
    said = capsys.readouterr().out
    assert re.search("soft, 2 per class +open", said)
    assert re.search("hard, 2 per class +not said", said)
    assert rows["memory_checksum"].first().nunique() == 2
    with pytest.raises(ValueError, match=r"soft\.pt: it has soft labels"):
        prepare(Continual(memory=paths[:1], out=tmp_path))


def test_several_sets_in_a_file_are_told_and_each_can_be_asked_for(own, memory, tmp_path, capsys):
    path = tmp_path / "five.pt"
    torch.save({"data": [[memory.images + shift, memory.labels] for shift in (0.0, 0.25)]}, path)
    config = Evaluate(memories=(path,), out=tmp_path, **FLAGS)
    evaluate.main(config)
    assert f"note: {path} holds 2 sets, and number 0 is read" in capsys.readouterr().out
    evaluate.main(replace(config, set=1))
    rows = Records(tmp_path / "results.csv", ScoreRow).read().groupby("memory_replicate")
    assert rows["memory_checksum"].nunique().to_dict() == {0: 1, 1: 1}
    assert rows["memory_checksum"].first().nunique() == 2
    with pytest.raises(ValueError, match=r"five\.pt is not read: there is no set 2, for it holds 2, counted from 0"):
        evaluate.main(replace(config, set=2))
    with pytest.raises(ValueError, match="--set is for published"):
        evaluate.main(replace(config, memories=own, set=1))


def test_pixels_that_look_wrong_are_told_and_mended_on_request(memory, digits, tmp_path, capsys):
    raw = memory.images * digits.train.std[0] + digits.train.mean[0]
    path = tmp_path / "raw.pt"
    torch.save((raw, memory.labels), path)
    config = Evaluate(memories=(path,), out=tmp_path, **FLAGS)
    evaluate.main(config)
    assert "raw.pt: its pixels go from 0 to 1, normalised ones here from -0.81" in capsys.readouterr().out
    evaluate.main(replace(config, mean=(0.0,), std=(1.0,)))
    assert "warning" not in capsys.readouterr().out
    assert Records(tmp_path / "results.csv", ScoreRow).read()["memory_checksum"].nunique() == 2
    for flags, words in (({"mean": (0.0,)}, "go together"), ({"mean": (0.0, 1.0), "std": (1.0,)}, "2 means")):
        with pytest.raises(ValueError, match=words):
            evaluate.main(replace(config, **flags))


def test_normalisation_is_not_said_of_our_own_files(own, tmp_path):
    with pytest.raises(ValueError, match="say how they were normalised"):
        evaluate.main(Evaluate(memories=(own[0],), mean=(0.0,), std=(1.0,), out=tmp_path, **FLAGS))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda rows: pd.concat([rows, rows.tail(1)]), "of networks 0, 1, 1, not of 0 to 1 once each"),
        (lambda rows: rows.head(1), "of networks 0, not of 0 to 1 once each"),
        (lambda rows: rows.assign(network_replicate=[0, 7]), "of networks 0, 7"),
        (lambda rows: rows.assign(metric="another"), "has no rows of accuracy of ConvNet"),
        (lambda rows: rows.assign(value=["0.5", float("nan")]), "which is no number"),  # an empty field
        (lambda rows: rows.assign(value=["0.5", "nan"]), "= nan, not 0 to 1"),
        (lambda rows: rows.assign(value=["0.5", "inf"]), "= inf, not 0 to 1"),
        (lambda rows: rows.assign(value=["0.5", "1e999"]), "which no command writes"),
        (lambda rows: rows.assign(value=[0.5, -7]), "= -7, not 0 to 1"),
        (lambda rows: rows.assign(value=["0.5", "\0"]), "it holds bytes that are no text"),
    ],
)
def test_damaged_rows_are_never_averaged(own, tmp_path, damage, words):
    config = Evaluate(memories=(own[0],), out=tmp_path, **FLAGS)
    evaluate.main(config)
    path = tmp_path / "results.csv"
    damage(pd.read_csv(path, dtype=str)).to_csv(path, index=False)
    with pytest.raises(ValueError, match="is damaged") as caught:
        evaluate.main(config)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_what_may_have_seen_the_held_out_images_is_refused(own, memory, tmp_path):
    torch.save((memory.images, memory.labels), tmp_path / "hard.pt")
    unsaid, other = "does not say which images it was made from, so", "was not condensed from the 1052 .* so"
    for path, why in ((tmp_path / "hard.pt", unsaid), (own[0], other)):
        with pytest.raises(ValueError, match=rf"{path.name} {why} it may have seen"):
            evaluate.main(Evaluate(memories=(path,), validation=30, out=tmp_path, **FLAGS))
    condense.main(Condense(condensers=("random",), ipc=2, validation=30, out=tmp_path / "held"))
    (held,) = (tmp_path / "held").glob("*.safetensors")
    evaluate.main(Evaluate(memories=(held,), validation=30, out=tmp_path, **FLAGS))


def test_rows_of_a_memory_that_another_seed_drew_are_marked(own, tmp_path):
    condense.main(Condense(condensers=("random",), ipc=2, seed=7, out=tmp_path / "other"))
    (other,) = (tmp_path / "other").glob("*.safetensors")
    evaluate.main(Evaluate(memories=(own[0], other), out=tmp_path, **FLAGS))
    evaluate.main(Evaluate(memories=(other,), seed=7, out=tmp_path, **FLAGS))
    rows = Records(tmp_path / "results.csv", ScoreRow).read()
    known = ["quick-1+epochs=2", "quick-1+epochs=2+memory_seed=7", "quick-1+epochs=2+seed=7"]
    assert rows["protocol"].drop_duplicates().tolist() == known


def test_replicates_of_a_published_set_have_networks_of_their_own(memory, digits):
    scoring = scoring_of(Setup(Evaluate(**FLAGS), QUICK, torch.device("cpu"), digits))
    sets = [Memory(memory.images, memory.labels, {"memory_replicate": number}) for number in (0, 1)]
    first, second = (seeds_of(scoring, one) for one in sets)
    assert set(first).isdisjoint(second)
