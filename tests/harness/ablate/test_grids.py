"""Ablations: the scores of the commands that they are made of, paired with the grid's base, on held-out images."""

from dataclasses import replace

import pandas as pd
import pytest

from condensers import registry
from condensers.core.grids import Grid
from condensers.memory import load_memory
from harness.ablate.__main__ import main
from harness.ablate.flags import Ablate
from harness.ablate.grids import SHARE, prepare
from harness.table.__main__ import main as table
from harness.table.flags import Table
from scenarios.datasets import load
from scenarios.files import CIFAR10

from ...scenarios.on_disk import write_cifar

SMALL = Ablate(
    grid=("components", "blocks"),
    ipc=3,
    network="ConvNet-W4-D2",
    iterations=3,
    real_batch=8,
    epochs=3,
    memories=2,
    networks=2,
)
NAMES = ("dm", "dm+mm", "dm+cm", "dm+sm", "dm+icd", "ours", "dm+sm-block1", "dm+sm-block2")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    config = replace(SMALL, out=tmp_path_factory.mktemp("ablate"))
    main(config)
    return config


@pytest.fixture
def lines(done):
    return pd.read_csv(done.out / "ablate.csv", keep_default_na=False)


def test_a_line_for_every_variant_that_the_network_has_the_blocks_for(done, lines):
    assert lines["variant"].tolist() == ["DM", "DM+MM", "DM+CM", "DM+MM+CM", "DM+ICD", "all", "none", "1", "2", "all"]
    assert lines["condenser"].tolist() == [*NAMES[:6], "dm", "dm+sm-block1", "dm+sm-block2", "dm+sm"]
    assert set(lines["paper"]) == {"DDM, Figure 3a", "DDM, Table 8"}
    assert (lines["memories"] == 2).all()
    assert (lines["networks"] == 2).all()
    assert (lines["flop"] > 0).all()
    assert (done.out / "ablate.png").read_bytes().startswith(b"\x89PNG")
    rows = pd.read_csv(done.out / "results.csv")
    assert len(rows) == 8 * 2 * 2, "what two grids share is made and scored once"


