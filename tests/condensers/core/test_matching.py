"""The fast path against the plain reference: every term, every preset, every way to cut the work."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from condensers import registry
from condensers.core.activations import in_order
from condensers.core.matching import Matching
from condensers.core.networks import Fresh
from condensers.core.recipe import Recipe, Schedule
from condensers.core.terms import EMBEDDING, JUDGE
from condensers.methods import blockwise, cafe, cf, ddm, ddm_released, dm, dsdm, hdd, idm, iid, m3d, readouts, whitening
from condensers.methods.readouts import Pooled

from .. import reference

TERMS = {
    "mean match": dm.MEAN_MATCH,
    "mm-paper": ddm.PAPER.mm,
    "mm-code": ddm.CODE.mm,
    "mm-default": ddm.DEFAULT.mm,
    "cm-paper": ddm.PAPER.cm,
    "cm-code": ddm.CODE.cm,
    "icd-paper": ddm.PAPER.icd,
    "icd-code": ddm.CODE.icd,
    "icd-default": ddm.DEFAULT.icd,
    "icd-half": registry.condenser("dm+icd-k0.5").terms[-1],
    "icd-all": registry.condenser("dm+icd-k1").terms[-1],
    "mm-block 1": registry.condenser("dm+sm-block1").terms[1],
    "cm-block 2": registry.condenser("dm+sm-block2").terms[2],
    "mm-released": ddm_released.CONDENSERS[0].terms[0],
    "cm-released": ddm_released.CONDENSERS[0].terms[1],
    "mmd": m3d.MMD,
    "characteristic": cf.CHARACTERISTIC,
    "hyperbolic": hdd.CENTROIDS,
    "hyperbolic-capped": replace(hdd.CENTROIDS, statistic=hdd.Hyperboloid(radius=2.0)),
    "covariance": dsdm.COVARIANCE,
    "prototype": dsdm.PROTOTYPE,
    "labels": replace(idm.LABELS, weight=2.0),
    "local covariance": iid.LOCAL,
    "spread": replace(iid.CENTRAL, tap=EMBEDDING),
    "ridge": readouts.RIDGE,
    "inner maps": cafe.OBJECTIVE[0],
    "last map": cafe.OBJECTIVE[1],
    "discrimination": cafe.OBJECTIVE[3],
    "blocks": readouts.BLOCKS,
    "blocks-entropy": readouts.ENTROPY,
    "means of blocks": blockwise.MEANS,
    "whitened": whitening.WHITENED,
}


def recipe_of(name):
    """The condenser of that name, on fresh networks if its own are trained: those the reference does not know.

    A network is then its own judge.
    """
    own = registry.condenser(name)
    if own.networks.trains_on == "nothing":
        return own
    terms = tuple(replace(term, tap=EMBEDDING) if term.tap == JUDGE else term for term in own.terms)
    return replace(own, networks=Fresh(), terms=terms)


RECIPES = [Recipe(name, (term,)) for name, term in TERMS.items()]
RECIPES += [recipe_of(name) for name in reference.PRESETS]
NAMES = [recipe.name for recipe in RECIPES]
CLASSES, BATCH = range(10), 12
# With this seed the ten classes draw all six operations in the first iteration, and a crop that moves.
SEED = 45
SIX = "color_crop_cutout_flip_scale_rotate"
# Cuts inside a class's batch, with remainders; one class at a time; several with a remainder; everything at once.
CHUNKS = (5, 12, 38, 10_000)


def schedule(chunk=10_000, network="ConvNet-W8-D2", strategy=SIX):
    return Schedule(iterations=5, real_batch=BATCH, network=network, augmentation=strategy, chunk=chunk)


def perturbed(matching):
    """Off the real images, differently for each recipe, as in the middle of a run."""
    generator = torch.Generator().manual_seed(1)
    for pixels in matching.pixels.values():
        pixels += 0.3 * torch.randn(pixels.shape, generator=generator)
    return matching


def groups(recipes):
    """Recipes that are matched on the same networks and augmented images, and so run in lockstep."""
    found = {}
    for recipe in recipes:
        found.setdefault((recipe.networks, recipe.shares_augmentation, recipe.views), []).append(recipe)
    return list(found.values())


GROUPS = [[recipe.name for recipe in group] for group in groups(map(recipe_of, reference.PRESETS))]


def augmenting(recipe, schedule):
    """The schedule, with the recipe's own way to augment."""
    return replace(schedule, shared_augmentation=recipe.shares_augmentation, views=recipe.views)


