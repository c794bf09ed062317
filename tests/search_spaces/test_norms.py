"""Our instance norm against torch's, forward, backward, and backward of backward."""

import pytest
import torch
from torch import nn

from search_spaces.norms import InstanceNorm


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
