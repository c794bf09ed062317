"""What every registered condenser keeps: a new one is tested the day it has a name."""

import json
from dataclasses import replace
from functools import cache
from itertools import pairwise

import pytest
import torch

from condensers.condense import LOOPS, Group, condense
from condensers.core.networks import Fresh
from condensers.core.recipe import SGD, Schedule, league_of
from condensers.core.selecting import random_network, train_proxy
from condensers.memory import check
from condensers.methods.forgetting import Forgotten
from condensers.methods.herding import select
from condensers.methods.kcenter import centers
from condensers.registry import condenser, names
from condensers.registry import names as registered

from . import reference
from .core.test_identity import GOLDEN

NAMES = [name for name, _ in names()]
CLASSES, IPC = (6, 2, 3), 4
SCHEDULE = Schedule(iterations=3, real_batch=16, network="ConvNet-W8-D2", augmentation="crop_scale", chunk=50)
TRAINED = {"herding-trained", "forgetting", "idm", "iid", "iid-idm", "dsdm"}
BY_TERMS = {"dm+ridge", "dm+blocks", "dm+blocks-entropy", "dm+whiten", "ddm-released"}
READOUTS = {"readout", "readout-views", "blockwise"}
COUPLED = TRAINED | BY_TERMS | READOUTS | {"dm-self", "cafe", "cafe-dsa", "dc", "dsa", "bptt"}
OPEN = TRAINED | {"m3d"}
DECODED = {"m3d", "dsdm", "idm", "iid-idm"}
SELECTIONS = [name for name in NAMES if not condenser(name).makes_pixels]


def make(source, name, seed=1, classes=CLASSES, ipc=IPC, schedule=SCHEDULE):
    return condense([condenser(name)], source, [Group(classes, ipc)], schedule, seed)[condenser(name).name]


@pytest.fixture(scope="module")
def made(digits):
    return cache(lambda name: make(digits.train, name))


@pytest.mark.parametrize("name", NAMES)
def test_a_memory_is_balanced_finite_and_of_the_right_shape(made, name):
    memory = made(name)
    check(memory)
    assert memory.images.shape == (12, 1, 8, 8)
    assert memory.images.dtype == torch.float32
    assert not memory.images.requires_grad
    assert memory.labels.tolist() == [6] * 4 + [2] * 4 + [3] * 4
    assert memory.per_class == 4


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_repeats_every_bit_and_another_does_not(made, digits, name):
    again, other = make(digits.train, name), make(digits.train, name, seed=2)
    assert again.checksum == made(name).checksum
    assert other.checksum != again.checksum


@pytest.mark.parametrize("name", NAMES)
def test_the_metadata_says_what_made_it(made, name):
    metadata, maker = made(name).metadata, condenser(name)
    assert json.loads(json.dumps(metadata)) == metadata
    assert metadata["condenser"] == maker.name == metadata["config"]["condenser"]
    assert maker.name == ("ours" if name == "ddm" else name)
    assert metadata["separable"] == maker.separable("ConvNet-W8-D2")
    assert metadata["trained_on_real"] == maker.trained_on_real
    assert metadata["iterations"] == (0 if name in SELECTIONS else maker.schedule(SCHEDULE, 4).iterations)
    assert metadata["league"] == ("open" if maker.trained_on_real or maker.decoded > 1 else "strict")
    assert metadata["seed"] == metadata["config"]["seed"] == 1
    assert metadata["config"]["groups"] == [[[6, 2, 3], 4]]
    assert metadata["config"]["network"] == "ConvNet-W8-D2"
    assert metadata["stored_per_class"] == 4
    assert metadata["decoded_per_class"] == 4 * maker.decoded
    assert set(metadata["cost"]) == {"seconds", "recipes", "flop", "peak_bytes", "hidden_images"}
    trains = maker.epochs > 0 if name in SELECTIONS else maker.networks.trains_on != "nothing"
    assert (metadata["cost"]["flop"] > 0) == (name != "random")
    assert (metadata["cost"]["hidden_images"] > 0) == trains
    assert (metadata["mean"], metadata["std"]) == ([0.3049], [0.3756])


@pytest.mark.parametrize("name", NAMES)
def test_too_many_images_per_class_are_refused(digits, name):
    said = r"but the smallest class has 1\d\d: give 1 to [1-9]\d+$"
    for ipc in (0, 10_000):
        with pytest.raises(ValueError, match=rf"^{ipc} images per class asked for(, each from 4 real ones)?, {said}"):
            make(digits.train, name, ipc=ipc)