def core_of(source, classes, ipc, recipes, schedule, seed, number=0):
    """Pixels, and losses with gradients there, of every recipe by its name."""
    pixels, found = {}, {}
    for group in groups(recipes):
        matching = perturbed(Matching(source, classes, ipc, group, augmenting(group[0], schedule), seed))
        matching.iteration = number
        losses = matching.gradients()
        pixels |= matching.pixels
        found |= {name: (losses[name], stored.grad) for name, stored in matching.pixels.items()}
    return pixels, found


def references_of(source, classes, pixels, schedule, seed, number=0):
    """The same losses and gradients by plain code."""
    drawn = cache(lambda *how: reference.drawn(source, classes, schedule, seed, number, *how))
    presets = {name: preset_of(name) for name in pixels}
    return {
        name: reference.loss_and_gradient(preset, drawn(preset.every, preset.alike), pixels[name])
        for name, preset in presets.items()
    }


def preset_of(name):
    return reference.Preset({reference.TERMS[name]: TERMS[name].weight}) if name in TERMS else reference.PRESETS[name]


def assert_same(found, expected, name):
    """Losses and gradients, the latter on the scale of the largest."""
    (loss, gradient), (expected_loss, expected_gradient) = found, expected
    torch.testing.assert_close(loss.double(), expected_loss, rtol=1e-4, atol=1e-6, msg=lambda text: f"{name}: {text}")
    error = (gradient - expected_gradient).abs().max() / expected_gradient.abs().max().clamp_min(1e-12)
    assert error < 2e-4, f"{name}: gradient off by {error:.1e} of its largest entry"


def assert_equals_reference(source, classes, ipc, recipes, schedule, seed, number=0):
    pixels, found = core_of(source, classes, ipc, recipes, schedule, seed, number)
    for name, expected in references_of(source, classes, pixels, schedule, seed, number).items():
        assert_same(found[name], expected, name)


@pytest.fixture(scope="module")
def plain(digits):
    """The references of all recipes by images per class: slow, and the same for every chunk size."""

    @cache
    def compute(ipc):
        pixels, _ = core_of(digits.train, CLASSES, ipc, RECIPES, schedule(), SEED)
        return references_of(digits.train, CLASSES, pixels, schedule(), SEED)

    return compute


@pytest.fixture(scope="module")
def fast(digits):
    return cache(lambda ipc, chunk: core_of(digits.train, CLASSES, ipc, RECIPES, schedule(chunk), SEED)[1])


@pytest.mark.parametrize("ipc", [8, 1])
@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("name", NAMES)
def test_losses_and_gradients_equal_the_reference(plain, fast, name, chunk, ipc):
    assert_same(fast(ipc, chunk)[name], plain(ipc)[name], name)


def test_all_six_operations_take_part_in_the_comparison(digits):
    iteration = reference.drawn(digits.train, CLASSES, schedule(), SEED, 0)
    names = [SIX.split("_")[int(numbers[0] * 6)] for numbers in iteration.numbers]
    assert set(names) == set(SIX.split("_"))
    crop = iteration.numbers[names.index("crop")]
    images = torch.arange(64.0).view(1, 1, 8, 8)
    assert not torch.equal(reference.augmented(images, "crop", crop), images)


def test_the_objective_has_a_gradient_in_every_pixel(plain):
    # Else the comparisons above would compare zeros.
    for name in reference.PRESETS:
        loss, gradient = plain(8)[name]
        assert loss.abs() > 0
        assert (gradient.flatten(2).abs().amax(2) > 0).all()


@pytest.mark.parametrize(
    "network", ["ConvNet-W4-D2-NN-ReLU-Max", "ConvNet-W8-D1-GN-LeakyReLU-None", "ConvNet-W4-D3-LN-Sigmoid-Avg"]
)
def test_coloured_images_and_other_networks(colours, network):
    recipes = [registry.condenser(name) for name in ("ours", "ddm-paper", "dm+ridge", "dm+blocks")]
    # At iteration 0 of this seed one ReLU is within rounding of its kink.
    for number in (1, 7):
        assert_equals_reference(colours, [2, 0, 3], 5, recipes, schedule(10, network), 4, number)


