import pytest
import torch
from avalanche.training import Naive
from avalanche.training.plugins import GDumbPlugin, ReplayPlugin

from condensers.condense import Group, condense
from condensers.core.recipe import Schedule
from condensers.device.draws import draw_network
from condensers.memory import Memory
from condensers.registry import condenser
from scenarios.buffers import CondensedBuffer, class_share
from scenarios.datasets import load
from scenarios.strategies import scores, silent_evaluator
from scenarios.streams import continual_stream, step_classes
from search_spaces.registry import build


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load("digits", tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def memory(digits):
    """The first ten training images of each class, in the order of the data set: classes are interleaved."""
    images = Memory(digits.train.normalise(digits.train.images), digits.train.labels, {"condenser": "first"})
    return images.first_per_class(10)


@pytest.fixture(scope="module")
def benchmark(digits):
    return continual_stream(digits, steps=2, order=0)


def expected(memory, by_step, share):
    """The first `share` images of each class, step after step, each step in the order of the memory."""
    parts = [memory.of_classes(classes).first_per_class(share) for classes in by_step]
    return torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])


def held(buffer):
    images, labels = buffer.tensors()
    return images, labels.bincount(minlength=10).tolist()


def test_a_class_keeps_its_first_images(memory, benchmark):
    buffer = CondensedBuffer(memory, per_class=3)
    for step, experience in enumerate(benchmark.train_stream):
        buffer.post_adapt(None, experience)
        images, labels = expected(memory, step_classes(10, 2, 0)[: step + 1], share=3)
        assert torch.equal(buffer.tensors()[0], images)
        assert torch.equal(buffer.tensors()[1], labels)


def test_under_a_total_budget_every_class_shrinks_to_its_share(memory, benchmark):
    buffer = CondensedBuffer(memory, max_size=23)
    first, second = benchmark.train_stream
    buffer.post_adapt(None, first)
    assert sorted(held(buffer)[1]) == [0] * 5 + [4] * 5
    buffer.post_adapt(None, second)
    images, labels = expected(memory, step_classes(10, 2, 0), share=2)
    assert torch.equal(buffer.tensors()[0], images)
    assert torch.equal(buffer.tensors()[1], labels)


def test_a_class_that_was_condensed_small_keeps_all_under_a_large_budget(memory, benchmark):
    buffer = CondensedBuffer(memory, max_size=1000)
    buffer.post_adapt(None, benchmark.train_stream[0])
    assert len(buffer.buffer) == 50


def test_resize_shrinks_and_what_is_lost_stays_lost(memory, benchmark):
    buffer = CondensedBuffer(memory, max_size=100)
    for experience in benchmark.train_stream:
        buffer.post_adapt(None, experience)
    buffer.resize(None, 30)
    assert held(buffer)[1] == [3] * 10
    buffer.resize(None, 100)
    assert held(buffer)[1] == [3] * 10
    assert buffer.max_size == 100


def test_seeing_an_experience_again_changes_nothing(memory, benchmark):
    buffer = CondensedBuffer(memory)
    for experience in [*benchmark.train_stream, benchmark.train_stream[0]]:
        buffer.post_adapt(None, experience)
    assert held(buffer)[1] == [10] * 10


def test_a_condenser_is_asked_for_the_classes_that_arrive_and_no_others(memory, benchmark):
    asked = []

    def condense(classes):
        asked.append(classes)
        return memory.of_classes(classes)

    buffer = CondensedBuffer(condense, per_class=2)
    for experience in benchmark.train_stream:
        buffer.post_adapt(None, experience)
    assert asked == [sorted(classes) for classes in step_classes(10, 2, 0)]
    assert torch.equal(buffer.tensors()[0], expected(memory, step_classes(10, 2, 0), share=2)[0])


def test_the_buffer_is_an_avalanche_dataset_of_what_is_held(memory, benchmark):
    buffer = CondensedBuffer(memory, per_class=2)
    assert len(buffer.buffer) == 0
    buffer.post_adapt(None, benchmark.train_stream[1])
    data, (images, labels) = buffer.buffer, buffer.tensors()
    assert list(data.targets) == labels.tolist()
    assert set(data.targets_task_labels) == {0}
    image, label, task = data[3]
    assert torch.equal(image, images[3])
    assert (label, task) == (labels[3], 0)
    assert list(data.subset([4, 1]).targets) == labels[[4, 1]].tolist()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"per_class": 0}, "per_class is 0"), ({"max_size": -1}, "max_size is -1")],
)
def test_empty_budgets_are_refused(memory, settings, message):
    with pytest.raises(ValueError, match=message):
        CondensedBuffer(memory, **settings)