@pytest.mark.parametrize("name", NAMES)
def test_all_images_of_a_class_can_be_asked_for(colours, name):
    ipc = 20 // condenser(name).decoded
    memory = make(colours, name, classes=(0, 1), ipc=ipc, schedule=Schedule(2, 8, "ConvNet-W4-D2", "flip", 64))
    assert memory.labels.tolist() == [0] * ipc + [1] * ipc


@pytest.mark.parametrize("name", NAMES)
def test_batch_norm_couples_classes_and_says_so(name):
    apart = condenser(name).separable("ConvNet-W8-D2")
    assert condenser(name).separable("ConvNet-W8-D2-BN") == (apart and name in SELECTIONS)


def test_what_is_derived_is_what_the_papers_say():
    built_in = [name for name, _ in names() if name in GOLDEN]
    assert {name for name in built_in if not condenser(name).separable("ConvNet-W8-D2")} == COUPLED
    assert {name for name in built_in if league_of(condenser(name)) == "open"} == OPEN
    assert {name for name in built_in if condenser(name).decoded > 1} == DECODED


@pytest.mark.parametrize("name", NAMES)
def test_what_is_separable_is_not_changed_by_other_classes(made, digits, name):
    few = make(digits.train, name, classes=(2,))
    same = torch.allclose(few.images, made(name).of_classes([2]).images, rtol=1e-3, atol=1e-4)
    assert same == condenser(name).separable(SCHEDULE.network)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SELECTIONS])
def test_every_recipe_starts_from_the_same_images_and_moves(made, digits, name):
    start = make(digits.train, name, schedule=Schedule(0, 16, "ConvNet-W8-D2"))
    raw = condenser(name).decoded == 1
    assert torch.equal(start.images, made("random").images) == raw
    assert made(name).indices is None
    moved = (made(name).images - start.images).flatten(1).norm(dim=1)
    assert (moved > 0).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SELECTIONS])
def test_every_recipe_lowers_its_own_objective_on_draws_never_used(digits, name):
    own = condenser(name)
    if isinstance(own.optimizer, SGD):
        # Rates are the papers', for natural images: digits take smaller steps.
        own = replace(own, optimizer=SGD(lr=0.1))
    sizes = frozenset({"iterations", "real_batch"})
    schedule = Schedule(40, 32, "ConvNet-W32-D2", "crop_scale", chunk=64, given=sizes)
    # A judge has no memory to train networks on.
    judging = replace(own, networks=Fresh()) if own.networks.trains_on == "synthetic" else own

    def loss(stored):
        judge = LOOPS[own.loop](digits.train, CLASSES, IPC, [judging], schedule, seed=99)
        judge.pixels[own.name].copy_(stored)
        total = 0.0
        for judge.iteration in range(10):
            total += float(judge.gradients()[own.name])
        return total

    loop = LOOPS[own.loop](digits.train, CLASSES, IPC, [own], schedule, seed=3)
    start = loss(loop.pixels[own.name])
    for _ in range(schedule.iterations):
        loop.step()
    assert loss(loop.pixels[own.name]) < start - 0.05 * abs(start)


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_selection_points_at_its_images(made, digits, name):
    memory, source = made(name), digits.train
    assert torch.equal(source.normalise(source.images[memory.indices]), memory.images)
    assert torch.equal(source.labels[memory.indices], memory.labels)
    assert len(memory.indices.unique()) == len(memory)


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_smaller_selection_is_the_start_of_a_larger_one(made, digits, name):
    smaller = make(digits.train, name, ipc=2)
    assert torch.equal(smaller.indices, made(name).first_per_class(2).indices)


