"""Where the networks of a recipe come from: fresh ones kept for a while, and pools that are trained."""

from dataclasses import replace
from functools import partial

import pytest
import torch

from condensers import registry
from condensers.checkpoints import Checkpoint
from condensers.condense import Group, config, lockstep
from condensers.core.judged import Judged
from condensers.core.matching import Matching
from condensers.core.networks import Fresh, Run
from condensers.core.pools import Alternating, OnSynthetic, PartlyTrained, Pretrained, Queue
from condensers.core.recipe import Schedule, in_lockstep, league_of
from condensers.core.terms import JUDGE
from condensers.device import draws
from condensers.device.training import Training
from search_spaces.registry import build

SCHEDULE = Schedule(6, 16, "ConvNet-W8-D2", "crop_scale", chunk=64)
POOLS = {
    "synthetic": OnSynthetic(size=2, most=2),
    "queue": Queue(size=2, start=1, every=2, trained=1, steps=1),
    "pretrained": Pretrained(size=2, epochs=1),
    "judged": Judged(Queue(size=2, start=1, every=2, trained=1, steps=1), Pretrained(size=2, epochs=1, nearest=1.0)),
}


def recipe(networks, name="dm"):
    return replace(registry.condenser("dm"), name=name, networks=networks)


def run(source, networks, steps, classes=(0, 1, 2)):
    matching = Matching(source, classes, 3, [recipe(networks)], SCHEDULE, seed=5)
    for _ in range(steps):
        matching.step()
    return matching


def weights(network):
    return torch.cat([p.detach().reshape(-1) for p in network.parameters()]).clone()


def loaded(matching, iteration):
    """The weights that an iteration is matched on."""
    matching.networks.load(torch.tensor([iteration]))
    return weights(matching.network)


def drawn(at):
    network = build(SCHEDULE.network, 10, (1, 8, 8))
    draws.draw_network(network, draws.fold(draws.fold(draws.key_of(5, "iterations"), at), 0))
    return weights(network)