@pytest.mark.parametrize("number", [4, 7])
@pytest.mark.parametrize("network", ["ConvNet-W8-D2", "ConvNet-W4-D2-NN-ReLU-Max", "ConvNet-W4-D3-LN-Sigmoid-Avg"])
def test_mosaics_on_networks_that_stay_for_five_iterations(colours, network, number):
    recipes = [registry.condenser(name) for name in ("m3d", "m3d-f1")]
    assert_equals_reference(colours, [2, 0, 3], 5, recipes, schedule(10, network), 4, number)


@pytest.mark.parametrize("chunk", [5, 10_000])
def test_batch_norm_sees_all_classes_in_one_batch(colours, chunk):
    recipes = [registry.condenser(name) for name in ("ours", "ddm-code", "dm+ridge", "dm+blocks", "m3d")]
    assert_equals_reference(colours, range(4), 3, recipes, schedule(chunk, "ConvNet-W4-D2-BN"), 4)


def test_without_augmentation(digits):
    recipes = [registry.condenser("dm+sm")]
    assert_equals_reference(digits.train, range(3), 4, recipes, schedule(strategy=""), 4)


def test_a_batch_is_at_most_the_smallest_class_of_the_whole_set(colours):
    # 20 images in class 0; class 3 has 23, but its draws must not depend on the classes beside it.
    whole = Schedule(iterations=1, real_batch=1000, network="ConvNet-W4-D2", augmentation="color", chunk=50)
    recipes = [registry.condenser("dm")]
    assert Matching(colours, [3], 2, recipes, whole, 0).batch == 20
    assert_equals_reference(colours, [3, 1], 2, recipes, whole, 0)


def run(source, classes, names, schedule, iterations=4, ipc=3):
    recipes = [recipe_of(name) for name in names]
    matching = Matching(source, classes, ipc, recipes, augmenting(recipes[0], schedule), 11)
    for _ in range(iterations):
        matching.step()
    return matching


@pytest.mark.parametrize("network", ["ConvNet-W8-D2", "ConvNet-W4-D2-BN"])
@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names[0])
def test_lockstep_changes_no_bit(digits, network, names):
    together = run(digits.train, CLASSES, names, schedule(30, network))
    for name in names:
        alone = run(digits.train, CLASSES, [name], schedule(30, network))
        assert torch.equal(alone.pixels[name], together.pixels[name]), name


def test_two_runs_are_bit_equal_and_seeds_matter(digits):
    first, second = (run(digits.train, CLASSES, ["ours", "dm+ridge"], schedule(30)) for _ in range(2))
    for name, pixels in first.pixels.items():
        assert torch.equal(pixels, second.pixels[name])
    other = Matching(digits.train, CLASSES, 3, [registry.condenser("ours")], schedule(30), 12)
    assert not torch.equal(other.pixels["ours"], run(digits.train, CLASSES, ["ours"], schedule(30), 0).pixels["ours"])


def test_statistics_are_read_in_an_order_that_no_process_decides(digits):
    # The order of a set differs between processes, and with it the rounding of summed gradients.
    sides = {Pooled(side) for side in range(9, 0, -1)}
    ordered = in_order({(tap, pooled) for tap in ("block", "act") for pooled in sides})
    assert ordered == [(tap, Pooled(side)) for tap in ("act", "block") for side in range(1, 10)]


def test_the_number_of_threads_changes_no_bit(digits):
    names, threads = ["ours", "dm+ridge"], torch.get_num_threads()
    one = run(digits.train, CLASSES, names, schedule(5))
    try:
        torch.set_num_threads(3)
        many = run(digits.train, CLASSES, names, schedule(5))
        assert many.lanes.pool is not None
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    for name in names:
        assert torch.equal(one.pixels[name], many.pixels[name])


SEPARABLE = [[name for name in group if recipe_of(name).separable("ConvNet-W8-D2")] for group in GROUPS]
SEPARABLE = [group for group in SEPARABLE if group]


@pytest.mark.parametrize("chunk", [3, 30])
@pytest.mark.parametrize("names", SEPARABLE, ids=lambda names: names[0])
def test_classes_condensed_apart_are_slices_of_all(digits, chunk, names):
    whole = run(digits.train, CLASSES, names, schedule(chunk))
    halves = [run(digits.train, classes, names, schedule(chunk)) for classes in (range(5), range(5, 10))]
    for name in names:
        joined = torch.cat([half.pixels[name] for half in halves])
        torch.testing.assert_close(whole.pixels[name], joined, rtol=1e-3, atol=1e-3)
        if chunk == 3:
            # Each class goes through alone either way.
            assert torch.equal(whole.pixels[name], joined), name


