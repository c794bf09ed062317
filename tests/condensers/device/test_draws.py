"""Draws: pinned numbers, uniform, the same whatever is drawn beside them, the same on every device."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, kstest
from torch import nn

from condensers.device.draws import (
    draw_network,
    fold,
    host_uniform,
    key_of,
    keys,
    normal,
    permutation,
    uniform,
    without_replacement,
)
from search_spaces.registry import build

# Outputs of SplitMix64 for seed 1234567, as published with its reference implementation.
PUBLISHED = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]


def test_the_generator_is_splitmix64():
    assert [fold(1234567, i) % 2**64 for i in range(5)] == PUBLISHED
    assert [int(x) % 2**64 for x in keys(1234567, torch.arange(5))] == PUBLISHED
    assert uniform(torch.tensor([1234567]), 5)[0].tolist() == [(x >> 40) / 2**24 for x in PUBLISHED]


def test_keys_never_change():
    # printf '0/iteration/3' | b2sum -l 64, read from its last byte. Committed memories were made with these.
    assert key_of(0, "iteration", 3) == int.from_bytes(bytes.fromhex("638c7caea3ea621c"), "little", signed=True)


def test_host_and_device_fold_alike():
    positions = [0, 1, 2, 99, 10**6, 2**40]
    for key in (0, -1, 2**63 - 1, -(2**63), key_of(5, "a")):
        assert keys(key, torch.tensor(positions)).tolist() == [fold(key, position) for position in positions]


def test_names_make_keys():
    names = [("a",), ("b",), ("a", 0), ("a", 1), ("a", 11), ("a", 1, 1), (0, "a")]
    assert len({key_of(seed, *each) for seed in (0, 1) for each in names}) == 2 * len(names)
    assert all(-(2**63) <= key_of(seed, "x") < 2**63 for seed in range(100))


def test_numbers_are_uniform_within_a_key_and_across_keys():
    within = uniform(torch.tensor([key_of(0, "within")]), 50_000)[0]
    across = uniform(keys(key_of(0, "across"), torch.arange(50_000)), 2)
    iterations = torch.tensor([key_of(0, "iteration", i) for i in range(20_000)])
    for sample in (within, across[:, 0], across[:, 1], uniform(iterations, 1)[:, 0]):
        assert kstest(sample.numpy(), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(within[:-1], within[1:])[0, 1]) < 0.02
    assert abs(np.corrcoef(across.T)[0, 1]) < 0.02
    assert kstest([host_uniform(key) for key in range(20_000)], "uniform").pvalue > 0.01


def test_host_numbers_stay_below_one():
    # All 64 bits of this key's number are ones; divided by 2^64 in floating point they would make 1.0.
    key = -3487469807577879104
    assert fold(key, -1) == -1
    assert 0.999 < host_uniform(key) < 1


def test_a_key_draws_the_same_beside_any_others():
    many = keys(7, torch.arange(10))
    whole = uniform(many, 30)
    assert torch.equal(uniform(many[[2]], 30)[0], whole[2])
    assert torch.equal(uniform(many[[5, 2]], 12), whole[[5, 2], :12])
    counts = torch.tensor([20, 30, 25])
    apart = without_replacement(many[1:2], counts[1:2], 30, 9)
    assert torch.equal(without_replacement(many[:3], counts, 30, 9)[1:2], apart)
    # Nor does it matter how large the largest class of the run is.
    assert torch.equal(without_replacement(many[1:2], counts[1:2], 47, 9), apart)


def test_drawing_without_replacement():
    counts = torch.tensor([5, 8, 40]).repeat(2000)
    chosen = without_replacement(keys(3, torch.arange(6000)), counts, 40, 5)
    assert chosen.shape == (6000, 5)
    assert (chosen < counts[:, None]).all()
    assert (chosen.sort(1).values.diff(dim=1) > 0).all()
    assert (chosen[::3].sort(1).values == torch.arange(5)).all()
    for column in range(5):
        assert chisquare(chosen[1::3, column].bincount(minlength=8)).pvalue > 1e-3


def test_permutations():
    orders = [permutation(key, 6, "cpu") for key in range(3000)]
    assert all(order.sort().values.tolist() == list(range(6)) for order in orders[:50])
    for place in range(6):
        assert chisquare(torch.stack(orders)[:, place].bincount(minlength=6)).pvalue > 1e-3


NETWORKS = ("ConvNet-W16-D3-BN", "ConvNet-W16-D2-LN", "ConvNet-W16-D2-GN", "AlexNet", "ResNet18", "VGG11-BN")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_drawn_as_torch_would(name):
    torch.manual_seed(0)
    default, drawn = (build(name, 10, (3, 32, 32)) for _ in range(2))
    draw_network(drawn, 5)
    for (label, expected), found in zip(default.state_dict().items(), drawn.state_dict().values(), strict=True):
        if expected.numel() < 2 or expected.unique().numel() == 1:
            assert torch.equal(found, expected), label
        elif expected.numel() > 4000:
            assert found.std() == pytest.approx(expected.std().item(), rel=0.05), label
            assert kstest(found.flatten().numpy()[:4000], expected.flatten().numpy()[:4000]).pvalue > 1e-3, label
    for layer in drawn.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            assert 0.9 * bound < layer.weight.abs().max() <= bound
            assert layer.bias is None or 0 < layer.bias.abs().max() <= bound


def test_the_numbers_of_a_network_are_pinned():
    network = build("ConvNet-W4-D1", 2, (1, 2, 2))
    draw_network(network, 1234567)
    conv, linear = network.blocks[0].conv, network.classifier
    drawn = torch.tensor([fold(1234567, i) % 2**64 >> 40 for i in range(36 + 4 + 8 + 2)], dtype=torch.float64)
    drawn = drawn / 2**24 * 2 - 1
    torch.testing.assert_close(conv.weight.flatten().double(), drawn[:36] / 3)
    torch.testing.assert_close(conv.bias.double(), drawn[36:40] / 3)
    torch.testing.assert_close(linear.weight.flatten().double(), drawn[40:48] / 2)
    torch.testing.assert_close(linear.bias.double(), drawn[48:] / 2)


def test_a_network_depends_on_its_seed_only():
    first, second = (build("ConvNet-W8-D2-BN", 10, (1, 8, 8)) for _ in range(2))
    second(torch.randn(4, 1, 8, 8))  # moves the running statistics
    for layer in second.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.constant_(layer.weight, 3.0)
    for network in (first, second):
        draw_network(network, 9)
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    draw_network(second, 10)
    assert not torch.equal(first.classifier.weight, second.classifier.weight)


def test_more_classes_leave_the_features_as_they_are():
    few, many = (build("ConvNet-W8-D2", classes, (1, 8, 8)) for classes in (2, 10))
    for network in (few, many):
        draw_network(network, 9)
    images = torch.randn(3, 1, 8, 8)
    assert torch.equal(few.features(images), many.features(images))


def test_a_layer_without_a_known_default_is_refused():
    with pytest.raises(TypeError, match="PReLU"):
        draw_network(nn.Sequential(nn.Conv2d(1, 2, 3), nn.PReLU()), 0)


@pytest.mark.cuda
def test_cuda_draws_the_same_bits():
    positions = torch.arange(100)
    here, there = keys(7, positions), keys(7, positions.cuda())
    assert torch.equal(here, there.cpu())
    assert torch.equal(uniform(here, 1000), uniform(there, 1000).cpu())
    counts = torch.full((100,), 5000)
    chosen = without_replacement(there, counts.cuda(), 5000, 256).cpu()
    assert torch.equal(without_replacement(here, counts, 5000, 256), chosen)
    assert torch.equal(permutation(3, 10_000, "cpu"), permutation(3, 10_000, "cuda").cpu())
    networks = [build("ConvNet-W16-D3", 10, (3, 32, 32)).to(device) for device in ("cpu", "cuda")]
    for network in networks:
        draw_network(network, 4)
    for a, b in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(a, b.cpu())


def test_normal_numbers_are_normal_and_repeat():
    keys = torch.tensor([key_of(1, "a"), key_of(1, "b")])
    first, second = normal(keys, 100_001)
    assert torch.equal(normal(keys, 100_001)[0], first)
    for numbers in (first, second):
        assert numbers.shape == (100_001,)
        assert abs(numbers.mean()) < 0.02
        assert abs(numbers.std() - 1) < 0.02
        # Of a normal distribution 4.55 % lie beyond two deviations.
        assert abs((numbers.abs() > 2).double().mean() - 0.0455) < 0.004
    assert abs((first * second).mean()) < 0.02
