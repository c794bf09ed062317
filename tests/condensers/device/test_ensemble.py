"""Networks side by side: every one computes, and learns, what it does alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from condensers.device import draws
from condensers.device.ensemble import join, joinable, separate
from condensers.device.training import Training, train, train_all
from search_spaces.classic import BasicBlock
from search_spaces.registry import build

NAMES = [
    "ConvNet-W4-D2",
    "ConvNet-W4-D2-GN-LeakyReLU-Max",
    "ConvNet-W4-D2-BN-Sigmoid-None",
    "ConvNet-W4-D2-NN",
    "residual IN",
    "residual BN",
]


def built(name):
    """A network of five classes; `residual` is a stage of ResNet-18 at a width that tests can afford."""
    kind, _, norm = name.partition(" ")
    if kind == "residual":
        return nn.Sequential(BasicBlock(3, 6, 2, norm), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(6 * 4 * 4, 5))
    return build(name, 5, (3, 32, 32))


def networks(name, count, first=0):
    """Float64, so that what is compared is the mathematics and not the rounding."""
    drawn = [built(name) for _ in range(count)]
    for seed, network in enumerate(drawn, first):
        draws.draw_network(network, seed)
    return [network.double() for network in drawn]


def side_by_side(images):
    return images.transpose(0, 1).flatten(1, 2)


def gradients(network, inputs, labels):
    """Gradients of the mean loss, summed over the networks that the logits are of."""
    logits = network(inputs).unflatten(1, (-1, 5)).flatten(0, 1)
    loss = F.cross_entropy(logits, labels.flatten(), reduction="sum") / len(labels)
    return torch.autograd.grad(loss, list(network.parameters()))


@pytest.mark.parametrize("name", NAMES)
def test_logits_gradients_and_statistics_are_those_of_each_network_alone(name):
    alone, images = networks(name, 3), torch.randn(3, 2, 3, 32, 32, dtype=torch.float64)
    joined, labels = join(alone), torch.tensor([[0, 1, 2], [3, 4, 0]])
    found = gradients(joined, side_by_side(images), labels)
    for i, network in enumerate(alone):
        wanted = gradients(network, images[i], labels[:, i : i + 1])
        for ours, theirs in zip(found, wanted, strict=True):
            torch.testing.assert_close(ours.chunk(3)[i], theirs, rtol=1e-9, atol=1e-9)
    expected = torch.cat([network.eval()(part) for network, part in zip(alone, images, strict=True)], dim=1)
    # In evaluation mode batch norm's logits are those of the statistics that the pass above has left.
    torch.testing.assert_close(joined.eval()(side_by_side(images)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_separating_gives_back_to_the_bit_what_was_joined(name):
    alone, others = networks(name, 3), networks(name, 3, first=3)
    alone[0](torch.randn(2, 3, 32, 32, dtype=torch.float64))  # statistics that are not the ones at the start
    separate(join(alone), others)
    for network, other in zip(alone, others, strict=True):
        assert all(torch.equal(a, b) for a, b in weights_of(network, other))
        assert [a.stride() for a, _ in weights_of(network, other)] == [
            b.stride() for _, b in weights_of(network, other)
        ]


def weights_of(*pair):
    """Parameters and statistics of two networks, in pairs; the count of batches has no channels and is left out."""
    states = [[tensor for tensor in network.state_dict().values() if tensor.dim()] for network in pair]
    return list(zip(*states, strict=True))


def test_the_joined_network_has_weights_of_its_own():
    alone = networks("ConvNet-W4-D2", 2)
    before = copy.deepcopy(alone[1].state_dict())
    for parameter in join(alone).parameters():
        parameter.data.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in alone[1].state_dict().items())


def test_one_network_is_given_back_whatever_its_layers():
    alone = networks("ConvNet-W4-D2-LN", 1)
    assert join(alone) is alone[0]


def test_batches_are_counted_for_every_network():
    alone = networks("ConvNet-W4-D2-BN", 2)
    joined = join(alone)
    for _ in range(3):
        joined(torch.randn(2, 6, 32, 32, dtype=torch.float64))
    separate(joined, alone)
    assert [network.blocks[0].norm.num_batches_tracked.item() for network in alone] == [3, 3]


def test_joining_leaves_the_global_generator_alone():
    alone, state = networks("ConvNet-W4-D2", 2), torch.get_rng_state()
    join(alone)
    assert torch.equal(torch.get_rng_state(), state)


class Dense(nn.Module):
    """A user's own network: joined with others, its concatenation would hand channels of one to another."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(7, 4, 3, padding=1)
        self.classifier = nn.Linear(4 * 8 * 8, 5)

    def forward(self, x):
        x = torch.cat((x, self.first(x)), dim=1)
        return self.classifier(self.second(x).relu().flatten(1))


def test_networks_of_a_user_learn_alone():
    images, labels = torch.randn(4, 3, 8, 8), torch.arange(4)
    training = Training(epochs=2, batch=4, augmentation="", chunk=16)
    together, alone = ([Dense(), Dense()] for _ in range(2))
    for network, seed in zip(together + alone, (1, 2, 1, 2), strict=True):
        draws.draw_network(network, seed)
    train_all(together, images, labels, training, [1, 2])
    for network, same, seed in zip(together, alone, (1, 2), strict=True):
        train(same, images, labels, training, seed)
        assert all(map(torch.equal, network.parameters(), same.parameters()))


def test_what_cannot_be_joined_is_refused():
    layered = networks("ConvNet-W4-D2-LN", 2)
    assert not joinable(layered[0])
    assert joinable(networks("ConvNet-W4-D2", 1)[0])
    with pytest.raises(ValueError, match="such layers cannot be joined"):
        join(layered)
    # The same weights, another pooling: nothing but the architecture tells them apart.
    with pytest.raises(ValueError, match="different architectures"):
        join([networks(f"ConvNet-W4-D2-IN-ReLU-{pooling}", 1)[0] for pooling in ("Avg", "Max")])