@pytest.mark.parametrize(
    ("name", "network"),
    [("dm+ridge", "ConvNet-W8-D2"), ("ddm-released", "ConvNet-W8-D2"), ("dm", "ConvNet-W8-D2-BN")],
)
def test_coupled_classes_are_not_slices(digits, name, network):
    whole = run(digits.train, CLASSES, [name], schedule(network=network)).pixels[name]
    half = run(digits.train, range(5), [name], schedule(network=network)).pixels[name]
    start = run(digits.train, range(5), [name], schedule(network=network), iterations=0).pixels[name]
    assert (whole[:5] - half).abs().max() > 0.1 * (half - start).abs().max()


@pytest.mark.parametrize("name", ["datadam+ridge", "datadam+blocks", "iid+whiten"])
def test_a_recipe_that_couples_classes_may_leave_blocks_out(digits, name):
    found = [core_of(digits.train, CLASSES, 4, [recipe_of(name)], schedule(chunk), SEED)[1] for chunk in (5, 10_000)]
    assert_same(found[0][name], (found[1][name][0].double(), found[1][name][1]), name)


def test_steps_are_sgd_with_momentum(digits):
    matching = run(digits.train, CLASSES, ["dm", "dm+sm"], schedule(), iterations=0)
    expected = {name: pixels.clone() for name, pixels in matching.pixels.items()}
    velocity = {name: torch.zeros_like(pixels) for name, pixels in matching.pixels.items()}
    for _ in range(3):
        matching.step()
        for name, pixels in matching.pixels.items():
            velocity[name] = 0.5 * velocity[name] + pixels.grad
            expected[name] = expected[name] - 1.0 * velocity[name]
            torch.testing.assert_close(pixels, expected[name])


def test_iterations_lower_the_loss_on_draws_never_used(digits):
    def loss(matching):
        total = 0.0
        for number in range(1000, 1010):
            matching.iteration = number
            total += float(matching.gradients()["dm"])
        return total

    settings = {"names": ["dm"], "schedule": schedule(128), "ipc": 5}
    before, after = (loss(run(digits.train, CLASSES, iterations=n, **settings)) for n in (0, 40))
    assert after < 0.7 * before


def test_a_tap_that_the_network_lacks_is_named(colours):
    big = type(colours)(colours.images.repeat(1, 1, 2, 2), colours.labels, colours.mean, colours.std)
    before = Recipe("before-norm", (replace(dm.MEAN_MATCH, tap="conv"),))
    with pytest.raises(ValueError, match=r"before-norm taps 'conv', which ResNet18 does not have \(act, block\)"):
        Matching(big, [0], 1, [before], schedule(network="ResNet18"), 0)


@pytest.mark.parametrize("network", ["AlexNet", "VGG11", "ResNet18", "ResNet18-BN"])
def test_style_and_readouts_are_matched_on_classic_networks(colours, network):
    big = type(colours)(colours.images.repeat(1, 1, 2, 2), colours.labels, colours.mean, colours.std)
    recipes = [registry.condenser(name) for name in ("ours", "ddm-paper", "dm+blocks")]
    small = Schedule(2, real_batch=2, network=network, augmentation="flip", chunk=8)
    matching = Matching(big, [0, 1], 2, recipes, small, 0)
    matching.gradients()
    for name, pixels in matching.pixels.items():
        assert pixels.grad.isfinite().all(), name
        assert (pixels.grad.flatten(2).norm(dim=2) > 0).all(), name


@pytest.mark.cuda
def test_cuda_agrees_with_the_reference(digits):
    pixels, _ = core_of(digits.train, CLASSES, 8, RECIPES, schedule(), SEED)
    expected = references_of(digits.train, CLASSES, pixels, schedule(), SEED)
    for group in groups(RECIPES):
        matching = Matching(digits.train.to("cuda"), CLASSES, 8, group, schedule(), SEED)
        for name, stored in matching.pixels.items():
            stored.copy_(pixels[name])
        losses = matching.gradients()
        for name, stored in matching.pixels.items():
            loss, gradient = expected[name]
            torch.testing.assert_close(losses[name].cpu().double(), loss, rtol=1e-3, atol=1e-5)
            error = (stored.grad.cpu() - gradient).abs().max() / gradient.abs().max().clamp_min(1e-12)
            assert error < 1e-3, name
