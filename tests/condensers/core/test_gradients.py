"""Gradient matching against a plain float64 loop over classes, layers and outputs."""

import copy

import pytest
import torch
import torch.nn.functional as F

from condensers import registry
from condensers.core.gradients import GradientMatching, GradientRecipe
from condensers.core.networks import Fresh, Run
from condensers.core.optimizers import SGD
from condensers.core.pixels import Factor
from condensers.core.pools import Alternating
from condensers.core.recipe import Schedule
from condensers.device.draws import key_of
from condensers.device.training import Training, train
from condensers.methods.dc import cosine

from .. import reference

SIX = "color_crop_cutout_flip_scale_rotate"
CLASSES, SEED = range(10), 45
FRESH = (
    GradientRecipe("fresh", cosine, networks=Fresh()),
    GradientRecipe("mosaic", cosine, networks=Fresh(), pixels=Factor()),
)


def schedule(network="ConvNet-W8-D2", chunk=10_000, strategy=SIX):
    given = frozenset(("iterations", "real_batch"))
    return Schedule(20, real_batch=12, network=network, augmentation=strategy, chunk=chunk, given=given)


def begun(source, recipes, schedule, ipc=4, classes=CLASSES):
    """A loop whose pixels are no real images any more, as in the middle of a run."""
    loop = GradientMatching(source, classes, ipc, recipes, schedule, SEED)
    generator = torch.Generator().manual_seed(1)
    for pixels in loop.pixels.values():
        pixels += 0.3 * torch.randn(pixels.shape, generator=generator)
    return loop


def gradient(network, images, label):
    targets = torch.full((len(images),), label)
    return torch.autograd.grad(F.cross_entropy(network(images), targets), network.parameters(), create_graph=True)


def distance(real, synthetic):
    """DC, Eq. 9: one cosine for each output of each layer that has a matrix of weights."""
    total = 0
    for r, s in zip(real, synthetic, strict=True):
        if r.ndim == 1:
            continue
        for row, other in zip(r.reshape(len(r), -1), s.reshape(len(s), -1), strict=True):
            total = total + 1 - row @ other / (row.norm() * other.norm() + 1e-6)
    return total


def plain(network, recipe, pixels, iteration):
    """Loss and gradient of one recipe on that network."""
    network = copy.deepcopy(network).double().requires_grad_(True)
    leaves = [images.detach().double().requires_grad_() for images in pixels]
    loss = 0
    factor = getattr(recipe.pixels, "factor", 1)
    for label, leaf, real, numbers in zip(CLASSES, leaves, iteration.real, iteration.numbers, strict=True):
        sides = (real, reference.decoded(leaf, factor))
        if iteration.strategy:
            sides = [reference.augmented(images, iteration.strategy, numbers) for images in sides]
        found = [gradient(network, images, label) for images in sides]
        loss = loss + distance([layer.detach() for layer in found[0]], found[1])
    return loss.detach(), torch.stack(torch.autograd.grad(loss, leaves))


def assert_equals_plain(loop, source):
    losses = loop.gradients()
    drawn = reference.drawn(source, CLASSES, loop.schedule, SEED, loop.iteration)
    for recipe in loop.recipes:
        loss, slope = plain(loop.network, recipe, loop.pixels[recipe.name], drawn)
        torch.testing.assert_close(losses[recipe.name].double(), loss, rtol=1e-4, atol=1e-6)
        error = (loop.pixels[recipe.name].grad - slope).abs().max() / slope.abs().max()
        assert slope.abs().max() > 0
        assert error < 5e-4


@pytest.mark.parametrize("chunk", [5, 10_000])
@pytest.mark.parametrize(
    "network",
    ["ConvNet-W8-D2", "ConvNet-W8-D2-NN-LeakyReLU-Max", "ConvNet-W8-D2-LN-Sigmoid-None", "ConvNet-W8-D2-GN"],
)
def test_losses_and_gradients_equal_the_plain_loop(digits, network, chunk):
    assert_equals_plain(begun(digits.train, FRESH, schedule(network, chunk)), digits.train)


def test_dsa_equals_the_plain_loop_on_a_network_that_the_memory_has_trained(digits):
    loop = begun(digits.train, [registry.condenser("dsa")], schedule())
    loop.step()
    loop.step()
    assert_equals_plain(loop, digits.train)


