"""How images are stored and decoded, and that every consumer trains on the decoded ones."""

import pytest
import torch
import torch.nn.functional as F

from condensers.condense import Group, condense
from condensers.core.identity import identity
from condensers.core.pixels import Factor, Raw, pixels_of
from condensers.core.recipe import Schedule
from condensers.memory import Memory, check, load_memory, save_memory
from condensers.registry import condenser


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_raw_pixels_are_the_images():
    real = noise(2, 3, 1, 8, 8)
    stored = Raw().start(real)
    assert torch.equal(stored, real)
    assert stored.data_ptr() != real.data_ptr()
    assert Raw().decode(stored) is stored


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_a_mosaic_decodes_tile_by_tile(factor):
    pixels, side = Factor(factor), 8 // factor
    stored = noise(2, 3, 1, 8, 8)
    decoded = pixels.decode(stored).view(2, 3, factor, factor, 1, 8, 8)
    for row in range(factor):
        for column in range(factor):
            tile = stored[1, 2, :, row * side : (row + 1) * side, column * side : (column + 1) * side]
            whole = F.interpolate(tile[None], size=8, mode="bilinear", align_corners=False)[0]
            torch.testing.assert_close(decoded[1, 2, row, column], whole)


def test_a_mosaic_starts_from_small_real_images_in_the_order_in_which_they_are_decoded():
    flat = torch.arange(8.0).view(1, 8, 1, 1, 1).expand(1, 8, 3, 8, 8)
    stored = Factor(2).start(flat)
    assert stored.shape == (1, 2, 3, 8, 8)
    assert torch.equal(Factor(2).decode(stored), flat)


def test_a_mosaic_of_one_is_the_image():
    real = noise(1, 2, 3, 8, 8)
    assert torch.equal(Factor(1).decode(Factor(1).start(real)), real)


def test_pixels_are_brought_back_between_black_and_white():
    stored, low, high = 10 * noise(1, 2, 3, 4, 4), -torch.ones(3, 1, 1), torch.tensor([1.0, 2, 3]).view(3, 1, 1)
    free = stored.clone()
    Raw().project(free, low, high)
    Factor(2, clamp=False).project(free, low, high)
    assert torch.equal(free, stored)
    Factor(2).project(free, low, high)
    assert torch.equal(free, torch.maximum(torch.minimum(stored, high), low))


def test_a_side_that_tiles_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="images of 8 px cannot be cut into 3 x 3 tiles"):
        Factor(3).start(noise(1, 9, 1, 8, 8))


@pytest.mark.parametrize("pixels", [Raw(), Factor(), Factor(4, clamp=False)])
def test_metadata_name_the_pixels(pixels):
    assert pixels_of(identity(pixels)) == pixels
    assert pixels_of(None) == Raw()


@pytest.mark.parametrize(
    ("described", "words"),
    [({"name": "Facter"}, "Did you mean 'Factor'"), ({"name": "Factor", "side": 2}, "not understood"), ({}, "unknown")],
)
def test_unknown_pixels_are_refused(described, words):
    with pytest.raises(ValueError, match=words):
        pixels_of(described)


@pytest.mark.parametrize("factor", [0, -2])
def test_a_file_with_an_impossible_mosaic_is_refused(factor, tmp_path):
    path, decoding = tmp_path / "odd.safetensors", {"name": "Factor", "factor": factor}
    save_memory(Memory(noise(2, 1, 8, 8), torch.tensor([0, 1]), {"decoding": decoding}), path)
    with pytest.raises(ValueError, match=f"cannot have {factor} images along a side"):
        load_memory(path)


@pytest.fixture(scope="module")
def mosaic(digits):
    schedule = Schedule(4, 16, "ConvNet-W8-D2", "crop_scale", chunk=50)
    return condense([condenser("m3d")], digits.train, [Group((3, 1), 2)], schedule, seed=1)["m3d"]


def test_a_memory_of_mosaics_is_decoded_after_a_round_trip(mosaic, tmp_path):
    path = tmp_path / "m3d.safetensors"
    save_memory(mosaic, path)
    read = load_memory(path)
    assert read.per_class == 2
    decoded = read.decoded()
    assert decoded.labels.tolist() == [3] * 8 + [1] * 8
    assert torch.equal(decoded.images, Factor().decode(mosaic.images[None])[0])
    assert decoded.decoded() is decoded
    check(decoded)


def test_pixels_of_m3d_stay_between_black_and_white(mosaic, digits):
    black, white = (digits.train.normalise(torch.full((1, 1, 1), level, dtype=torch.uint8)) for level in (0, 255))
    assert mosaic.images.min() >= black.min()
    assert mosaic.images.max() <= white.max()


def test_tiles_that_do_not_fit_are_said():
    memory = Memory(noise(2, 1, 7, 7), torch.tensor([0, 1]), {"decoding": {"name": "Factor"}})
    with pytest.raises(ValueError, match="images of 7 px do not hold 4 tiles each"):
        check(memory)
