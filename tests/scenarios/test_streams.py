import numpy as np
import pytest
import torch
from avalanche.training import Naive
from avalanche.training.plugins import ReplayPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer

from scenarios.datasets import load
from scenarios.strategies import silent_evaluator
from scenarios.streams import class_order, continual_stream, step_classes
from search_spaces.registry import build


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load("digits", tmp_path_factory.mktemp("data"))


def test_class_order_is_the_published_one():
    # np.random.seed(0); np.random.permutation(100), written down from numpy itself.
    assert class_order(100, 0)[:10] == [26, 86, 2, 55, 75, 93, 16, 73, 54, 95]
    assert class_order(10, 1) == [2, 9, 6, 4, 0, 3, 1, 7, 8, 5]


def test_class_orders_differ_and_need_a_valid_number():
    assert class_order(100, 1) != class_order(100, 2)
    with pytest.raises(ValueError, match="Seed must be between"):
        class_order(10, -1)


@pytest.mark.parametrize(("classes", "steps"), [(100, 5), (100, 10), (10, 1), (10, 10)])
def test_every_class_belongs_to_one_step(classes, steps):
    by_step = step_classes(classes, steps, order=3)
    assert [len(part) for part in by_step] == [classes // steps] * steps
    assert [label for part in by_step for label in part] == class_order(classes, 3)


@pytest.mark.parametrize("steps", [3, 0, -5, 20])
def test_steps_that_lose_classes_are_refused(digits, steps):
    with pytest.raises(ValueError, match=rf"10 classes .* {steps} equal steps; choose one of 1, 2, 5, 10 steps"):
        continual_stream(digits, steps, order=0)


def test_experiences_hold_their_classes_normalised_under_their_own_labels(digits):
    benchmark = continual_stream(digits, steps=5, order=4)
    for stream, split in ((benchmark.train_stream, digits.train), (benchmark.test_stream, digits.test)):
        for experience, classes in zip(stream, step_classes(10, 5, order=4), strict=True):
            assert set(experience.classes_in_this_experience) == set(classes)
            images, labels, _ = experience.dataset.collate_fn([*_items(experience.dataset)])
            expected = split.of_classes(classes)
            assert _rows(images, labels) == _rows(expected.normalise(expected.images), expected.labels)


def test_no_global_generator_is_touched(digits):
    before = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002
    continual_stream(digits, steps=2, order=5)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == str(np.random.get_state())  # noqa: NPY002


def test_avalanche_replay_with_a_class_balanced_buffer_runs_on_it(digits):
    benchmark = continual_stream(digits, steps=2, order=0)
    network = build("ConvNet-W8-D1", digits.classes, digits.shape)
    buffer = ClassBalancedBuffer(50)
    strategy = Naive(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.01),
        train_mb_size=64,
        plugins=[ReplayPlugin(50, storage_policy=buffer)],
        evaluator=silent_evaluator(),
    )
    strategy.train(benchmark.train_stream)
    assert sorted(buffer.buffer.targets) == [label for label in range(10) for _ in range(5)]


def _items(dataset):
    return (dataset[index] for index in range(len(dataset)))


def _rows(images, labels):
    return sorted(zip(labels.tolist(), images.flatten(1).tolist(), strict=True))
