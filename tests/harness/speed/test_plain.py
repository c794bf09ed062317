"""The plain loops that speed is measured against compute what the core computes."""

import math

import pytest
import torch

from condensers import registry
from condensers.core.matching import Matching
from condensers.core.recipe import Schedule
from condensers.device.draws import draw_network
from condensers.device.images import LabelledImages
from condensers.device.training import Training, train
from harness.speed import objectives, plain
from harness.speed.competitors import STRATEGY
from harness.speed.objectives import OBJECTIVES
from search_spaces.registry import build

from ...condensers import reference

NETWORK, BATCH = "ConvNet-W8-D2", 12
# With this seed the ten classes of the digits draw all six operations in the first iteration.
SEED = 45


def copied(network, classes, shape):
    """The plain network with the weights of one of the core's."""
    twin = plain.network_of(NETWORK, classes, shape).to(next(network.parameters()).dtype)
    with torch.no_grad():
        for own, theirs in zip(twin.parameters(), network.parameters(), strict=True):
            own.copy_(theirs)
    return twin


def plain_loss_and_gradient(method, iteration, pixels):
    """At `pixels`, in their arithmetic."""
    dtype, leaf = pixels.dtype, pixels.clone().requires_grad_()
    network = copied(iteration.network, len(pixels), pixels.shape[2:]).to(dtype)
    draws = [reference.draw(STRATEGY, numbers, dtype) for numbers in iteration.numbers]
    classes = zip((x.to(dtype) for x in iteration.real), leaf, draws, strict=True)
    loss = plain.iteration_loss(network, OBJECTIVES[method], classes)
    return loss.detach(), torch.autograd.grad(loss, leaf)[0]


def set_up(source, classes, method, ipc):
    schedule = Schedule(real_batch=BATCH, network=NETWORK, augmentation=STRATEGY, chunk=38)
    matching = Matching(source, range(classes), ipc, [registry.condenser(method)], schedule, SEED)
    generator = torch.Generator().manual_seed(1)
    matching.pixels[method] += 0.3 * torch.randn(matching.pixels[method].shape, generator=generator)
    return matching, reference.drawn(source, range(classes), schedule, SEED, 0)


@pytest.mark.parametrize("ipc", [1, 8])
@pytest.mark.parametrize("method", OBJECTIVES)
@pytest.mark.parametrize("images", ["digits", "colours"])
def test_the_plain_loop_computes_what_reference_and_core_compute(request, images, method, ipc):
    source = request.getfixturevalue(images)
    source, classes = (source, 4) if isinstance(source, LabelledImages) else (source.train, 10)
    matching, iteration = set_up(source, classes, method, ipc)
    pixels = matching.pixels[method].detach()
    expected = reference.loss_and_gradient(reference.PRESETS[method], iteration, pixels)
    for found, close in zip(plain_loss_and_gradient(method, iteration, pixels.double()), expected, strict=True):
        torch.testing.assert_close(found, close, rtol=1e-7, atol=1e-7 * close.abs().max().item())
    loss, gradient = plain_loss_and_gradient(method, iteration, pixels)
    torch.testing.assert_close(loss, matching.gradients()[method], rtol=1e-4, atol=1e-6)
    core = matching.pixels[method].grad
    torch.testing.assert_close(gradient, core, rtol=0, atol=2e-4 * core.abs().max().item())


def test_the_comparison_saw_every_operation(digits):
    _, iteration = set_up(digits.train, 10, "dm", 1)
    assert {reference.draw(STRATEGY, numbers)[0] for numbers in iteration.numbers} == set(plain.OPERATIONS)


