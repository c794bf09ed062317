"""What float32 makes of statistics whose formulas lose digits: exact, or within the bound that the code names."""

import pytest
import torch

from condensers.core import statistics
from condensers.core.recipe import Schedule
from condensers.core.selecting import random_network
from condensers.methods.ddm import crowding, mean_crowding_of_two
from search_spaces.registry import build


def relative_error(found, expected):
    return ((found.double() - expected).abs() / expected).max().item()


@pytest.mark.parametrize("side", [4, 16, 32])
@pytest.mark.parametrize("ratio", [0, 1, 10, 100, 1000])
@pytest.mark.parametrize("channels_last", [True, False])
def test_a_variance_is_as_exact_as_it_says(side, ratio, channels_last):
    generator = torch.Generator().manual_seed(ratio)
    maps = torch.randn(2, 4, 8, side, side, dtype=torch.float64, generator=generator) + ratio
    exact = maps.var((3, 4), correction=0).mean(1)
    maps = maps.float()
    maps = maps.movedim(2, -1).contiguous().movedim(-1, 2) if channels_last else maps
    found = statistics.mean_and_variance(maps)[:, 1]
    assert relative_error(found, exact) <= 5e-6 * (1 + ratio**2)


@pytest.mark.parametrize("tap", ["act", "block"])
def test_behind_rectifiers_a_variance_is_exact_to_a_thousandth(tap, digits):
    network, maps = build("ConvNet-W32-D2-IN-ReLU-Avg", digits.classes, digits.shape), []
    with torch.no_grad():
        network.features(digits.train.normalise(digits.train.images[:64]), {tap: maps.append})
    for one in maps:
        exact = one.double().var((2, 3), correction=0)
        _, found = statistics._moments(one[None])
        held = exact > 1e-6  # a channel that is dead in an image has none
        assert held.any()
        assert relative_error(found[0][held], exact[held]) < 1e-3


@pytest.mark.parametrize("images", [10, 25, 26, 60])
@pytest.mark.parametrize("distance", [crowding, mean_crowding_of_two])
def test_neighbours_are_the_nearest_however_far_all_images_are_from_the_origin(images, distance):
    generator = torch.Generator().manual_seed(images)
    # 1000 in every dimension: softmax does not see it, and distances are what they were.
    features = torch.randn(3, images, 64, dtype=torch.float64, generator=generator).float() + 1000
    exact = distance(features.double(), features.double())
    assert distance(features, features).item() == pytest.approx(exact.item(), rel=1e-5)


def test_batch_norm_of_a_random_network_leaves_features_as_they_are(digits):
    schedule = Schedule(iterations=0, real_batch=1, network="ConvNet-W8-D2-BN", augmentation=digits.augmentation)
    network = random_network(digits.train, schedule, 0, "test").eval()
    without = build("ConvNet-W8-D2-NN", digits.classes, digits.shape).eval()
    missing, _ = without.load_state_dict(network.state_dict(), strict=False)
    assert missing == []
    images = digits.train.normalise(digits.train.images[:8])
    with torch.no_grad():
        torch.testing.assert_close(network.features(images), without.features(images), rtol=1e-4, atol=1e-4)
