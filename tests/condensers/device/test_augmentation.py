"""Each operation against its plain version, its share of the draws, and its gradient."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch.autograd import gradcheck

from condensers.device import augmentation, draws
from condensers.device.augmentation import OPERATIONS, apply, draw, draw_one

from .. import reference

SIX = "color_crop_cutout_flip_scale_rotate"
GROUPS = 24


def numbers(groups, seed=0, dtype=torch.float32):
    return draws.uniform(draws.keys(seed, torch.arange(groups)), augmentation.NUMBERS).to(dtype)


def images(groups=GROUPS, n=3, channels=3, side=16, dtype=torch.float32):
    return torch.randn(groups, n, channels, side, side, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 15, 32])
@pytest.mark.parametrize("strategy", [*OPERATIONS, SIX, "flip_crop", "rotate_color_cutout"])
def test_an_operation_is_its_plain_version(strategy, side, channels):
    before, drawn = images(channels=channels, side=side), numbers(GROUPS)
    after = apply(draw(strategy, drawn, side), before)
    for group, found, r in zip(before, after, drawn.tolist(), strict=True):
        expected = reference.augmented(group.double(), strategy, r)
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("operation", ["color", "cutout"])
def test_what_needs_no_sampling_is_exact(operation):
    before, drawn = images(), numbers(GROUPS)
    for group, found, r in zip(before, apply(draw(operation, drawn, 16), before), drawn.tolist(), strict=True):
        expected, found = reference.augmented(group.double(), operation, r), found.double()
        if operation == "cutout":
            assert torch.equal(found, expected)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_rotation_turns_by_up_to_15_degrees_about_the_centre():
    before, drawn = images(groups=200, n=1, channels=1, dtype=torch.float64), numbers(200, dtype=torch.float64)
    after = apply(draw("rotate", drawn, 16), before)
    angles = (drawn[:, 1] * 2 - 1) * 15 * math.pi / 180
    assert angles.abs().max() > math.radians(14.5)
    y, x = np.mgrid[:16, :16] - 7.5
    for group, found, angle in zip(before, after, angles.tolist(), strict=True):
        at = [math.sin(angle) * x + math.cos(angle) * y + 7.5, math.cos(angle) * x - math.sin(angle) * y + 7.5]
        expected = map_coordinates(group[0, 0].numpy(), at, order=1, mode="grid-constant", cval=0.0)
        np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-6)


def test_scale_keeps_the_centre_and_stays_within_its_bounds():
    ramp = torch.linspace(-1, 1, 17, dtype=torch.float64).expand(500, 1, 1, 17, 17).contiguous()
    drawn = numbers(500, dtype=torch.float64)
    after = apply(draw("scale", drawn, 17), ramp)[:, 0, 0]
    # A ramp shrunk by s has s times the slope at its centre, which stays 0.
    slopes = (after[:, 8, 9] - after[:, 8, 8]) * 8
    assert after[:, 8, 8].abs().max() < 1e-6
    assert 1 / 1.2 - 1e-6 < slopes.min() < 0.84
    assert 1.19 < slopes.max() < 1.2 + 1e-6
    down = apply(draw("scale", drawn, 17), ramp.mT.contiguous())[:, 0, 0]
    assert abs(np.corrcoef(slopes, (down[:, 9, 8] - down[:, 8, 8]) * 8)[0, 1]) < 0.15


def test_all_shifts_of_a_crop_and_all_holes_are_equally_likely():
    shifts = draw("crop", numbers(20_000), 32).theta[:, :, 2] * 31 / 2
    hole = draw("cutout", numbers(20_000), 32).hole
    for values, choices in ((shifts, range(-4, 5)), (hole, range(-8, 25))):
        for column in values.T:
            counts = column.round().long().sub(min(choices)).bincount(minlength=len(choices))
            assert len(counts) == len(choices)
            torch.testing.assert_close(
                counts / 20_000, torch.full((len(choices),), 1 / len(choices)), rtol=0.25, atol=0
            )


def test_every_operation_is_equally_likely_and_alone():
    n = 60_000
    drawn = draw(SIX, numbers(n), 32)
    (a, b, x), (c, d, y) = drawn.theta.permute(1, 2, 0)
    neutral = torch.tensor([0.0, 1.0, 1.0])
    flat = (b == 0) & (c == 0)
    found = {
        "color": (drawn.color != neutral).any(1),
        "cutout": (drawn.hole < 32).all(1),
        "rotate": ~flat,
        "crop": (x != 0) | (y != 0),
        "scale": flat & ((a.abs() != 1) | (d != 1)),
        "flip": a == -1,
    }
    expected = dict.fromkeys(found, 1 / 6) | {"flip": 1 / 12, "crop": 80 / 81 / 6}
    for name, on in found.items():
        assert on.float().mean().item() == pytest.approx(expected[name], abs=0.006), name
    assert torch.stack(list(found.values())).sum(0).max() == 1


def test_a_strategy_without_flip_never_flips():
    drawn = draw("color_crop_cutout_scale_rotate", numbers(20_000), 8)
    assert (drawn.theta[:, 0, 0] > 0).all()
    assert draw("color_cutout", numbers(10), 8).theta is None


def test_all_images_of_a_group_share_one_draw_and_groups_do_not():
    drawn = draw(SIX, numbers(GROUPS), 16)
    one = images(n=1)
    real, synthetic = one.expand(-1, 5, -1, -1, -1), one.expand(-1, 2, -1, -1, -1)
    torch.testing.assert_close(apply(drawn, real)[:, 3], apply(drawn, synthetic)[:, 1])
    same = apply(drawn, one[:1].expand(GROUPS, -1, -1, -1, -1))
    assert len({tuple(image.flatten().tolist()) for image in same}) > GROUPS / 2


@pytest.mark.parametrize("strategy", [*OPERATIONS, SIX])
def test_gradients_are_those_of_finite_differences(strategy):
    drawn = draw(strategy, numbers(6, seed=2, dtype=torch.float64), 4)
    pixels = images(6, 2, 3, 4, dtype=torch.float64).requires_grad_()
    assert gradcheck(lambda x: apply(drawn, x), pixels)


def test_one_operation_for_all_and_a_strength_for_each():
    strengths = numbers(300)[:, 1:]
    for place, operation in enumerate(SIX.split("_")):
        alone = draw_one(operation, 0.0, strengths, 16)
        among_six = draw_one(SIX, (place + 0.5) / 6, strengths, 16)
        for part in ("theta", "color", "hole"):
            a, b = getattr(alone, part), getattr(among_six, part)
            assert (a is None and b is None) or torch.equal(a, b)
            assert a is None or operation == "flip" or len(a.flatten(1).unique(dim=0)) >= 25
    assert 100 < (draw_one("flip", 0.3, strengths, 16).theta[:, 0, 0] == -1).sum() < 200


def test_no_strategy_changes_nothing():
    before = images()
    assert apply(draw("", numbers(GROUPS), 16), before) is before
    assert apply(draw_one("", 0.5, numbers(GROUPS)[:, 1:], 16), before) is before


def test_an_unknown_operation_is_named():
    with pytest.raises(ValueError, match=r"unknown augmentation 'flop'. Did you mean 'flip'\? Choices: color, crop"):
        draw("color_flop", numbers(1), 8)


@pytest.mark.parametrize("side", [8, 15, 32])
def test_standard_crops_and_flips_every_image(side):
    before, drawn = images(groups=200, n=1, side=side), numbers(200)[:, 1:]
    after = apply(draw_one("standard", 0.3, drawn, side), before)
    reach = round(side / 8)
    for group, found, (x, y, mirrored) in zip(before, after, drawn.tolist(), strict=True):
        right, down = (int(r * (2 * reach + 1)) for r in (x, y))
        padded = torch.nn.functional.pad(group, [reach] * 4)[..., down : down + side, right : right + side]
        expected = padded.flip(-1) if mirrored < 0.5 else padded
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("strategy", "number"), [(SIX, 2), (SIX, 6), ("color_crop_scale", 2), ("rotate_cutout", 4)])
def test_every_view_of_every_image_has_a_draw_of_its_own_or_is_the_mirror_image_of_one_that_has(strategy, number):
    before, keys = images(groups=5, n=2), draws.keys(4, torch.arange(5))
    after = augmentation.views(strategy, before, number, keys)
    assert after.shape == (5, 2 * number, 3, 16, 16)
    if strategy == SIX:
        torch.testing.assert_close(after[:, 1::2], after[:, ::2].flip(-1), rtol=0, atol=0)
        after, number = after[:, ::2], number // 2
    drawn = []
    for group, found, key in zip(before, after, keys.tolist(), strict=True):
        for at, view in enumerate(found):
            drawn.append(reference.uniform(draws.fold(key, at), 4))
            expected = reference.augmented(group[at // number][None].double(), strategy, drawn[-1])
            torch.testing.assert_close(view[None].double(), expected, rtol=1e-5, atol=2e-5)
    assert len({tuple(numbers) for numbers in drawn}) == 5 * 2 * number


def test_views_of_a_group_do_not_depend_on_the_others():
    before, keys = images(groups=5, n=2), draws.keys(4, torch.arange(5))
    whole = augmentation.views(SIX, before, 4, keys)
    assert torch.equal(augmentation.views(SIX, before[2:4], 4, keys[2:4]), whole[2:4])
