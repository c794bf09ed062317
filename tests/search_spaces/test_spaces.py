"""Search spaces: their order, their subsets, and their arithmetic against the networks themselves."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from search_spaces.convnet import ACTIVATIONS, NORMS, POOLINGS
from search_spaces.forward import forward_pass
from search_spaces.registry import build
from search_spaces.spaces import CHOICES, CONVNETS_405, CONVNETS_720, SPACES, Architecture, Space, largest_space, space

DEFAULT = Architecture(128, 3, "IN", "ReLU", "Avg")
CIFAR = (3, 32, 32)
SHAPES = {"convnets-720": CIFAR, "convnets-405": (1, 8, 8)}


def flops(network, shape):
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape, device="meta"))
    return counter.get_total_flops()


def spread(subset, axis, values):
    counts = Counter(getattr(architecture, axis) for architecture in subset)
    return max(counts[value] for value in values) - min(counts[value] for value in values)


def test_the_published_axes():
    assert CONVNETS_720.axes == {
        "width": (32, 64, 128, 256),
        "depth": (1, 2, 3, 4),
        "norm": ("NN", "BN", "LN", "IN", "GN"),
        "activation": ("Sigmoid", "ReLU", "LeakyReLU"),
        "pooling": ("None", "Max", "Avg"),
    }
    assert (len(CONVNETS_720), len(CONVNETS_405)) == (720, 405)


def test_the_choices_are_those_of_the_convnet():
    tables = {"norm": NORMS, "activation": ACTIVATIONS, "pooling": POOLINGS}
    assert {kind: set(table) for kind, table in tables.items()} == {kind: set(names) for kind, names in CHOICES.items()}


@pytest.mark.parametrize("name", SPACES)
def test_every_architecture_is_built_and_its_parameters_are_known(name):
    shape = SHAPES[name]
    with torch.device("meta"):
        for architecture in space(name):
            built = sum(p.numel() for p in build(architecture.name, 10, shape).parameters())
            assert architecture.parameters(10, shape) == built, architecture


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize("classes", [2, 100])
def test_macs_are_half_the_flops_of_the_network(name, classes):
    shape = SHAPES[name]
    with torch.device("meta"):
        for architecture in space(name).subset(30):
            network = build(architecture.name, classes, shape)
            assert 2 * architecture.macs(shape, classes) == flops(network, shape), architecture


@pytest.mark.parametrize("name", SPACES)
def test_activations_are_those_of_all_layers_but_the_classifier(name):
    for architecture in space(name).subset(30):
        counted = forward_pass(architecture.name, 10, SHAPES[name]).activation_bytes
        assert 4 * (architecture.activations(SHAPES[name]) + 10) == counted, architecture


@pytest.mark.parametrize("pooling", CHOICES["pooling"])
def test_odd_sides(pooling):
    architecture, shape = Architecture(4, 2, "LN", "ReLU", pooling), (1, 7, 7)
    with torch.device("meta"):
        network = build(architecture.name, 3, shape)
        assert architecture.parameters(3, shape) == sum(p.numel() for p in network.parameters())
        assert 2 * architecture.macs(shape, 3) == flops(network, shape)


def test_the_default_network():
    assert DEFAULT.name == "ConvNet-W128-D3-IN-ReLU-Avg"
    assert DEFAULT.parameters(10, CIFAR) == 320_010


def test_the_sizes_the_protocol_states():
    work = {architecture: architecture.macs(CIFAR, 10) for architecture in CONVNETS_720}
    largest = max(work, key=work.get)
    unpooled = sum(macs for architecture, macs in work.items() if architecture.pooling == "None")
    assert round(sum(work.values()) / 720 / 1e6) == 134
    assert (largest.width, largest.depth, largest.pooling) == (256, 4, "None")
    assert round(work[largest] / 1e6) == 1822
    assert round(unpooled / sum(work.values()), 2) == 0.76


@pytest.mark.parametrize("name", SPACES)
def test_the_index_counts_through_the_axes(name):
    found = space(name)
    assert [found.index(architecture) for architecture in found] == list(range(len(found)))
    assert len({architecture.name for architecture in found}) == len(found)
    ranks = [[values.index(getattr(a, axis)) for axis, values in found.axes.items()] for a in found]
    assert all(before < after for before, after in pairwise(ranks))


def test_fixed_indices():
    assert CONVNETS_720[0].name == "ConvNet-W32-D1-NN-Sigmoid-None"
    assert CONVNETS_720[1].name == "ConvNet-W32-D1-NN-Sigmoid-Max"
    assert CONVNETS_720[719] == CONVNETS_720[-1] == Architecture(256, 4, "GN", "LeakyReLU", "Avg")
    assert CONVNETS_720.index(DEFAULT) == ((2 * 4 + 2) * 5 + 3) * 9 + 1 * 3 + 2


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize("name", SPACES)
def test_subsets_are_balanced_prefixes_of_one_sequence(name, seed):
    found = space(name)
    sequence = found.subset(len(found), seed)
    assert sorted(map(found.index, sequence)) == list(range(len(found)))
    assert found.subset(1, seed) == sequence[:1]
    assert found.subset(37, seed) == sequence[:37]
    for size in range(1, len(found) + 1):
        assert max(spread(sequence[:size], axis, values) for axis, values in found.axes.items()) <= 2
    for axis, values in found.axes.items():
        longest = max(map(len, found.axes.values()))
        assert {getattr(architecture, axis) for architecture in sequence[:longest]} == set(values)


def test_subsets_repeat_with_their_seed_only():
    # The names are pinned: a subset that changes between versions would orphan the records made with it.
    assert [architecture.name for architecture in CONVNETS_720.subset(3)] == [
        "ConvNet-W64-D3-GN-Sigmoid-None",
        "ConvNet-W32-D4-NN-ReLU-Max",
        "ConvNet-W128-D2-LN-LeakyReLU-Avg",
    ]
    assert CONVNETS_720.subset(20, seed=1) == CONVNETS_720.subset(20, seed=1) != CONVNETS_720.subset(20, seed=2)


def test_a_space_of_ones_own():
    own = Space("two", width=(8,), depth=(1, 2), norm=("GN",), activation=("ReLU",), pooling=("Max",))
    assert [architecture.name for architecture in own] == [
        "ConvNet-W8-D1-GN-ReLU-Max",
        "ConvNet-W8-D2-GN-ReLU-Max",
    ]
    assert own[1] in own
    assert DEFAULT not in own
    # Widths that are also depths are counted apart.
    alike = Space("alike", width=(1, 2), depth=(1, 2), norm=("NN",), activation=("ReLU",), pooling=("None",))
    assert [spread(alike.subset(2), axis, (1, 2)) for axis in ("width", "depth")] == [0, 0]


@pytest.mark.parametrize(
    ("side", "name"), [(8, "convnets-405"), (15, "convnets-405"), (16, "convnets-720"), (64, "convnets-720")]
)
def test_the_largest_space_that_images_allow(side, name):
    fitting = largest_space(side)
    assert fitting.name == name
    for architecture in fitting:
        assert architecture.macs((1, side, side), 10)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: largest_space(7), "no search space fits images of 7 px: give --resolution 8"),
        (lambda: space("convnet-720"), "unknown search space 'convnet-720'. Did you mean 'convnets-720'?"),
        (lambda: replace(DEFAULT, norm="bn"), "unknown norm 'bn'. Did you mean 'BN'?"),
        (lambda: replace(DEFAULT, activation="GELU"), "unknown activation 'GELU'"),
        (lambda: Space("own", (8,), (1,), pooling=("avg",))[0], "unknown pooling 'avg'. Did you mean 'Avg'?"),
        (lambda: CONVNETS_720.subset(0), "convnets-720 has 720 architectures: a subset of 0"),
        (lambda: CONVNETS_720.subset(721), "a subset of 721"),
        (lambda: CONVNETS_405.index(DEFAULT), "ConvNet-W128-D3-IN-ReLU-Avg is not one of the 405"),
        (lambda: Architecture(8, 4, "NN", "ReLU", "Max").macs((1, 8, 8), 10), "pools a 8 px image away"),
        (lambda: Architecture(8, 4, "NN", "ReLU", "Max").parameters(10, (1, 8, 8)), "pools a 8 px image away"),
    ],
)
def test_errors_are_one_line(ask, words):
    with pytest.raises(ValueError, match=r"\S") as caught:
        ask()
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_looking_at_a_space_does_not_import_torch():
    code = "import sys, search_spaces.spaces as s; s.CONVNETS_720[0]; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "False\n"