def test_dc_augments_neither_images_nor_the_training_of_its_networks(digits):
    dc, dsa = (registry.condenser(name) for name in ("dc", "dsa"))
    assert dc.schedule(schedule(), 4).augmentation == ""
    assert dsa.schedule(schedule(), 4).augmentation == SIX
    loop = begun(digits.train, [dc], dc.schedule(schedule(), 4))
    assert loop.networks.training.augmentation == ""
    assert_equals_plain(loop, digits.train)


def test_every_thousandth_of_the_run_has_a_network_and_the_papers_loops():
    for name in ("dc", "dsa"):
        recipe = registry.condenser(name)
        steps = {ipc: recipe.schedule(Schedule(), ipc).iterations for ipc in (1, 2, 10, 20, 50)}
        assert steps == {1: 1_000, 2: 10_000, 10: 10_000, 20: 20_000, 50: 50_000}
        assert recipe.schedule(Schedule(200), 10).iterations == 100
        assert recipe.optimizer == SGD(0.1)


def test_the_network_is_trained_on_the_memory_between_steps_and_then_drawn_anew(digits):
    asked = Alternating(outer=3, inner=4)
    loop = begun(digits.train, [GradientRecipe("x", cosine, networks=asked)], schedule())
    images, labels = loop.decoded("x")
    source, seen = loop.networks, []
    for iteration in range(4):
        source.advance(iteration, lambda: (images, labels))
        source.load(torch.tensor([iteration]))
        seen.append(copy.deepcopy(loop.network))
    # The second network is the first after four epochs of plain steps at one rate, each from its own seed.
    expected = copy.deepcopy(seen[0])
    for epoch in range(4):
        training = Training(epochs=1, lr=0.01, momentum=0.0, weight_decay=0.0, augmentation=SIX, chunk=10_000)
        train(expected, images, labels, training, key_of(SEED, "alternating", "inner", 1, epoch, 0))
    for found, wanted in zip(seen[1].parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
    first = [next(network.parameters()) for network in seen]
    assert not torch.equal(first[1], first[2])
    assert not torch.equal(first[3], first[0])
    assert (first[3] - first[0]).abs().max() > 10 * (first[1] - first[0]).abs().max()
    assert source.hidden_images == 2 * 4 * len(labels)


def test_loops_by_images_per_class(digits):
    network = begun(digits.train, FRESH[:1], schedule()).network
    source = digits.train
    for ipc, loops in {1: (1, 1), 2: (10, 50), 10: (10, 50), 20: (20, 25), 60: (50, 10)}.items():
        made = Alternating().begin(Run(network, source, Training(), SEED, ipc))
        assert (made.outer, made.inner) == loops


def test_each_method_improves_its_own_objective(digits):
    for name in ("dc", "dsa"):
        recipe = registry.condenser(name)
        fresh = GradientRecipe(name, recipe.distance, networks=Fresh(), optimizer=SGD(0.5))
        loop = begun(digits.train, [fresh], recipe.schedule(schedule(), 4))

        def objective(loop=loop, name=name):
            # Over several draws of network, real images and augmentation, always the same ones.
            total = 0
            for loop.iteration in range(100, 108):
                total = total + loop.gradients()[name].item()
            return total

        before = objective()
        for loop.iteration in range(20):
            loop.step()
        assert objective() < 0.9 * before


def test_recipes_in_lockstep_get_what_they_get_alone(digits):
    together = begun(digits.train, FRESH, schedule())
    together.step()
    alone = GradientMatching(digits.train, CLASSES, 4, FRESH[:1], schedule(), SEED)
    alone.pixels["fresh"].copy_(begun(digits.train, FRESH, schedule()).pixels["fresh"])
    alone.step()
    assert torch.equal(alone.pixels["fresh"], together.pixels["fresh"])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (schedule("ConvNet-W8-D2-BN"), "dsa takes no batch norm, which would see one class only: not ConvNet-W8-D2-BN"),
        (Schedule(5, 8, "ConvNet-W8-D2", real_dtype="bfloat16"), "dsa computes in float32 only: leave out --precision"),
    ],
)
def test_what_it_cannot_do_is_refused(digits, changed, words):
    with pytest.raises(ValueError, match=f"^{words}$"):
        GradientMatching(digits.train, CLASSES, 4, [registry.condenser("dsa")], changed, SEED)


def test_terms_cannot_be_added():
    for name in ("dc", "dsa"):
        with pytest.raises(ValueError, match=f"^{name} takes no terms; add them to .*, as in dm\\+sm"):
            registry.condenser(f"{name}+sm")
