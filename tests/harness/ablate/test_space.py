"""What a search chooses among: every trial has a name that all commands read as the recipe that was meant."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from condensers import registry
from harness.ablate.space import SPREAD, space_of

BOTH = ("weights", "readings")


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("ours", "dm+mm:5000+cm:5000+icd:10"),
        ("ddm", "dm+mm:5000+cm:5000+icd:10"),
        ("ddm-paper", "dm+mm-paper:5000+cm-paper:5000+icd-paper:10"),
        ("dm+sm:1000+ridge", "dm+mm:1000+cm:1000+ridge:45"),
        ("datadam+sm", "datadam+mm:5000+cm:5000"),
        ("ours+whiten", "dm+mm:5000+cm:5000+icd:10+whiten:0.25"),
        ("blockwise+sm", "blockwise+mm:5000+cm:5000"),
        ("blockwise+icd:3", "blockwise+icd:3"),
    ],
)
def test_a_search_starts_from_the_recipe_itself(name, start):
    space = space_of(name, BOTH, ipc=10)
    assert space.name(space.start) == start
    own, made = registry.condenser(name), registry.condenser(start)
    assert sorted(map(str, made.terms)) == sorted(map(str, own.terms))
    assert replace(made, name="", terms=(), description="", paper="") == replace(
        own, name="", terms=(), description="", paper=""
    )


def test_weights_are_factors_of_where_they_start_and_readings_start_from_their_own():
    space = space_of("dm+mm:400+ridge", BOTH, ipc=10)
    assert space.name({"mm factor": 0.123456, "mm reading": "mm", "ridge factor": 1.0}) == "dm+mm:49.4+ridge:45"
    chosen = {"mm factor": SPREAD, "mm reading": "mm-paper", "ridge factor": 1 / SPREAD, "ridge reading": "blocks"}
    name = space.name(chosen)
    assert name == "dm+mm-paper:50000+blocks:7.6"
    assert [term.weight for term in registry.condenser(name).terms] == [1, 50_000, 7.6]
    assert registry.condenser(name).terms[1].statistic is registry.condenser("ddm-paper").terms[0].statistic


def test_only_what_is_asked_for_is_chosen():
    assert list(space_of("ours", ("weights",), 10).distributions) == ["mm factor", "cm factor", "icd factor"]
    assert list(space_of("ours", ("readings",), 10).distributions) == ["mm reading", "cm reading", "icd reading"]
    assert list(space_of("dm+whiten+mm", BOTH, 10).distributions) == ["whiten factor", "mm factor", "mm reading"]


@pytest.mark.parametrize("name", ["ours", "dm+mm:1e-9+cm:3e12", "dm+ridge:9.996+mm:99.95", "dm+mm:1+cm:0.02"])
def test_the_longest_name_is_that_of_a_trial_and_no_trial_has_a_longer_one(name):
    space = space_of(name, BOTH, ipc=10)
    readings = {f"{part.name} reading": list(part.readings) for part in space.parts}
    factors = [*SPREAD ** np.linspace(-1, 1, 2001), *(k / 1000 for k in range(100, 10_001, 3))]
    names = {
        space.name({f"{part.name} factor": one for part in space.parts} | dict(zip(readings, chosen, strict=True)))
        for one in factors
        for chosen in product(*readings.values())
    }
    parts = [max((one.split("+")[k] for one in names), key=len) for k in range(1 + len(space.parts))]
    assert len(space.longest) == len("+".join(parts))


def test_a_term_without_a_weight_above_0_is_not_searched(monkeypatch):
    monkeypatch.setitem(registry.PLUS, "mm", ((replace(registry.PLUS["mm"][0][0], weight=0.0),), "of nothing"))
    with pytest.raises(ValueError, match=r"^\+mm has the weight 0.0, and a search wants one above 0"):
        space_of("dm+mm+ridge", BOTH, ipc=10)


def test_names_hold_no_exponent_whose_sign_would_begin_another_term():
    space = space_of("dm+mm:1e-9+cm:3e12", ("weights",), ipc=10)
    assert space.name(space.start) == "dm+mm:0.000000001+cm:3000000000000"
    assert len(set(space.names(5))) == 5


@pytest.mark.parametrize(
    ("name", "search", "words"),
    [
        ("ourz", BOTH, "Did you mean 'ours'?"),
        ("random", BOTH, "no term of random is searched: add some that can be written behind a +"),
        ("dc", BOTH, "no term of dc is searched: add some that can be written behind a +"),
        ("dm", BOTH, "no term of dm is searched: add some that can be written behind a +"),
        ("blockwise", BOTH, "no term of blockwise is searched: without +blocks it is no method that is known here"),
        ("readout-views", BOTH, "searched: without +blocks-entropy it is no method that is known here; add some"),
        ("dm+whiten", ("readings",), "no term of dm+whiten has another reading: search its weights"),
    ],
)
def test_a_recipe_with_nothing_to_choose_is_refused(name, search, words):
    with pytest.raises(ValueError, match=r"\S") as caught:
        space_of(name, search, ipc=10)
    assert words in str(caught.value)