def test_budgets_that_the_memory_cannot_fill_are_refused(memory, benchmark):
    arriving = benchmark.train_stream[0]
    with pytest.raises(ValueError, match="a class has 10 images"):
        CondensedBuffer(memory, per_class=11).post_adapt(None, arriving)
    with pytest.raises(ValueError, match="max_size 4 holds no image for each of 5 classes"):
        CondensedBuffer(memory, max_size=4).post_adapt(None, arriving)
    with pytest.raises(ValueError, match="no images of classes"):
        CondensedBuffer(memory.of_classes([0, 1])).post_adapt(None, arriving)
    with pytest.raises(ValueError, match="arrived, but the memory is of"):
        CondensedBuffer(lambda classes: memory).post_adapt(None, arriving)
    with pytest.raises(ValueError, match="the buffer is empty"):
        CondensedBuffer(memory).tensors()


def test_a_refused_experience_leaves_the_buffer_as_it_was(memory, benchmark):
    buffer = CondensedBuffer(memory, max_size=9)
    buffer.post_adapt(None, benchmark.train_stream[0])
    before = buffer.tensors()[0]
    with pytest.raises(ValueError, match="give 10 or more"):
        buffer.post_adapt(None, benchmark.train_stream[1])
    with pytest.raises(ValueError, match="give 5 or more"):
        buffer.resize(None, 3)
    assert buffer.tensors()[0] is before
    assert (len(buffer.classes), buffer.max_size) == (5, 9)


def test_the_smaller_of_two_bounds_counts():
    assert class_share(classes=5, per_class=3, max_size=20) == 3
    assert class_share(classes=5, per_class=3, max_size=12) == 2
    assert class_share(classes=5, per_class=None, max_size=None) is None


def run(digits, benchmark, kind, **settings):
    """A real run over both steps; accuracy on each step's test images afterwards."""
    torch.manual_seed(0)  # Avalanche's loaders shuffle with the global generator
    network = build("ConvNet-W16-D2", digits.classes, digits.shape)
    draw_network(network, 1)
    strategy = kind(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=32,
        eval_mb_size=256,
        evaluator=silent_evaluator(),
        **settings,
    )
    strategy.train(benchmark.train_stream)
    return scores(strategy.eval(benchmark.test_stream))["accuracy_on_step"]


@pytest.mark.parametrize("bound", [{"per_class": 10}, {"max_size": 100}])
def test_avalanche_replay_remembers_through_the_condensed_images(digits, benchmark, memory, bound):
    buffer = CondensedBuffer(memory, **bound)
    replay = ReplayPlugin(mem_size=buffer.max_size, storage_policy=buffer)
    forgetful = run(digits, benchmark, Naive, train_epochs=2)
    remembering = run(digits, benchmark, Naive, train_epochs=2, plugins=[replay])
    assert forgetful[0] < 0.1
    assert remembering[0] > 0.6
    assert held(buffer)[1] == [10] * 10


def test_gdumb_trains_on_the_condensed_images(digits, benchmark, memory):
    plugin = GDumbPlugin()
    plugin.storage_policy = CondensedBuffer(memory, per_class=10)
    accuracies = run(digits, benchmark, Naive, train_epochs=15, plugins=[plugin])
    assert min(accuracies) > 0.6
    assert len(plugin.storage_policy.buffer) == 100


def test_mosaics_are_counted_as_stored_and_trained_on_as_decoded(digits):
    schedule, everything = Schedule(1, 16, "ConvNet-W8-D2", "crop"), [Group(tuple(range(10)), 2)]
    memory = condense([condenser("m3d")], digits.train, everything, schedule, seed=1)["m3d"]
    buffer, first = CondensedBuffer(memory, per_class=1), continual_stream(digits, 5, 0).train_stream[0]
    buffer.post_adapt(None, first)
    images, labels = buffer.tensors()
    assert labels.bincount().tolist().count(4) == len(set(first.dataset.targets)) == 2
    kept = memory.of_classes(sorted(set(first.dataset.targets))).first_per_class(1)
    assert torch.equal(images, kept.decoded().images)
    assert len(buffer.buffer) == 8
