"""Instance norm, rectifier and pooling in one pass against torch's layers: forward, backward, and twice."""

import itertools

import pytest
import torch
from torch import nn

from search_spaces.compiled import compiles
from search_spaces.norms import InstanceNorm, layers


def test_these_tests_see_the_compiled_pass():
    assert compiles(torch.zeros(1))


def pair(channels):
    ours, theirs = InstanceNorm(channels), nn.GroupNorm(channels, channels)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.uniform_(-1, 2)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("side", [1, 2, 8, 32])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_equals_group_norm_with_one_channel_a_group(side, layout):
    ours, theirs = pair(6)
    x = (3 * torch.randn(5, 6, side, side) + 1).contiguous(memory_format=layout).requires_grad_()
    slope = torch.randn_like(x)
    exact = theirs.double()(x.double())  # torch's float32 kernel is off by 1e-4 on maps of one pixel
    torch.testing.assert_close(ours(x).double(), exact, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(ours(x.clone()).double(), exact, atol=1e-5, rtol=1e-5)
    found = torch.autograd.grad(ours(x), (x, *ours.parameters()), slope)
    wanted = torch.autograd.grad(exact, (x, *theirs.parameters()), slope.double())
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a.double(), b.double(), atol=1e-4, rtol=1e-4)


def test_nearly_constant_maps_keep_their_digits():
    """E[x^2] - E[x]^2 would lose them all: 100 away from zero, deviation 0.01."""
    ours, _ = pair(2)
    x = 100 + 0.01 * torch.randn(3, 2, 8, 8)
    exact = nn.functional.group_norm(x.double(), 2, ours.weight.double(), ours.bias.double(), ours.eps)
    torch.testing.assert_close(ours(x).double(), exact, atol=1e-2, rtol=1e-2)
    with torch.no_grad():
        torch.testing.assert_close(ours(x).double(), exact, atol=1e-2, rtol=1e-2)


def test_first_and_second_derivatives():
    norm = InstanceNorm(3).double()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, x)
    assert torch.autograd.gradgradcheck(norm, x)


def test_frozen_weights_still_pass_the_gradient_to_the_pixels():
    norm = InstanceNorm(3).requires_grad_(False)
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    norm(x).square().sum().backward()
    assert x.grad.isfinite().all()


ASKED = [(True, False), (False, True), (True, True)]  # maps before pooling, pooled maps


SHAPES = [(3, 5, 2, 2), (2, 16, 8, 8), (2, 70, 16, 32)]
ODD = (1, 3, 7, 5)  # of odd sides: not to be pooled


@pytest.mark.parametrize("slope", [0.0, 0.01, 1.0])
@pytest.mark.parametrize(
    ("shape", "keep", "average"),
    [*((shape, *asked) for shape, asked in itertools.product(SHAPES, ASKED)), (ODD, True, False)],
)
def test_norm_rectifier_and_pooling_equal_the_layers(shape, slope, keep, average):
    norm, _ = pair(shape[1])
    x = (2 * torch.randn(shape) - 1).to(memory_format=torch.channels_last).requires_grad_()
    leaves = (x, norm.weight, norm.bias)
    exact = layers(*(leaf.double() for leaf in leaves), slope, norm.eps, keep, average)
    found = norm.rectified(x, slope, keep, average)
    assert [part is not None for part in found] == [keep, average]
    found, exact = ([part for part in parts if part is not None] for parts in (found, exact))
    for ours, theirs in zip(found, exact, strict=True):
        torch.testing.assert_close(ours.double(), theirs, atol=1e-5, rtol=1e-5)
    slopes = [torch.randn_like(part) for part in found]
    gradients = torch.autograd.grad(found, leaves, slopes)
    expected = torch.autograd.grad(exact, leaves, [part.double() for part in slopes])
    for ours, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-4)


def test_odd_maps_are_not_pooled():
    with pytest.raises(ValueError, match="maps of 7x5 have a row or column"):
        pair(3)[0].rectified(torch.randn(ODD), 0.0, keep=True, average=True)


def test_a_gradient_may_come_through_either_part_alone():
    norm, _ = pair(4)
    x = torch.randn(2, 4, 6, 6, requires_grad=True)
    for asked, read in itertools.product(ASKED[2:], (0, 1)):
        found = torch.autograd.grad(norm.rectified(x, 0.0, *asked)[read].square().sum(), x)[0]
        expected = torch.autograd.grad(layers(x, norm.weight, norm.bias, 0.0, norm.eps, *asked)[read].square().sum(), x)
        torch.testing.assert_close(found, expected[0], atol=1e-5, rtol=1e-4)


def test_second_derivatives_of_both_parts():
    norm = InstanceNorm(3).double()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: norm.rectified(x, 0.1, True, True), x)
    assert torch.autograd.gradgradcheck(lambda x: norm.rectified(x, 0.1, True, True), x)


def test_bfloat16_maps_are_normalised_in_float32():
    norm, _ = pair(6)
    x = (100 + torch.randn(2, 6, 8, 8)).bfloat16()
    found = norm.bfloat16().rectified(x, 0.0, False, True)[1]
    wanted = layers(x.float(), norm.weight.float(), norm.bias.float(), 0.0, norm.eps, False, True)[1]
    torch.testing.assert_close(found, wanted.bfloat16(), atol=0, rtol=2**-7)  # a last digit of bfloat16


def test_nan_and_infinity_are_not_hidden():
    norm, _ = pair(2)
    x = torch.randn(3, 2, 4, 4)
    x[0, 0, 1, 1], x[1, 1, 0, 0] = float("nan"), float("inf")
    found, _ = norm.rectified(x, 1.0, True, False)
    expected, _ = layers(x, norm.weight, norm.bias, 1.0, norm.eps, True, False)
    assert torch.equal(found.isnan(), expected.isnan())
    assert found.isnan().flatten(2).any(2).tolist() == [[True, False], [False, True], [False, False]]