def test_every_variant_is_made_in_one_lockstep_run_from_images_that_are_not_scored(done, lines, digits):
    held_out = digits.hold_out(int(digits.train.labels.bincount().min()) // SHARE)
    assert set(lines["scored on"]) == {"validation"}
    memories = [load_memory(path, held_out.train) for path in done.out.glob("memories/*.safetensors")]
    assert len(memories) == 8 * 2
    assert {memory.metadata["dataset_checksum"] for memory in memories} == {held_out.checksum}
    assert {memory.metadata["cost"]["recipes"] for memory in memories} == {8}


def test_differences_are_paired_by_memory(done, lines):
    rows = pd.read_csv(done.out / "results.csv")
    means = rows.groupby(["condenser", "memory_replicate"])["value"].mean()
    for line in lines.to_dict("records"):
        own, base = means[line["condenser"]], means["dm"]
        assert line["accuracy"] == pytest.approx(own.mean())
        assert line["difference"] == pytest.approx((own - base).mean())
        half = 12.706204736 * (own - base).std() / 2**0.5  # Student's t for two memories
        expected = (line["difference"] - half, line["difference"] + half)
        assert (line["difference_low"], line["difference_high"]) == pytest.approx(expected)


def test_scores_are_those_of_the_table_command(done, lines, tmp_path, digits):
    held = int(digits.train.labels.bincount().min()) // SHARE
    shared = {name: getattr(SMALL, name) for name in ("real_batch", "epochs", "memories", "networks")}
    shared |= {"iterations": (SMALL.iterations,), "network": (SMALL.network,), "out": tmp_path}
    table(Table(condensers=NAMES, ipc=(3,), validation=held, **shared))
    theirs, ours = (pd.read_csv(out / "results.csv").set_index("cell")["value"] for out in (tmp_path, done.out))
    pd.testing.assert_series_equal(theirs.sort_index(), ours.sort_index())


def test_the_same_command_again_only_reports(done, capsys):
    before = {path: path.read_bytes() for path in done.out.glob("*.csv")}
    main(done)
    said = capsys.readouterr().out
    assert {path: path.read_bytes() for path in done.out.glob("*.csv")} == before
    assert "grid blocks: without 3, for the network has 2 blocks" in said
    assert "percent on held-out training images" in said
    assert "above DM" in said
    main(replace(done, dry_run=True))
    assert "scores     0 cells" in capsys.readouterr().out


def test_a_plan_makes_nothing(tmp_path, capsys):
    main(replace(SMALL, dry_run=True, out=tmp_path))
    said = capsys.readouterr().out
    assert "memories   16 to condense" in said
    assert "scores     16 cells of 2 networks" in said
    assert not list(tmp_path.iterdir())


def test_the_test_set_is_scored_on_where_it_is_asked_for(tmp_path, digits, capsys):
    config = replace(SMALL, grid=("m3d-factor",), test=True, memories=1, out=tmp_path)
    main(config)
    found = pd.read_csv(tmp_path / "ablate.csv")
    assert set(found["scored on"]) == {"test"}
    assert found["league"].tolist() == ["strict", "open"]
    assert found["decoded per stored"].tolist() == [1, 4]
    assert prepare(config).point.dataset.checksum == load("digits", tmp_path).checksum == digits.checksum
    said = capsys.readouterr().out
    assert "percent on the test set" in said
    assert "league" in said


def test_a_users_own_grid_is_run(tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "GRIDS", dict(registry.GRIDS))
    monkeypatch.setattr(registry, "VARIANTS", dict(registry.VARIANTS))
    twice = registry.condenser("dm").plus("mean-again", *registry.condenser("dm").terms)
    registry.add(grids=[Grid("twice", "how often means count", {"once": "dm", "twice": twice})])
    main(replace(SMALL, grid=("twice",), memories=1, networks=1, out=tmp_path))
    assert pd.read_csv(tmp_path / "ablate.csv")["condenser"].tolist() == ["dm", "dm+mean-again"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"grid": ("component",)}, "unknown grid 'component'. Did you mean 'components'?"),
        ({"grid": ("blocks",), "network": "ConvNet-W4-D9"}, "pools a 8 px image away"),
        ({"test": True, "validation": 3}, "--test and --validation exclude each other"),
        ({"validation": 500}, "cannot hold out 500 images per class of digits"),
        ({"dataset": "digit"}, "unknown data set 'digit'. Did you mean 'digits'?"),
        ({"ipc": 0}, "--ipc is 0; give at least 1"),
        ({"ipc": 500}, "500 images per class asked for, but the smallest class of digits has"),
        ({"memories": 0}, "--memories is 0; give at least 1"),
        ({"storage": "nonsense"}, "give sqlite:///PATH on one machine"),
    ],
)
def test_mistakes_are_one_line_before_any_work(changed, words, tmp_path):
    with pytest.raises(ValueError, match=r"\S") as caught:
        main(replace(SMALL, out=tmp_path, **changed))
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_published_numbers_of_variants_stand_beside_ours(tmp_path, capsys):
    write_cifar(tmp_path, CIFAR10)
    tiny = {"iterations": 1, "real_batch": 2, "epochs": 1, "memories": 1, "networks": 1, "validation": 1}
    network = "ConvNet-W128-D3-IN-ReLU-Avg"
    config = Ablate(grid=("k",), dataset="cifar10", data_root=tmp_path, ipc=1, network=network, **tiny)
    main(replace(config, out=tmp_path / "out"))
    lines = pd.read_csv(tmp_path / "out/ablate.csv", keep_default_na=False, dtype=str).set_index("variant")
    assert lines.loc["0", ["published", "verdict"]].tolist() == ["26.0 ± 0.8 (DDM, 1)", "not run"]
    assert (lines.loc["0.1":, "published"] == "").all()
    assert "26.0 ± 0.8 (DDM, 1) not run" in capsys.readouterr().out
