"""The command on real memories of digits: its rows, its summaries, its resumption and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from scipy import stats

from condensers.memory import Memory, load_memory, save_memory
from harness.analyse import drift, figures
from harness.analyse.__main__ import main
from harness.analyse.flags import Analyse
from harness.analyse.report import origins
from harness.analyse.running import prepare
from harness.condense.__main__ import main as condense
from harness.condense.flags import Condense
from harness.core.records import Records
from harness.core.rows import MeasureRow
from harness.evaluate.__main__ import main as evaluate
from harness.evaluate.flags import Evaluate
from harness.evidence.figures import COLOURS
from harness.evidence.ranking import crossed

NETWORK = "ConvNet-W4-D1"
NAMES = ("random", "herding", "dm")


@pytest.fixture(scope="module")
def memories(tmp_path_factory):
    out = tmp_path_factory.mktemp("memories")
    for replicate in range(2):
        condense(
            Condense(condensers=NAMES, ipc=3, iterations=2, real_batch=8, network=NETWORK, replicate=replicate, out=out)
        )
    return tuple(sorted(out.glob("*.safetensors")))


@pytest.fixture(scope="module")
def scores(memories, tmp_path_factory):
    out = tmp_path_factory.mktemp("scores")
    evaluate(Evaluate(memories=memories, network=NETWORK, epochs=4, networks=2, out=out))
    return out / "results.csv"


@pytest.fixture(scope="module")
def done(memories, scores, tmp_path_factory):
    base = next(path for path in memories if path.name.startswith("herding"))
    config = Analyse(
        memories=memories,
        network=NETWORK,
        networks=2,
        epochs=2,
        scores=(scores,),
        drift_from=base,
        out=tmp_path_factory.mktemp("analyse"),
    )
    main(config)
    return config


def rows(config):
    return Records(config.out / "results.csv", MeasureRow).read()


def test_every_memory_has_every_measure_of_every_network(done):
    found = rows(done)
    own = found[found["condenser"] != "real"]
    measured = own[~own["metric"].str.startswith("accuracy")]
    counts = measured.groupby("memory_checksum")["metric"].value_counts().unstack()
    assert len(counts) == 6
    textures = ["GLCM dissimilarity", "GLCM entropy"]
    assert (counts[textures] == 1).all(axis=None)
    assert (counts.drop(columns=textures) == 2).all(axis=None)
    assert found[found["condenser"] == "real"]["memory_replicate"].nunique() == 3
    drifts = own[own["metric"].str.startswith("accuracy")]
    assert len(drifts) == 6 * len(drift.RATIOS) * 2
    assert drifts["value"].between(0, 1).all()


def test_without_drift_all_targets_give_the_same_networks(done):
    found = rows(done)
    still = found[found["metric"] == "accuracy at drift 0"]
    assert (still.groupby("network_replicate")["value"].nunique() == 1).all()


def test_summaries_are_means_over_memories(done):
    summary = pd.read_csv(done.out / "analysis.csv").set_index(["condenser", "metric"])
    found = rows(done)
    means = found.groupby(["condenser", "metric", "memory_replicate"])["value"].mean().groupby(level=[0, 1]).mean()
    for key in (("dm", "style gap"), ("random", "loss of dm"), ("real", "GLCM entropy")):
        assert summary.loc[key, "mean"] == pytest.approx(means[key])


def test_the_own_style_is_the_control_and_no_replicate_of_another_memory_s(done):
    table, found = pd.read_csv(done.out / "drift.csv"), rows(done)
    own = load_memory(done.drift_from).checksum
    base = found[(found["metric"] == "accuracy at drift 1") & (found["memory_checksum"] == own)]
    lines = table[table["metric"] == "accuracy at drift 1"].set_index("condenser")
    control = f"{base['condenser'].iloc[0]} (control)"
    assert set(lines.index) == {*NAMES, control}
    assert lines.loc[control, "mean"] == pytest.approx(base["value"].mean())
    assert lines["n"].sum() == 6
    # Nothing drifts, so there is one run whatever it would drift to, and no interval.
    still = table[table["metric"] == "accuracy at drift 0"]
    assert still["n"].eq(1).all()
    assert still["low"].isna().all()
    assert still["mean"].nunique() == 1


def test_correlations_are_those_of_losses_and_accuracies(done, scores):
    found = pd.read_csv(done.out / "correlations.csv")
    accuracy = pd.read_csv(scores).groupby("memory_checksum")["value"].mean()
    loss = rows(done).query("metric == 'loss of dm'").groupby("memory_checksum")["value"].mean()
    both = pd.concat([-loss, accuracy], axis=1, join="inner")
    line = found[(found["loss"] == "dm") & (found["over"] == "memories")].iloc[0]
    assert line["n"] == 6
    assert line["spearman"] == pytest.approx(stats.spearmanr(both).statistic)


def test_figures_are_drawn(done):
    for name in ("style", "diversity", "texture", "drift", "loss-dm", "loss-readout"):
        assert (done.out / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_images_have_places_beside_the_numbers_of_their_measures(done):
    places = pd.read_csv(done.out / "tsne.csv")
    assert places.groupby(["metric", "condenser"]).size().to_dict() == {
        (metric, name): 100 if name == "real" else 3
        for metric in ("style gap", "diversity")
        for name in ("real", *NAMES)
    }
    assert set(places["class"].astype(str)) == {"0"}
    means = pd.read_csv(done.out / "analysis.csv").set_index(["metric", "condenser"])["mean"]
    for key, own in places.groupby(["metric", "condenser"])["value"]:
        assert own.tolist() == pytest.approx([means[key]] * len(own), nan_ok=True)


def test_intervals_over_memories_know_their_condensers_and_draws(done, scores):
    found = pd.read_csv(done.out / "correlations.csv").query("over == 'memories' and loss == 'dm'").iloc[0]
    own = rows(done).query("metric == 'loss of dm'")
    loss = own.groupby("memory_checksum")["value"].mean()
    origins = own.drop_duplicates("memory_checksum").set_index("memory_checksum")[["condenser", "memory_replicate"]]
    accuracy = pd.read_csv(scores).groupby("memory_checksum")["value"].mean()
    expected = crossed(-loss, accuracy, origins)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), nan_ok=True)


def test_memories_of_one_seed_share_a_draw(done):
    shared = origins(prepare(done).subjects).query("condenser != 'real'")
    assert shared.groupby("draw")["condenser"].agg(set).tolist() == [set(NAMES)] * 2


def test_losses_of_several_sizes_are_not_one_correlation(done, tmp_path):
    condense(Condense(condensers=("random",), ipc=1, replicate=0, out=tmp_path))
    other = next(tmp_path.glob("*.safetensors"))
    with pytest.raises(ValueError, match="the memories have 1 and 3 images per class: with --scores give those of one"):
        main(replace(done, memories=(*done.memories, other), drift_from=None, out=tmp_path / "out"))


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"epochs": 2, "networks": 2}, "accuracies of several networks or protocols"),
        ({"epochs": 4, "networks": 1}, "more than one score of the memory"),
    ],
)
def test_accuracies_of_several_trainings_are_not_averaged(done, memories, scores, training, message, tmp_path):
    evaluate(Evaluate(memories=memories, network=NETWORK, out=tmp_path, **training))
    with pytest.raises(ValueError, match=message):
        main(replace(done, scores=(scores, tmp_path / "results.csv"), out=tmp_path / "out"))


def test_accuracies_of_which_older_rows_say_less_are_of_one_training(done, scores, tmp_path):
    header, *rows = scores.read_text().splitlines(keepends=True)
    said = f"+network={NETWORK}-IN-ReLU-Avg+epochs=4"
    assert said in rows[-1]
    path, older = tmp_path / "results.csv", [row.replace(said, "+") for row in rows[:2]]
    path.write_text("".join([header, *older, *rows[2:]]))
    main(replace(done, scores=(path,), out=tmp_path / "out"))
    assert (tmp_path / "out" / "correlations.csv").read_bytes() == (done.out / "correlations.csv").read_bytes()


def test_a_condenser_looks_the_same_in_every_figure():
    marked = figures.marks(["real", "b", "a", "b", "real"], "real")
    assert list(marked) == ["real", "b", "a"]
    assert marked["real"]["color"] not in COLOURS
    assert marked["b"] == figures.marks(["b", "a", "c"], "real")["b"]


def test_the_same_command_again_measures_nothing(done):
    before = (done.out / "results.csv").read_bytes()
    main(done)
    assert (done.out / "results.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"memories": ()}, "no memories given"),
        ({"network": "AlexNet"}, "AlexNet|ConvNet only"),
        ({"scores": (Path("no.csv"),)}, "there is no file no.csv"),
        ({"memories": (Path("no.safetensors"),)}, "no.safetensors"),
    ],
)
def test_mistakes_are_said_before_any_work(done, change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        main(replace(done, **change, out=tmp_path))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda rows: rows.drop(index=0), "lacks, or has too often, GLCM dissimilarity of network 0"),
        (lambda rows: rows.drop(index=4), "of network 0 ConvNet-W4-D1"),
        (lambda rows: pd.concat([rows, rows.iloc[[2]]]), "lacks, or has too often, style gap"),
        (lambda rows: rows.assign(value=rows["value"].mask(rows.index == 0, "nan")), "holds GLCM dissimilarity = nan"),
        (lambda rows: rows.assign(value=rows["value"].mask(rows.index == 4, "nan")), "holds loss of dm = nan, "),
        (lambda rows: rows.assign(value=rows["value"].mask(rows.index == 4, "inf")), "holds loss of dm = inf, "),
        (lambda rows: rows.assign(metric=rows["metric"].mask(rows.index == 3, "style")), "lacks, or has too often"),
        (lambda rows: rows.assign(network=rows["network"].mask(rows.index == 3, "x")), "lacks, or has too often"),
        (
            lambda rows: rows.assign(network_replicate=rows["network_replicate"].mask(rows.index == 3, "9")),
            "diversity of network 0",
        ),
        (lambda rows: rows.assign(condenser=rows["condenser"].mask(rows.index == 3, "x")), "differ in condenser"),
        (lambda rows: rows.assign(memory_checksum="0" * 16), "is not of the memory"),
        (lambda rows: rows[~rows["metric"].str.endswith("drift 0.5") | (rows.index % 2 == 0)], "at drift 0.5"),
        (lambda rows: rows.assign(value=rows["value"].mask(rows["metric"].str.endswith("drift 1"), "nan")), "= nan"),
    ],
)
def test_damaged_rows_are_never_averaged(done, damage, words, tmp_path):
    rows = pd.read_csv(done.out / "results.csv", dtype=str, keep_default_na=False)
    damage(rows).to_csv(tmp_path / "results.csv", index=False, lineterminator="\n")
    with pytest.raises(ValueError, match="is damaged") as caught:
        main(replace(done, out=tmp_path))
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda rows: rows.drop(index=0), "of networks 1, not of 0 to 0"),
        (lambda rows: pd.concat([rows, rows.head(1)]), "of networks 0, 0, 1, not of 0 to 2 once each"),
        (lambda rows: rows.assign(value=rows["value"].mask(rows.index == 0, "nan")), "= nan, not 0 to 1"),
        (lambda rows: rows.assign(value=rows["value"].mask(rows.index == 0, "-7.0")), "= -7, not 0 to 1"),
        (lambda rows: pd.concat([rows, rows.head(2).assign(cell="0" * 16)]), "more than one score of the memory"),
    ],
)
def test_damaged_scores_are_never_correlated(done, scores, damage, words, tmp_path):
    path = tmp_path / "scores.csv"
    damage(pd.read_csv(scores, dtype=str)).to_csv(path, index=False, lineterminator="\n")
    with pytest.raises(ValueError, match=words):
        main(replace(done, scores=(path,), out=tmp_path))


def test_scores_that_two_files_say_alike_are_one(done, scores, tmp_path):
    path = tmp_path / "again.csv"
    path.write_bytes(scores.read_bytes())
    before = (done.out / "correlations.csv").read_bytes()
    main(replace(done, scores=(scores, path)))
    assert (done.out / "correlations.csv").read_bytes() == before


def test_memories_that_were_made_otherwise_or_with_another_seed_are_no_networks_of_one(memories, tmp_path, capsys):
    makings = {"iterations": 5}, {"seed": 1}
    others = []
    for number, flags in enumerate(makings):
        out = tmp_path / str(number)
        own = {"iterations": 2} | flags
        condense(Condense(condensers=("dm",), ipc=3, real_batch=8, network=NETWORK, out=out, **own))
        others += out.glob("*.safetensors")
    (first,) = (path for path in memories if path.name.startswith("dm-") and "replicate0" in path.name)
    main(Analyse(memories=(first, *others), network=NETWORK, networks=2, out=tmp_path))
    found = pd.read_csv(tmp_path / "analysis.csv")
    counts = found[found["metric"] == "style gap"].set_index("condenser")["n"]
    assert counts.to_dict() == {"dm, iterations=2": 2, "dm, iterations=5": 1, "real": 3}
    assert "dm, iterations=5" in capsys.readouterr().out


def test_a_file_called_as_the_real_images_are_is_refused(memories, tmp_path, digits):
    memory = load_memory(memories[0], digits.train)
    torch.save([memory.images, memory.labels], tmp_path / "real.pt")
    with pytest.raises(ValueError, match=r"real.pt goes by the name real, as samples of real images do: rename it$"):
        main(Analyse(memories=(tmp_path / "real.pt",), dataset="digits", network=NETWORK, out=tmp_path / "out"))


def test_one_memory_under_two_names_is_refused_and_a_new_name_needs_new_rows(memories, tmp_path, digits):
    memory = load_memory(memories[0], digits.train)
    first, second = (tmp_path / f"{name}.pt" for name in ("first", "second"))
    torch.save([memory.images, memory.labels], first)
    second.write_bytes(first.read_bytes())
    config = Analyse(memories=(first,), dataset="digits", network=NETWORK, networks=1, out=tmp_path / "out")
    with pytest.raises(ValueError, match=r"first.pt and .*second.pt hold the same memory"):
        main(replace(config, memories=(first, second)))
    main(config)
    with pytest.raises(ValueError, match=r"second.pt is in .*results.csv as first, not as second"):
        main(replace(config, memories=(second,)))


def published(path: Path, memory: Path, digits, raw: bool) -> Path:
    """The images of a memory as another project publishes them: normalised as here, or from 0 to 1."""
    made = load_memory(memory, digits.train)
    images = digits.train.denormalise(made.images) if raw else made.images
    torch.save([images, made.labels], path)
    return path


def test_published_pixels_that_look_wrong_are_told_and_mended_on_request(memories, digits, tmp_path, capsys):
    # Of real images, for pixels that were made may leave the range from 0 to 1.
    (own,) = (path for path in memories if path.name.startswith("random-") and "replicate0" in path.name)
    config = Analyse(dataset="digits", network=NETWORK, networks=1, out=tmp_path)
    raw, normal = (published(tmp_path / f"{raw}.pt", own, digits, raw) for raw in (True, False))
    main(replace(config, memories=(normal,)))
    assert "warning" not in capsys.readouterr().out
    prepare(replace(config, memories=(own,), drift_from=raw, out=tmp_path / "drift"))
    said = capsys.readouterr().out
    assert f"warning: {raw}: its pixels go from 0 to 1" in said
    assert said.rstrip().endswith("(0 and 1 for pixels from 0 to 1, 0 and 0.00392157 for pixels from 0 to 255)")
    main(replace(config, memories=(raw,), mean=(0.0,), std=(1.0,), out=tmp_path / "mended"))
    assert "warning" not in capsys.readouterr().out
    gaps = [
        pd.read_csv(out / "analysis.csv").query("metric == 'style gap' and condenser != 'real'")["mean"].item()
        for out in (tmp_path, tmp_path / "mended")
    ]
    assert gaps[1] == pytest.approx(gaps[0], rel=1e-3)


def test_what_does_not_go_with_published_files_is_refused(memories, digits, tmp_path):
    theirs = published(tmp_path / "theirs.pt", memories[0], digits, raw=False)
    config = Analyse(memories=(theirs,), dataset="digits", network=NETWORK, out=tmp_path)
    for changed, words in (
        ({"mean": (0.0,)}, "--mean and --std go together: give both"),
        ({"memories": memories, "mean": (0.0,), "std": (1.0,)}, "--mean and --std are for published .pt files"),
        ({"memories": memories, "set": 1}, "--set is for published .pt files"),
        ({"set": 1}, "there is no set 1"),
    ):
        with pytest.raises(ValueError, match=words):
            prepare(replace(config, **changed))
    made = load_memory(memories[0], digits.train)
    torch.save([made.images, torch.nn.functional.one_hot(made.labels) * 0.9 + 0.01], theirs)
    with pytest.raises(ValueError, match=r"it has soft labels, which only python -m harness.evaluate trains on"):
        prepare(config)


def test_memories_must_have_as_many_images_of_every_class(tmp_path, digits):
    labels = torch.tensor([*range(10), 0])
    made = Memory(torch.zeros(11, 1, 8, 8), labels, {"dataset": "digits", "dataset_checksum": digits.checksum})
    save_memory(made, tmp_path / "odd.safetensors")
    with pytest.raises(ValueError, match="not class-balanced: 1 to 2 images"):
        main(Analyse(memories=(tmp_path / "odd.safetensors",), out=tmp_path))
