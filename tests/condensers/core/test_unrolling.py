"""The unrolled window against a plain float64 one, layer by layer and step by step."""

import copy

import pytest
import torch
import torch.nn.functional as F

from condensers import registry
from condensers.condense import LOOPS
from condensers.core.networks import Fresh, Run
from condensers.core.optimizers import SGD, Adam
from condensers.core.pools import PartlyTrained
from condensers.core.recipe import Schedule
from condensers.core.unrolling import UnrolledRecipe, Unrolling
from condensers.device import draws
from condensers.device.training import Training, train

from .. import reference
from ..device.elsewhere import DEVICE, Watch, values

SIX = "color_crop_cutout_flip_scale_rotate"
CLASSES, SEED = range(10), 45
FRESH = UnrolledRecipe("fresh", networks=Fresh(), window=4, lr=0.05, momentum=0.8, optimizer=SGD(1.0))


def schedule(network="ConvNet-W8-D2", chunk=10_000):
    given = frozenset(("iterations", "real_batch"))
    return Schedule(20, real_batch=12, network=network, augmentation=SIX, chunk=chunk, given=given)


def begun(source, recipe, schedule, ipc=3):
    loop = LOOPS[recipe.loop](source, CLASSES, ipc, [recipe], schedule, SEED)
    generator = torch.Generator().manual_seed(1)
    loop.pixels[recipe.name].add_(0.3 * torch.randn(loop.pixels[recipe.name].shape, generator=generator))
    return loop


def logits(weights, images):
    """ConvNet-D2 with instance norm, ReLU and average pooling, from its list of weights."""
    for kernel, bias, scale, shift in (weights[:4], weights[4:8]):
        maps = F.conv2d(images, kernel, bias, padding=1)
        mean, variance = maps.mean((2, 3), keepdim=True), maps.var((2, 3), correction=0, keepdim=True)
        maps = (maps - mean) / (variance + 1e-5).sqrt() * scale.view(-1, 1, 1) + shift.view(-1, 1, 1)
        images = maps.clamp_min(0).unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5))
    return images.flatten(1) @ weights[8].T + weights[9]


def cross_entropy(found, labels):
    return -found.log_softmax(1)[torch.arange(len(labels)), labels].mean()


def augmented(images, key):
    numbers = reference.uniform(key, 1 + 3 * len(images))
    each = zip(images, (numbers[1 + 3 * i : 4 + 3 * i] for i in range(len(images))), strict=True)
    return torch.cat([reference.augmented(image[None], SIX, [numbers[0], *own]) for image, own in each])


def plain(loop, recipe, source):
    """Loss and gradient, by unrolling with autograd and nothing else."""
    leaf = loop.pixels[recipe.name].detach().double().requires_grad_()
    labels = torch.arange(10).repeat_interleave(leaf.shape[1])
    weights = [p.detach().double().requires_grad_() for p in loop.network.parameters()]
    speed = [torch.zeros_like(p) for p in weights]
    iteration = draws.fold(draws.key_of(SEED, "iterations"), loop.iteration)
    for step in range(recipe.window):
        batch = augmented(leaf.flatten(0, 1), draws.fold(draws.fold(iteration, 3), step))
        slopes = torch.autograd.grad(cross_entropy(logits(weights, batch), labels), weights, create_graph=True)
        speed = [recipe.momentum * v + slope for v, slope in zip(speed, slopes, strict=True)]
        weights = [w - recipe.lr * v for w, v in zip(weights, speed, strict=True)]
    real = reference.drawn(source, CLASSES, loop.schedule, SEED, loop.iteration).real
    loss = cross_entropy(logits(weights, torch.cat(real)), torch.arange(10).repeat_interleave(len(real[0])))
    return loss.detach(), torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize("chunk", [7, 10_000])
@pytest.mark.parametrize("number", [0, 3])
def test_loss_and_gradient_equal_the_plain_unroll(digits, chunk, number):
    loop = begun(digits.train, FRESH, schedule(chunk=chunk))
    loop.iteration = number
    found = loop.gradients()["fresh"]
    loss, slope = plain(loop, FRESH, digits.train)
    torch.testing.assert_close(found.double(), loss, rtol=1e-5, atol=1e-6)
    assert slope.abs().max() > 0
    assert (loop.pixels["fresh"].grad - slope).abs().max() / slope.abs().max() < 1e-3


def test_it_improves_its_own_objective(digits):
    recipe = UnrolledRecipe("bptt", networks=Fresh(), optimizer=Adam(0.03), lr=0.05)
    loop = begun(digits.train, recipe, schedule())

    def objective():
        total = 0
        for loop.iteration in range(100, 108):
            total = total + loop.gradients()["bptt"].item()
        return total / 8

    before = objective()
    for loop.iteration in range(20):
        loop.step()
    assert objective() < before - 0.05


def test_networks_are_trained_on_the_memory_for_up_to_so_many_epochs(digits):
    loop = begun(digits.train, UnrolledRecipe("x", networks=Fresh()), schedule())
    images, labels = loop.decoded("x")
    source = PartlyTrained(3).begin(Run(loop.network, digits.train, Training(augmentation=SIX), SEED, 3))
    seen = []
    for iteration in range(40):
        before = source.hidden_images
        source.advance(iteration, lambda: (images, labels))
        seen.append((source.hidden_images - before) // len(labels))
    assert {number: seen.count(number) > 3 for number in range(4)} == dict.fromkeys(range(4), True)
    assert len(seen) == 40
    assert max(seen) == 3
    source.load(torch.tensor([39]))
    expected = copy.deepcopy(loop.network)
    draws.draw_network(expected, draws.key_of(SEED, "partly trained", "weights", 0, 39))
    for epoch in range(seen[-1]):
        key = draws.key_of(SEED, "partly trained", "start", 39, epoch, 0)
        expected.requires_grad_(True)
        train(expected, images, labels, Training(epochs=1, augmentation=SIX), key)
    for found, wanted in zip(loop.network.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["dsa", "bptt", "dm-self"])
def test_a_restored_run_goes_on_to_the_same_bits(digits, name):
    recipe = registry.condenser(name)
    whole, first, second = (begun(digits.train, recipe, schedule(), ipc=10) for _ in range(3))
    for _ in range(12):
        whole.step()
    for _ in range(5):
        first.step()
    second.restore({key: value.clone() for key, value in first.state().items()})
    for _ in range(7):
        second.step()
    assert torch.equal(second.pixels[name], whole.pixels[name])
    assert second.networks.hidden_images == whole.networks.hidden_images


@pytest.mark.parametrize("name", ["dsa", "bptt"])
def test_the_host_waits_for_nothing_in_a_step_of_the_pixels(colours, name):
    recipe = registry.condenser(name)
    short = Schedule(5, 10, "ConvNet-W8-D2", SIX, chunk=256)
    with Watch() as watch:
        loop = LOOPS[recipe.loop](colours.to(DEVICE), range(4), 4, [recipe], short, SEED)
        loop.step()
        watch.clear()
        loop._step()
        assert watch.waits == []
        assert watch.calls > 100
        assert values(loop.pixels[name]).isfinite().all()


def test_batch_norm_is_unrolled_too(digits):
    loop = begun(digits.train, FRESH, schedule("ConvNet-W8-D2-BN", chunk=7))
    loop.step()
    assert loop.pixels["fresh"].isfinite().all()
    assert isinstance(loop, Unrolling)
