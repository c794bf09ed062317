"""Networks by name: what is built, its shapes, its taps and its parameters."""

from itertools import product

import pytest
import torch
from torch import nn

from search_spaces.classic import alexnet, resnet18, vgg11
from search_spaces.convnet import ACTIVATIONS, NORMS, POOLINGS, ConvNet
from search_spaces.names import unknown
from search_spaces.registry import EXAMPLES, build, default_depth, full_name, mixes_samples

# The search space: norms by their letters here.
COMBINATIONS = list(product(NORMS, ACTIVATIONS, POOLINGS))


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def into(tapped):
    """Taps that keep the wanted activations."""
    return {name: activations.append for name, activations in tapped.items()}


def test_the_axes_are_those_of_the_720_networks():
    assert len(COMBINATIONS) * len((32, 64, 128, 256)) * len((1, 2, 3, 4)) == 720


@pytest.mark.parametrize(("norm", "activation", "pooling"), COMBINATIONS)
@pytest.mark.parametrize("depth", [1, 3])
def test_every_combination(norm, activation, pooling, depth):
    network = build(f"ConvNet-W8-D{depth}-{norm}-{activation}-{pooling}", 5, (3, 16, 16))
    sides = [16 // 2**block if pooling != "None" else 16 for block in range(depth + 1)]
    tapped = {"conv": [], "norm": [], "act": [], "block": []}
    images = torch.randn(4, 3, 16, 16)
    embedding = network.features(images, into(tapped))
    assert embedding.shape == (4, network.embedding_size) == (4, 8 * sides[-1] ** 2)
    assert network(images).shape == (4, 5)
    for tap, at in (("conv", sides), ("norm", sides), ("act", sides), ("block", sides[1:])):
        assert [x.shape for x in tapped[tap]] == [(4, 8, side, side) for side in at[:depth]]
    assert torch.equal(tapped["block"][-1].flatten(1), embedding)
    for conv, normed, act, block in zip(*tapped.values(), strict=True):
        torch.testing.assert_close(normed, _normed(conv, norm), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(act, _activated(normed, activation))
        torch.testing.assert_close(block, _pooled(act, pooling))


@pytest.mark.parametrize(("norm", "activation", "pooling"), COMBINATIONS)
@pytest.mark.parametrize("names", [("conv", "norm", "act", "block"), ("act",), ("block",), ()])
def test_activations_are_the_same_without_gradients_and_whichever_are_tapped(norm, activation, pooling, names):
    network = build(f"ConvNet-W8-D2-{norm}-{activation}-{pooling}", 5, (3, 16, 16))
    images = torch.randn(4, 3, 16, 16)
    kept, seen = images.clone(), {name: [] for name in ("conv", "norm", "act", "block")}
    wanted = network.features(images, into(seen))
    for context in (torch.no_grad(), torch.enable_grad()):
        again = {name: [] for name in names}
        with context:
            copies = {name: lambda x, found=found: found.append(x.clone()) for name, found in again.items()}
            torch.testing.assert_close(network.features(images, copies), wanted)
        torch.testing.assert_close(again, {name: seen[name] for name in names}, atol=1e-5, rtol=1e-5)
    assert torch.equal(images, kept)


def _normed(x, norm):
    """Fresh norms have weight 1 and bias 0."""
    grouped = {
        "NN": None,
        "BN": (x.transpose(0, 1).flatten(1), lambda y: y.view(8, 4, *x.shape[2:]).transpose(0, 1)),
        "LN": (x.flatten(1), lambda y: y.view_as(x)),
        "IN": (x.flatten(2), lambda y: y.view_as(x)),
        "GN": (x.reshape(4, 4, -1), lambda y: y.view_as(x)),
    }[norm]
    if grouped is None:
        return x
    values, back = grouped
    centred = values - values.mean(-1, keepdim=True)
    return back(centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt())


def _activated(x, activation):
    return {"ReLU": x.clamp_min(0), "Sigmoid": 1 / (1 + (-x).exp()), "LeakyReLU": torch.where(x > 0, x, 0.01 * x)}[
        activation
    ]


def _pooled(x, pooling):
    if pooling == "None":
        return x
    quads = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    return quads.mean(4) if pooling == "Avg" else quads.amax(4)


def test_parameters_of_the_default_network():
    width, classes = 128, 10
    blocks = (3 * 9 * width + width) + 2 * (width * 9 * width + width) + 3 * 2 * width
    network = build("ConvNet-W128-D3-IN-ReLU-Avg", classes, (3, 32, 32))
    assert network.embedding_size == 2048
    assert parameters(network) == blocks + 2048 * classes + classes == 320_010
    # What the papers call the ConvNet, in any of the short forms of its name.
    for name in ("ConvNet-W128-D3", "ConvNet-W128-D3-IN", "ConvNet-W128-D3-IN-ReLU"):
        assert str(build(name, classes, (3, 32, 32))) == str(network)
    assert str(ConvNet(classes, (3, 32, 32))) == str(network)


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("ConvNet-W128-D3", "ConvNet-W128-D3-IN-ReLU-Avg"),
        ("ConvNet-W128-D3-IN", "ConvNet-W128-D3-IN-ReLU-Avg"),
        ("ConvNet-W032-D3-BN-LeakyReLU", "ConvNet-W32-D3-BN-LeakyReLU-Avg"),
        ("ConvNet-W8-D1-NN-Sigmoid-None", "ConvNet-W8-D1-NN-Sigmoid-None"),
        ("ResNet18-IN", "ResNet18"),
        ("VGG11-IN", "VGG11"),
        *((name, name) for name in EXAMPLES),
    ],
)
def test_a_network_has_one_full_name(given, full):
    assert full_name(given) == full == full_name(full)
    assert str(build(given, 10, (3, 32, 32))) == str(build(full, 10, (3, 32, 32)))