def test_herding_brings_the_running_mean_closest_to_the_class_mean():
    features = torch.randn(40, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 3
    expected: list[int] = []
    for _ in range(40):
        distances = {
            i: (features[[*expected, i]].mean(0) - features.mean(0)).norm().item()
            for i in range(40)
            if i not in expected
        }
        expected.append(min(distances, key=distances.get))
    assert select(features, 40).tolist() == expected


def test_herding_reads_the_named_network(made, digits):
    from condensers.device.draws import draw_network, key_of
    from search_spaces.registry import build

    network = build("ConvNet-W8-D2", 10, (1, 8, 8))
    draw_network(network, key_of(1, "herding network"))
    members = (digits.train.labels == 2).nonzero().squeeze(1)
    images = torch.stack([reference.normalised(digits.train, i) for i in members.tolist()]).float()
    with torch.no_grad():
        chosen = select(network.features(images), IPC)
    assert made("herding").of_classes([2]).indices.tolist() == members[chosen].tolist()
    other = make(digits.train, "herding", schedule=Schedule(network="ConvNet-W4-D1"))
    assert not torch.equal(other.indices, made("herding").indices)


def test_centers_are_the_farthest_from_all_before():
    features = torch.randn(40, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 3
    expected = [min(range(40), key=lambda i: (features[i] - features.mean(0)).norm().item())]
    while len(expected) < 40:
        gaps = {i: min((features[i] - features[j]).norm().item() for j in expected) for i in range(40)}
        expected.append(max((i for i in gaps if i not in expected), key=gaps.get))
    assert centers(features, 40).tolist() == expected


def test_each_center_is_another_image_even_among_twins():
    assert sorted(centers(torch.ones(6, 3), 6).tolist()) == list(range(6))


def test_forgotten_is_what_was_known_an_epoch_before():
    forgotten = Forgotten(torch.zeros(4, dtype=torch.bool))
    for right in ([1, 0, 1, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 0, 1, 1]):
        forgotten.see(torch.tensor(right).bool())
    assert forgotten.times.tolist() == [2, 0, 0, 1]


def test_forgetting_picks_the_most_forgotten(made, digits):
    network, seen = random_network(digits.train, SCHEDULE, 1, "forgetting network"), digits.train.of_classes([*CLASSES])
    # Training sees images in the order of the classes that were asked for.
    seen = seen.subset(torch.cat([(seen.labels == label).nonzero().squeeze(1) for label in CLASSES]))
    history = [torch.zeros(len(seen))]
    images = seen.normalise(seen.images)

    def watch(epochs):
        with torch.no_grad():
            history.append((network(images).argmax(1) == seen.labels).float())

    train_proxy(network, seen, SCHEDULE, 1, watch)
    times = sum(((after - before) < 0).long() for before, after in pairwise(history))
    picked = {tuple(image.flatten().tolist()) for image in made("forgetting").of_classes([2]).images}
    found = [tuple(image.flatten().tolist()) in picked for image in images]
    own = seen.labels == 2
    chosen = torch.tensor(found) & own
    assert chosen.sum() == IPC
    assert times[chosen].min() >= times[own & ~chosen].max()
    assert times[chosen].max() > 0


def test_random_is_uniform(digits):
    few = digits.train.subset(torch.cat([(digits.train.labels == label).nonzero()[:6, 0] for label in range(10)]))
    counts = torch.zeros(60)
    for seed in range(300):
        counts += make(few, "random", seed, tuple(range(10)), 2).indices.bincount(minlength=60)
    # Each is drawn 100 times of 300 on average, with a standard deviation of 8.
    assert (counts - 100).abs().max() < 35


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dmm", "unknown condenser 'dmm'. Did you mean 'dm'?"),
        ("DM", "unknown condenser 'DM'. Did you mean 'dm'?"),
        ("Herding", "Did you mean 'herding'?"),
        ("our", "Did you mean 'ours'?"),
        ("random+sm", "random takes no terms; add them to a feature-matching method, as in dm+sm"),
        ("dm+smm", "unknown term 'smm'. Did you mean 'sm'?"),
        ("dm+Ridge", "unknown term 'Ridge'. Did you mean 'ridge'?"),
        ("dm+", "unknown term ''. Choices: blocks, blocks-entropy, cm, cm-paper, icd, icd-code"),
        ("dm+sm:x", "the weight in 'sm:x' is not a number"),
        ("dm+sm:nan", "the weight in 'sm:nan' is not above 0 and finite"),
        ("dm+sm:0", "the weight in 'sm:0' is not above 0 and finite"),
        ("dm+sm:-1", "the weight in 'sm:-1' is not above 0 and finite"),
        ("dm+sm:inf", "the weight in 'sm:inf' is not above 0 and finite"),
        ("", "unknown condenser ''. Choices: blockwise, bptt, cafe, cafe-dsa"),
    ],
)
def test_unknown_names_are_answered_with_the_nearest(name, words):
    with pytest.raises(ValueError, match=r"\S") as caught:
        condenser(name)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_sums_of_terms():
    recipe = condenser("dm+sm+ridge:30")
    assert recipe.makes_pixels
    assert recipe.name == "dm+sm+ridge:30"
    assert [term.weight for term in recipe.terms] == [1, 5000, 5000, 30]
    assert not recipe.separable("ConvNet-W8-D2")
    assert [term.weight for term in condenser("ours+ridge").terms] == [5000, 5000, 10, 1, 45]
    assert condenser("ddm+ridge").name == "ours+ridge"


def test_every_name_has_a_description():
    assert all(text and "\n" not in text for _, text in registered())
    assert len(set(NAMES)) == len(NAMES)
    assert set(reference.PRESETS) <= {name for name in NAMES if name not in SELECTIONS}
