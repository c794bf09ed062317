"""A race: recipes that are left behind change nothing for the others."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from condensers.condense import Group, condense, race
from condensers.core.recipe import Recipe, Schedule
from condensers.core.terms import Term, mean_activation, squared
from condensers.registry import condenser

SCHEDULE = Schedule(8, 16, "ConvNet-W8-D2", "crop_scale", chunk=50, given=frozenset({"iterations", "real_batch"}))
GROUPS = [Group((6, 2, 3), 4)]
NAMES = ("dm", "dm+sm", "dm+ridge", "ours")


def made(source, recipes, **how):
    return condense(recipes, source, GROUPS, SCHEDULE, 1, **how)


def running(rungs, stay):
    """A race in which those that `stay` names by rung go on, and what it has seen at each."""
    seen = {}

    def keep(memories):
        (rung,) = {memory.metadata["iterations"] for memory in memories.values()}
        seen[rung] = memories
        return [name for name in memories if name in stay[rung]]

    return partial(race, rungs, keep), seen


def test_those_that_go_on_get_what_they_would_get_without_the_others(digits):
    recipes = [condenser(name) for name in NAMES]
    match, seen = running([2, 5], {2: ("dm", "dm+ridge", "ours"), 5: ("dm+ridge",)})
    raced, steps = {}, []
    raced = made(digits.train, recipes, match=match, progress=steps.append)
    assert sum(steps) == 8
    assert [tuple(memories) for memories in seen.values()] == [NAMES, ("dm", "dm+ridge", "ours")]
    whole = made(digits.train, [condenser("dm+ridge")])["dm+ridge"]
    assert raced["dm+ridge"].checksum == whole.checksum
    assert raced["dm+ridge"].metadata["cost"]["flop"] == whole.metadata["cost"]["flop"]


def test_those_left_behind_are_as_they_were(digits):
    recipes = [condenser(name) for name in NAMES]
    match, seen = running([2, 5], {2: ("dm", "ours"), 5: ()})
    raced = made(digits.train, recipes, match=match)
    for name, rung in (("dm+sm", 2), ("dm+ridge", 2), ("dm", 5), ("ours", 5)):
        short = condense([condenser(name)], digits.train, GROUPS, replace(SCHEDULE, iterations=rung), 1)[name]
        assert raced[name].checksum == seen[rung][name].checksum == short.checksum
        assert raced[name].metadata["cost"]["flop"] == short.metadata["cost"]["flop"]
    assert seen[2]["dm"].metadata["seed"] == 1


@pytest.mark.parametrize("name", ["dsdm", "idm", "dm-self", "dc"])
def test_trained_networks_and_moving_averages_go_on_as_well(digits, name):
    own = condenser(name)
    slower = replace(own, name=f"{name}-slower", optimizer=replace(own.optimizer, lr=0.1))
    match, _ = running([3], {3: (slower.name,)})
    raced = made(digits.train, [own, slower], match=match)
    assert torch.equal(raced[slower.name].images, made(digits.train, [slower])[slower.name].images)
    assert raced[slower.name].metadata["cost"]["hidden_images"] >= 0


@pytest.mark.parametrize("stays", ["slow", "fast"])
def test_a_recipe_keeps_its_own_moving_average(digits, stays):
    recipes = [Recipe(name, (Term(mean_activation, squared, decay=d),)) for name, d in (("slow", 0.99), ("fast", 0.5))]
    match, _ = running([3], {3: (stays,)})
    raced, whole = made(digits.train, recipes, match=match), made(digits.train, recipes)
    assert torch.equal(raced[stays].images, whole[stays].images)


def test_decoded_images_are_what_a_mosaic_stands_for_at_every_rung(digits):
    match, seen = running([4], {4: ("m3d",)})
    made(digits.train, [condenser("m3d")], match=match)
    assert len(seen[4]["m3d"].decoded()) == 4 * len(seen[4]["m3d"]) == 48
