"""How many images go through a network at once, and that it follows the memory there is."""

import pytest
import torch

from condensers import registry
from condensers.condense import Group, config
from condensers.core.matching import Matching
from condensers.core.recipe import Schedule
from condensers.device.chunks import chunk_of, within
from condensers.device.training import Training
from search_spaces.forward import forward_pass

DEFAULT = "ConvNet-W128-D3"


def test_a_cpu_takes_few_images():
    assert chunk_of("cpu", DEFAULT, 10, (3, 32, 32)) == 16
    assert chunk_of("cpu", "ConvNet-W128-D4", 200, (3, 64, 64)) == 4
    assert chunk_of("cpu", "ConvNet-W8-D1", 2, (3, 512, 512)) == 1


def test_costs_are_those_of_the_layers():
    # 3x3 convolutions of 3 and 128 channels, then 2048 features to 10 classes; a multiplication and an addition each.
    macs = 9 * 128 * (3 * 32**2 + 128 * (16**2 + 8**2)) + 2048 * 10
    maps = 128 * sum(3 * side**2 + (side // 2) ** 2 for side in (32, 16, 8))
    assert forward_pass(DEFAULT, 10, (3, 32, 32)) == (2 * macs, 4 * (maps + 10))


def test_the_chunk_follows_the_memory():
    sizes = [within(gigabytes * 2**30, DEFAULT, 10, (3, 32, 32)) for gigabytes in (1, 8, 80)]
    assert sizes[0] * 8 == pytest.approx(sizes[1], rel=0.01)
    assert sizes[2] == pytest.approx(10 * sizes[1], rel=0.01)
    assert within(8 * 2**30, "ConvNet-W128-D4", 200, (3, 64, 64)) < sizes[1] / 3


def test_a_pass_needs_no_more_memory_than_the_chunk_was_chosen_for(digits):
    """Bytes that autograd keeps for a pass of 64 images."""
    kept = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x)
    schedule = Schedule(1, 8, "ConvNet-W16-D2", "crop", chunk=64)
    matching = Matching(digits.train, range(10), 6, [registry.condenser("ours")], schedule, 0)
    with hooks:
        matching.gradients()
    size = sum({x.data_ptr(): x.nbytes for x in kept}.values())
    assert size < 4 * 60 * forward_pass("ConvNet-W16-D2", 10, (1, 8, 8)).activation_bytes


def test_configs_are_those_of_another_chunk():
    few, many = Schedule(chunk=16), Schedule(chunk=8192)
    groups = [Group((0, 1), 5)]
    assert config(registry.condenser("ours"), groups, few, 0) == config(registry.condenser("ours"), groups, many, 0)
    assert Training(chunk=16).describe() == Training(chunk=8192).describe()


@pytest.mark.cuda
def test_cuda_takes_what_fits():
    free, _ = torch.cuda.mem_get_info()
    chunk = chunk_of("cuda", DEFAULT, 10, (3, 32, 32))
    assert 64 <= chunk <= max(64, within(free, DEFAULT, 10, (3, 32, 32)))