@pytest.mark.parametrize("every", [1, 5])
def test_a_fresh_network_stays_for_so_many_iterations(digits, every):
    matching = run(digits.train, Fresh(every), 0)
    for iteration in (0, 4, 5, 12):
        assert torch.equal(loaded(matching, iteration), drawn(iteration // every))


@pytest.mark.parametrize("kind", POOLS)
def test_a_pool_is_trained_on_what_it_says(digits, kind):
    matching = run(digits.train, POOLS[kind], 3)
    assert matching.networks.hidden_images > 0
    if kind == "synthetic":
        # Three turns of one epoch over three images of each of three classes.
        assert matching.networks.hidden_images == 3 * 9
    sources = getattr(matching.networks, "sources", {kind: matching.networks}).values()
    for source in sources:
        assert source.run.source.labels.unique().tolist() == (list(range(10)) if kind == "synthetic" else [0, 1, 2])


def test_networks_trained_on_the_memory_learn_it(digits):
    asked = OnSynthetic(size=1, epochs=300, most=100)
    matching = run(digits.train, asked, 1)
    images, labels = matching.decoded("dm")
    matching.networks.load(torch.tensor([0]))
    assert (matching.network(images).argmax(1) == labels).float().mean() == 1


def test_a_member_is_renewed_after_so_many_turns(digits):
    def member(steps):
        return run(digits.train, OnSynthetic(size=2, most=3), steps).networks.weights[0]

    fresh = build(SCHEDULE.network, 10, (1, 8, 8))
    draws.draw_network(fresh, draws.key_of(5, "trained on the memory", "weights", 0, 1))
    # Member 0 has its turns in iterations 0, 2, 4 and 6; the fourth begins with fresh weights.
    before, after = member(6), member(7)
    assert (after - weights(fresh)).norm() < 0.2 * (after - before).norm()
    assert torch.equal(member(5), before)


def test_the_queue_hands_out_only_networks_that_have_joined(digits):
    matching = run(digits.train, Queue(size=5, start=1, every=3, trained=1, steps=1), 3)
    first = matching.networks.weights[0]
    for iteration in range(3):
        assert torch.equal(loaded(matching, iteration), first)
    seen = {tuple(loaded(matching, iteration)[:3].tolist()) for iteration in range(12, 60)}
    assert len(seen) == 5


def test_each_iteration_of_a_queue_trains_different_networks(digits):
    def trained(steps):
        return run(digits.train, Queue(size=6, start=3, every=50, trained=2, steps=1), steps).networks.weights

    before = trained(0)
    for steps in range(1, 12):
        after = trained(steps)
        assert (after != before).any(1).sum() == 2
        assert torch.equal(after[3:], before[3:])
        before = after


def test_a_queue_starts_with_as_many_as_it_trains():
    with pytest.raises(ValueError, match="a queue of 5 starts with 1: give 2 to 5"):
        Queue(size=5, start=1, trained=2)


def test_pretrained_networks_are_points_between_start_and_end(digits):
    matching = run(digits.train, Pretrained(size=1, epochs=2), 1)
    start, end = matching.networks.weights
    for iteration in range(5):
        found = loaded(matching, iteration)
        share = ((found - start) @ (end - start)) / ((end - start) @ (end - start))
        assert 0 <= share <= 1
        torch.testing.assert_close(found, torch.lerp(start, end, share), rtol=1e-4, atol=1e-5)


def test_a_judge_stands_beside_the_network_that_is_matched_on(digits):
    judges = Pretrained(size=2, epochs=1, nearest=1.0)
    matching = run(digits.train, Judged(Fresh(), judges), 1)
    _, pool = matching.networks.sources.values()
    seen = set()
    for iteration in range(8):
        matching.networks.load(torch.tensor([iteration]))
        assert torch.equal(weights(matching.network.matched), drawn(iteration))
        (judge,) = [i for i in range(2) if torch.equal(weights(matching.network.judge), pool.weights[2 + i])]
        seen.add(judge)
    assert seen == {0, 1}
    images = torch.randn(3, 1, 8, 8)
    taps = {}
    with torch.no_grad():
        embedding = matching.network.features(images, {name: partial(taps.__setitem__, name) for name in (JUDGE,)})
        assert torch.equal(embedding, matching.network.matched.features(images))
        assert torch.equal(taps[JUDGE], matching.network.judge.features(images))


def test_pretrained_networks_can_be_those_that_are_trained_to_the_end(digits):
    matching = run(digits.train, Pretrained(size=1, epochs=1, nearest=1.0), 1)
    for iteration in range(3):
        torch.testing.assert_close(loaded(matching, iteration), matching.networks.weights[1])


@pytest.mark.parametrize("kind", POOLS)
def test_a_run_that_goes_on_is_the_run_that_was_not_stopped(digits, kind, tmp_path):
    whole = run(digits.train, POOLS[kind], 6)
    first = run(digits.train, POOLS[kind], 3)
    second = run(digits.train, POOLS[kind], 0)
    second.restore({name: tensor.clone() for name, tensor in first.state().items()})
    for _ in range(3):
        second.step()
    assert torch.equal(second.pixels["dm"], whole.pixels["dm"])
    assert second.networks.hidden_images == whole.networks.hidden_images


@pytest.mark.parametrize("kind", POOLS)
def test_a_checkpoint_holds_the_pool(digits, kind, tmp_path):
    own, group = recipe(POOLS[kind]), Group((0, 1, 2), 3)
    configs = [config(own, [group], SCHEDULE, 5)]
    first = run(digits.train, POOLS[kind], 4)
    state = Checkpoint(tmp_path)
    state.resume(run(digits.train, POOLS[kind], 0), configs)
    state.save(first)
    made = lockstep([own], digits.train, group, SCHEDULE, 5, Checkpoint(tmp_path), lambda done: None)
    assert torch.equal(made["dm"].images, run(digits.train, POOLS[kind], 6).memory("dm")[0])


def test_what_networks_are_trained_on_decides_league_and_separability():
    found = {kind: recipe(networks) for kind, networks in POOLS.items()} | {"fresh": recipe(Fresh(5))}
    assert {kind: league_of(own) for kind, own in found.items()} == {
        "synthetic": "strict",
        "queue": "open",
        "pretrained": "open",
        "judged": "open",
        "fresh": "strict",
    }
    assert [kind for kind, own in found.items() if own.separable(SCHEDULE.network)] == ["fresh"]


def test_recipes_run_in_lockstep_if_networks_and_schedule_agree():
    names = ("dm", "m3d", "ours", "dm-self", "m3d-f1", "dm+ridge")
    groups = in_lockstep([registry.condenser(name) for name in names], SCHEDULE, 10)
    assert [[own.name for own in group] for group in groups] == [
        ["dm", "ours", "dm+ridge"],
        ["m3d", "m3d-f1"],
        ["dm-self"],
    ]
    both = [recipe(POOLS["synthetic"], name) for name in ("a", "b")]
    assert len(in_lockstep(both, SCHEDULE, 10)) == 2


def test_recipes_on_other_networks_are_not_run_in_lockstep(digits):
    with pytest.raises(ValueError, match="different networks cannot run in lockstep"):
        Matching(digits.train, [0], 1, [registry.condenser("dm"), registry.condenser("dm-self")], SCHEDULE, 0)


def test_a_papers_schedule_is_shortened_as_the_base_shortens_dms_and_a_users_stays():
    m3d, base = registry.condenser("m3d"), Schedule(200, 64)
    own = m3d.schedule(base, 10)
    assert (own.iterations, own.real_batch) == (50, 32)
    assert m3d.schedule(own, 10) == own
    assert m3d.schedule(Schedule(), 10).iterations == 5000
    given = m3d.schedule(replace(base, given=frozenset({"iterations"})), 10)
    assert (given.iterations, given.real_batch) == (200, 32)
    assert registry.condenser("dm").schedule(base, 10) == base


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("kind", [*POOLS.values(), Fresh(2), Alternating(3, 2)])
def test_hidden_training_is_known_before_it_starts(digits, kind, steps):
    matching = run(digits.train, kind, steps)
    real = sum(int((digits.train.labels == label).sum()) for label in (0, 1, 2))
    assert kind.hidden(steps, ipc=3, memory=9, real=real) == matching.networks.hidden_images


def test_hidden_training_of_random_length_is_known_on_average(digits):
    source = PartlyTrained(4).begin(Run(run(digits.train, Fresh(), 0).network, digits.train, Training(), 5, 3))
    images = digits.train.normalise(digits.train.images[:2]), digits.train.labels[:2]
    for iteration in range(60):
        source.advance(iteration, lambda: images)
    assert source.hidden_images == pytest.approx(PartlyTrained(4).hidden(60, ipc=3, memory=2, real=0), rel=0.2)