def test_terms_of_numbers_that_can_be_worked_out_by_hand():
    # Two images of two channels and two pixels, the second black; against a black one.
    real, black = torch.zeros(2, 2, 1, 2, dtype=torch.float64), torch.zeros(1, 2, 1, 2, dtype=torch.float64)
    real[0] = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    assert objectives.gram_distance(real, black).item() == pytest.approx((5**2 + 2 * 11**2 + 25**2) / 8**2)
    deviation = (math.sqrt(0.25 + 1e-5) - math.sqrt(1e-5)) / 2
    expected = ((0.75**2 + 1.75**2) / 2 + deviation**2) / 2
    assert objectives.moment_distance(real, black).item() == pytest.approx(expected)
    # Three images in a line; the outer ones are nearest to the one between them, and that to the second.
    features = torch.tensor([[0.0, 0.0], [math.log(3), 0.0], [-3.0, 0.0]], dtype=torch.float64)
    shares = [1 / 2, 3 / 4, 1 / (1 + math.exp(3))]

    def divergence(p, q):
        return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))

    expected = sum(divergence(shares[i], shares[j]) for i, j in ((0, 1), (1, 0), (2, 0))) / 3
    assert objectives.diversity(features, 1).item() == pytest.approx(expected)
    sides = (objectives.Activations(x.flatten(1), []) for x in (real, black))
    assert objectives.mean_match(*sides).item() == pytest.approx((1 + 4 + 9 + 16) / 4)


@pytest.mark.parametrize("operation", plain.OPERATIONS)
@pytest.mark.parametrize("side", [8, 15])
def test_an_operation_with_a_strength_for_each_image(operation, side):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(20, 3, side, side, generator=generator, dtype=torch.float64)
    strengths = torch.rand(20, 3, generator=generator, dtype=torch.float64)
    found = plain.augmented(images, (operation, strengths))
    assert found.is_contiguous()
    for image, after, numbers in zip(images, found, strengths.tolist(), strict=True):
        torch.testing.assert_close(after[None], reference.augmented(image[None], operation, [0.0, *numbers]))


def condensing(source, method="dm", ipc=3):
    return plain.Condensing(source, ipc, method, NETWORK, BATCH, STRATEGY, SEED)


def test_the_plain_loop_starts_from_images_of_each_class_and_steps_with_momentum(digits):
    loop = condensing(digits.train)
    known = digits.train.normalise(digits.train.images)
    for place, image in enumerate(loop.pixels.detach()):
        at = (known == image).flatten(1).all(1).nonzero()[:, 0]
        assert place // 3 in digits.train.labels[at]
    velocity, expected = 0, loop.pixels.detach().clone()
    for _ in range(3):
        assert loop.step() > 0
        velocity = 0.5 * velocity + loop.pixels.grad
        expected = expected - velocity
        torch.testing.assert_close(loop.pixels.detach(), expected)


def test_the_plain_loop_repeats_from_torchs_seed(digits):
    runs = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            loop = condensing(digits.train)
            losses = [loop.step() for _ in range(2)]
        runs.append(losses)
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[0][1]


def test_plain_training_is_the_cores(digits):
    # Whole batches, so that the order does not matter; no augmentation, whose draws differ; float64, as ReLUs amplify
    # rounding.
    images, labels = digits.train.normalise(digits.train.images[:60]).double(), digits.train.labels[:60]
    core = build(NETWORK, 10, (1, 8, 8))
    draw_network(core, 0)
    twin = copied(core.double(), 10, (1, 8, 8))
    before = twin.classifier.weight.detach().clone()
    training = Training(epochs=6, batch=60, lr=0.1, augmentation="")
    plain.train(twin, images, labels, training, 0)
    train(core, images, labels, training, 0)
    for own, theirs in zip(twin.parameters(), core.parameters(), strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-9, atol=1e-9)
    assert (twin.classifier.weight - before).abs().max() > 0.01


def test_other_networks_have_no_plain_loop():
    for name in ("ResNet18", "ConvNet-W8-D2-BN", "ConvNet-W8-D2-IN-ReLU-Max"):
        with pytest.raises(ValueError, match="the plain loops have no network"):
            plain.network_of(name, 10, (3, 32, 32))