@pytest.mark.parametrize("name", ["", "AlexNet-IN", "ResNet19-IN", "ConvNet-W8", "Mine"])
def test_what_is_no_networks_name_stays_as_it_is(name):
    assert full_name(name) == name


@pytest.mark.parametrize(("norm", "own"), [("NN", 0), ("BN", 16), ("IN", 16), ("GN", 16), ("LN", 2 * 8 * 64)])
def test_parameters_of_norms(norm, own):
    network = build(f"ConvNet-W8-D1-{norm}", 2, (1, 8, 8))
    assert parameters(network) == 9 * 8 + 8 + own + 8 * 16 * 2 + 2


def test_instance_norm_treats_every_image_and_channel_alone():
    network = build("ConvNet-W8-D1", 2, (1, 8, 8))
    images, tapped = torch.randn(3, 1, 8, 8), {"norm": []}
    network.features(images * torch.tensor([1.0, 50.0, 0.1]).view(3, 1, 1, 1), into(tapped))
    torch.testing.assert_close(tapped["norm"][0].mean((2, 3)), torch.zeros(3, 8), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "size", "stages", "count"),
    [
        # Convolutions with bias; 192x4x4 features.
        (
            "AlexNet",
            3072,
            [(128, 16), (192, 8), (256, 8), (192, 8), (192, 4)],
            [(3, 128, 5), (128, 192, 5), (192, 256, 3), (256, 192, 3), (192, 192, 3)],
        ),
        (
            "VGG11",
            512,
            [(64, 16), (128, 8), (256, 4), (512, 2), (512, 1)],
            [(3, 64, 3), (64, 128, 3), (128, 256, 3), (256, 256, 3), (256, 512, 3), *[(512, 512, 3)] * 3],
        ),
    ],
)
def test_plain_classic_networks(name, size, stages, count):
    network, tapped = build(name, 10, (3, 32, 32)), {"block": []}
    assert network.features(torch.randn(2, 3, 32, 32), into(tapped)).shape == (2, size)
    assert network.embedding_size == size
    assert [x.shape for x in tapped["block"]] == [(2, channels, side, side) for channels, side in stages]
    convolutions = sum(i * o * k * k + o for i, o, k in count)
    norms = 0 if name == "AlexNet" else 2 * sum(o for _, o, _ in count)
    assert parameters(network) == convolutions + norms + size * 10 + 10
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_resnet18():
    network, tapped = build("ResNet18", 10, (3, 32, 32)), {"block": []}
    assert network.features(torch.randn(2, 3, 32, 32), into(tapped)).shape == (2, 512)
    shapes = [(2, 64, 32, 32), (2, 64, 32, 32), (2, 128, 16, 16), (2, 256, 8, 8), (2, 512, 1, 1)]
    assert [x.shape for x in tapped["block"]] == shapes
    # The well-known size of the CIFAR form.
    assert parameters(network) == 11_173_962
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize("name", ["AlexNet", "VGG11", "ResNet18"])
def test_classic_networks_at_64_px(name):
    network = build(name, 7, (1, 64, 64))
    assert network(torch.randn(2, 1, 64, 64)).shape == (2, 7)
    assert network.features(torch.randn(1, 1, 64, 64)).shape == (1, network.embedding_size)


