"""Augmentation inside Avalanche: of every minibatch trained on, by draws that its seed names, and of no tested one."""

import pytest
import torch
from avalanche.training import Naive
from torch import nn

from condensers.device import draws
from condensers.device.training import augmented
from condensers.memory import Memory
from scenarios.buffers import CondensedBuffer
from scenarios.datasets import load
from scenarios.plugins import AugmentationPlugin, replay
from scenarios.strategies import silent_evaluator
from scenarios.streams import continual_stream


class Watched(nn.Sequential):
    """A linear network that keeps what it is shown, by whether it was trained on it."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(features, classes))
        self.seen: dict[bool, list[torch.Tensor]] = {True: [], False: []}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen[self.training].append(x.clone())
        return super().forward(x)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load("digits", tmp_path_factory.mktemp("data"))


def shown(digits, plugins):
    """What a network is shown in training over two steps, with replay, and in testing."""
    torch.manual_seed(0)  # Avalanche's loaders shuffle with the global generator, and so do first weights
    network = Watched(64, digits.classes)
    images = Memory(digits.train.normalise(digits.train.images), digits.train.labels, {"condenser": "first"})
    strategy = Naive(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.01),
        train_mb_size=64,
        eval_mb_size=256,
        plugins=[replay(CondensedBuffer(images.first_per_class(5))), *plugins],
        evaluator=silent_evaluator(),
    )
    stream = continual_stream(digits, steps=2, order=0)
    strategy.train(stream.train_stream)
    strategy.eval(stream.test_stream)
    return network.seen


def test_every_minibatch_is_augmented_by_its_own_draw_and_no_tested_one(digits):
    plain, seen = shown(digits, []), shown(digits, [AugmentationPlugin(digits.augmentation, seed=3)])
    assert len(plain[True]) == len(seen[True]) > 20
    for number, (images, own) in enumerate(zip(plain[True], seen[True], strict=True)):
        assert torch.equal(own, augmented(images, digits.augmentation, draws.key_of(3, "augment", number)))
        assert not torch.equal(own, images)
    assert all(torch.equal(*pair) for pair in zip(plain[False], seen[False], strict=True))


def test_no_augmentation_is_what_the_empty_strategy_gives(digits):
    plain, seen = shown(digits, []), shown(digits, [AugmentationPlugin("", seed=3)])
    assert all(torch.equal(*pair) for pair in zip(plain[True], seen[True], strict=True))
