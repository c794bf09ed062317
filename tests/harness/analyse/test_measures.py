"""Measures against plain formulas, and at points where their values are known."""

import math

import numpy as np
import pytest
import torch

from condensers import registry
from condensers.device.networks import new_network
from harness.analyse import drift, measures


@pytest.fixture(scope="module")
def network():
    return new_network("ConvNet-W8-D2", 3, (1, 8, 8), torch.device("cpu"), key=1).requires_grad_(False)


def images(count, seed=0):
    return torch.randn(3, count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def sight(network, shown, objectives=(), chunk=4):
    return measures.see(network, shown, objectives, torch.arange(3), chunk)


def test_what_is_seen_does_not_depend_on_chunks(network):
    one, two = (sight(network, images(7), chunk=chunk) for chunk in (2, 100))
    torch.testing.assert_close(one.style, two.style)
    torch.testing.assert_close(one.embedding, two.embedding)


def test_style_gap_is_that_of_a_plain_loop(network):
    memory, real = sight(network, images(4)), sight(network, images(9, seed=1))
    gaps = []
    for own, theirs in zip(memory.style.double().numpy(), real.style.double().numpy(), strict=True):
        deviation = math.sqrt(np.mean([np.sum((one - theirs.mean(0)) ** 2) for one in theirs]))
        gaps.append(np.linalg.norm(own.mean(0) - theirs.mean(0)) / deviation)
    assert measures.style_gap(memory, real) == pytest.approx(np.mean(gaps), rel=1e-5)
    assert measures.style_gap(real, real) == pytest.approx(0, abs=1e-6)


def test_style_is_mean_and_deviation_of_every_map():
    maps = torch.randn(2, 3, 4, 5, 5)
    found = measures.style(maps)
    assert torch.allclose(found[1, 2, :4], maps[1, 2].mean((1, 2)), atol=1e-6)
    assert torch.allclose(found[1, 2, 4:], maps[1, 2].std((1, 2), correction=0), atol=1e-6)


def test_diversity_is_relative_to_as_many_real_images(network):
    real = sight(network, images(9))
    assert measures.diversity(real, real) == pytest.approx(1)
    copies = sight(network, images(1).expand(3, 5, 1, 8, 8))
    assert measures.diversity(copies, real) == pytest.approx(0, abs=1e-3)
    assert math.isnan(measures.diversity(sight(network, images(1)), real))


def test_diversity_looks_at_the_nearest_fifth():
    line = torch.tensor([[[0.0], [1.0], [3.0], [7.0], [15.0], [31.0], [63.0], [127.0], [255.0], [511.0]]])
    nearest = [[1, 3], [1, 2], [2, 3], [4, 6], [8, 12], [16, 24], [32, 48], [64, 96], [128, 192], [256, 384]]
    assert measures._near(line).item() == pytest.approx(np.mean(nearest))


def test_losses_are_those_of_the_objectives(network):
    dm = registry.condenser("dm")
    memory, real = sight(network, images(4), [dm]), sight(network, images(9, seed=1), [dm])
    plain = (real.embedding.mean(1) - memory.embedding.mean(1)).square().sum()
    assert measures.loss(dm, memory, real) == pytest.approx(plain.item(), rel=1e-5)
    assert measures.loss(dm, real, real) == pytest.approx(0, abs=1e-6)


def test_texture_of_flat_and_of_striped_images():
    flat = torch.full((2, 3, 8, 8), 100, dtype=torch.uint8)
    assert measures.texture(flat) == (0.0, 0.0)
    stripes = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    stripes[..., ::2] = 255
    dissimilarity, entropy = measures.texture(stripes)
    # Neighbours differ by 31 levels: at distance 1 but along the stripes, at distance 2 on the diagonals, for these are
    # rounded to one pixel down and one across.
    assert dissimilarity == pytest.approx(31 * (3 + 2) / 8)
    assert entropy == pytest.approx(1)


@pytest.mark.parametrize("ratio", drift.RATIOS)
def test_a_drift_moves_mean_and_variance_by_its_ratio(ratio):
    x, target = torch.randn(4, 3, 6, 6) * 2 + 1, torch.rand(5, 3, 6, 6)
    variance, mean = (one.mean(0) for one in torch.var_mean(target, (2, 3), correction=0, keepdim=True))
    found = drift.moved(x, mean, variance, ratio)
    own_variance, own_mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    assert torch.allclose(found.mean((2, 3), keepdim=True), (1 - ratio) * own_mean + ratio * mean, atol=1e-5)
    wanted = (1 - ratio) * own_variance + ratio * variance
    assert torch.allclose(found.var((2, 3), correction=0, keepdim=True), wanted.expand(4, 3, 1, 1), rtol=1e-3)
    if ratio == 0:
        assert torch.allclose(found, x, atol=1e-5)


def test_a_network_without_drift_computes_what_it_computes_alone(network):
    shown = images(2).flatten(0, 1)
    drifting = drift.Drifting(network, images(3, seed=1).flatten(0, 1), 0.0)
    torch.testing.assert_close(drifting(shown), network(shown), atol=1e-5, rtol=1e-4)
    moved = drift.Drifting(network, images(3, seed=1).flatten(0, 1) * 3, 1.0)
    assert not torch.allclose(moved(shown), network(shown), atol=1e-3)