@pytest.mark.parametrize("make", [alexnet, vgg11, resnet18])
def test_classic_networks_refuse_small_images(make):
    for shape in ((1, 8, 8), (3, 48, 48), (3, 32, 64)):
        with pytest.raises(ValueError, match=f"multiple of 32 px, not {shape[1]}x{shape[2]}"):
            make(10, shape)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_listed_name_is_built_for_32_px(name):
    network = build(name, 10, (3, 32, 32))
    batch_norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert mixes_samples(name) == bool(batch_norms)
    assert set(network.TAPS) >= {"block"}
    assert isinstance(network.classifier, nn.Linear)
    # One image must not see another, but where it is said that it does.
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        alone, beside = network(images[:1]), network(torch.stack([images[0], 5 * images[1]]))[:1]
    assert torch.allclose(alone, beside, rtol=1e-3, atol=1e-4) != mixes_samples(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ResNet-18", "Did you mean 'ResNet18'?"),
        ("vgg11", "unknown network 'vgg11'. Did you mean 'VGG11'?"),
        ("alexnet", "Did you mean 'AlexNet'?"),
        ("ResNet18-GN", "unknown network 'ResNet18-GN'"),
        ("ConvNet", "unknown network 'ConvNet'"),
        ("ConvNet-W8-D1-bn", "unknown norm 'bn'. Did you mean 'BN'?"),
        ("ConvNet-W8-D1-IN-relu", "unknown activation 'relu'. Did you mean 'ReLU'?"),
        ("ConvNet-W8-D1-IN-ReLU-avg", "unknown pooling 'avg'. Did you mean 'Avg'?"),
        ("ConvNet-W8-D1-IN-ReLU-Avg-X", "unknown network"),
        ("ConvNet-W8-D4", "depth 4 pools a 8 px image away"),
        ("ConvNet-W0-D1", "give at least 1"),
        ("ConvNet-W8-D0", "give at least 1"),
        ("ConvNet-W6-D1-GN", "divisible"),
        ("AlexNet", "AlexNet takes square images of a multiple of 32 px, not 8x8"),
    ],
)
def test_bad_names_are_one_line(name, words):
    with pytest.raises(ValueError, match=r"\S") as caught:
        build(name, 10, (1, 8, 8))
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_convnet_refuses_images_that_are_not_square():
    with pytest.raises(ValueError, match=r"^a ConvNet takes square images, not 8x16$"):
        build("ConvNet-W8-D1", 10, (1, 8, 16))


def test_the_deepest_networks_that_fit():
    assert build("ConvNet-W4-D3", 10, (1, 8, 8)).embedding_size == 4
    assert build("ConvNet-W4-D4-NN-ReLU-None", 10, (1, 8, 8)).embedding_size == 4 * 64


def test_default_depth():
    assert {side: default_depth(side) for side in (8, 16, 28, 32, 64, 128)} == {
        8: 2,
        16: 2,
        28: 2,
        32: 3,
        64: 4,
        128: 5,
    }


def test_a_name_without_a_neighbour_gets_the_list_only():
    assert str(unknown("fruit", "zzz", ["pear", "apple"])) == "unknown fruit 'zzz'. Choices: apple, pear"
    assert (
        str(unknown("fruit", "PEAR", ["Pear", "apple"]))
        == "unknown fruit 'PEAR'. Did you mean 'Pear'? Choices: Pear, apple"
    )


@pytest.mark.parametrize(
    ("name", "widths"),
    [
        ("AlexNet", [128, 192, 256, 192, 192]),
        ("VGG11", [64, 128, 256, 512, 512]),
        ("ResNet18", [64, 64, 128, 256, 512]),
    ],
)
def test_stages_of_classic_networks_are_tapped_before_and_after_pooling(name, widths):
    network, tapped = build(name, 4, (3, 32, 32)), {"act": [], "block": []}
    embedding = network.features(torch.randn(2, 3, 32, 32), into(tapped))
    assert [x.shape[1] for x in tapped["act"]] == [x.shape[1] for x in tapped["block"]] == widths
    assert torch.equal(tapped["block"][-1].flatten(1), embedding)
    for stage, act, block in zip(network.stages, *tapped.values(), strict=True):
        assert act.min() >= 0
        pool = stage[-1] if isinstance(stage[-1], nn.MaxPool2d | nn.AvgPool2d) else nn.Identity()
        assert torch.equal(pool(act), block)
