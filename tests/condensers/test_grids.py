"""Grids: every variant has a name that all commands know, and only what the label says sets it apart."""

from dataclasses import replace

import pytest

from condensers import registry
from condensers.condense import Group, condense
from condensers.core.grids import Grid
from condensers.core.recipe import Schedule
from condensers.core.terms import Term, mean_activation, squared
from condensers.methods.dm import DM
from search_spaces.forward import depth

MEAN = Term(mean_activation, squared)
OWN = DM.plus("mean-twice", MEAN)
SCHEDULE = Schedule(iterations=2, real_batch=8, network="ConvNet-W4-D3-NN-ReLU-None", augmentation="crop", chunk=200)


@pytest.fixture
def unregistered(monkeypatch):
    """What a test registers is forgotten after it."""
    for name in ("GRIDS", "VARIANTS", "PLUS", "CONDENSERS"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    monkeypatch.setattr(registry, "READINGS", list(registry.READINGS))


@pytest.mark.parametrize("name", registry.GRIDS)
def test_every_variant_is_known_by_its_name_and_differs_from_all_others(name):
    grid = registry.grid(name)
    made = registry.variants(grid)
    assert grid.reference in made
    assert len({one.name for one in made.values()}) == len(made)
    for one in made.values():
        assert registry.condenser(one.name) == one
    described = [one.describe(one.schedule(SCHEDULE, ipc=2)) for one in made.values()]
    assert len({str(sorted(one.items(), key=str)) for one in described}) == len(made)


def test_variants_take_terms_like_any_recipe():
    base, made = registry.condenser("blockwise-4"), registry.condenser("blockwise-4+sm:2")
    assert made.name == "blockwise-4+sm:2"
    assert made.terms[: len(base.terms)] == base.terms
    assert [term.weight for term in made.terms[len(base.terms) :]] == [2, 2]
    assert made.shares_augmentation


def test_every_variant_makes_a_memory_in_lockstep(digits):
    made = {one.name: one for name in registry.GRIDS for one in registry.variants(registry.grid(name)).values()}
    memories = condense(list(made.values()), digits.train, [Group((1, 2), 2)], SCHEDULE, seed=0)
    assert memories.keys() == made.keys()
    assert len({memory.checksum for memory in memories.values()}) > len(made) / 2


def test_weights_are_those_of_the_label():
    def weights(grid, label):
        return [term.weight for term in registry.variants(registry.grid(grid))[label].terms]

    assert weights("alpha", "2") == [1, 10_000, 5000, 10]
    assert weights("beta", "20") == [1, 5000, 5000, 20]
    assert weights("lambda", "500") == [1, 500, 500, 10]
    assert weights("ridge-weight", "15") == [1, 15]
    for grid, label in (("alpha", "1"), ("beta", "10"), ("lambda", "5000")):
        assert registry.grid(grid).reference == label
        assert registry.variants(registry.grid(grid))[label] == registry.condenser("ours")


def test_a_network_without_the_block_is_refused_before_any_work(digits):
    shallow = replace(SCHEDULE, network="ConvNet-W4-D2")
    assert (depth("ConvNet-W4-D2", 10, (1, 8, 8)), depth("ResNet18", 10, (3, 32, 32))) == (2, 5)
    condense([registry.condenser("dm+sm-block2")], digits.train, [Group((1, 2), 2)], shallow, seed=0)
    with pytest.raises(ValueError, match=r"^dm\+sm-block3 reads block 3, but the network has 2: take a deeper one$"):
        condense([registry.condenser("dm+sm-block3")], digits.train, [Group((1, 2), 2)], shallow, seed=0)


def test_a_grid_of_ones_own_is_registered_with_its_variants(unregistered):
    registry.add(grids=[Grid("twice", "how often", {"once": "dm", "twice": OWN})])
    assert registry.condenser("dm+mean-twice") is OWN
    assert registry.grid("twice").reference == "once"
    with pytest.raises(ValueError, match=r"unknown grid 'twise'\. Did you mean 'twice'\?"):
        registry.grid("twise")


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        (Grid("k", "again", {"a": "dm"}), "the name 'k' is taken"),
        (Grid("mine", "none", {"a": "dmm"}), "unknown condenser 'dmm'"),
        (Grid("mine", "other", {"a": "dm"}, base="b"), "compared with 'b', which is none of its variants"),
        (Grid("mine", "taken", {"a": replace(OWN, name="dm+sm")}), r"the name 'dm\+sm' is taken"),
        (Grid("mine", "taken", {"a": replace(OWN, name="dm+icd-k0.5")}), r"the name 'dm\+icd-k0.5' is taken"),
    ],
)
def test_a_grid_with_a_mistake_is_refused(unregistered, grid, words):
    with pytest.raises(ValueError, match=words):
        registry.add(grids=[grid])
    assert "mine" not in registry.GRIDS


def test_readings_are_names_of_single_terms(unregistered):
    registry.add(plus={"mean": ((MEAN,), "means")}, readings=[("mean", "mm")])
    assert registry.READINGS[-1] == ("mean", "mm")
    for names, words in ((("mm", "nn"), "unknown term 'nn'"), (("mm", "sm"), "'sm' adds several terms")):
        with pytest.raises(ValueError, match=words):
            registry.add(readings=[names])
