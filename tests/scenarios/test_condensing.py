"""A buffer that condenses what arrives: from the experience's own images, on any class-incremental benchmark."""

from pathlib import Path

import pytest
import torch
from avalanche.benchmarks import class_incremental_benchmark, nc_benchmark
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.training import EWC, LwF, Naive
from torchvision import transforms
from torchvision.transforms.functional import to_pil_image

from condensers import registry
from condensers.condense import Group, condense
from condensers.core.matching import Schedule
from condensers.memory import Memory
from scenarios.buffers import CondensedBuffer
from scenarios.condensing import CondensingBuffer
from scenarios.datasets import load
from scenarios.experiences import has_task_labels, images_of
from scenarios.plugins import gdumb, replay
from scenarios.strategies import scores, silent_evaluator
from scenarios.streams import TensorImages, continual_stream, step_classes
from search_spaces.registry import build

NORMALISED = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.3,), (0.4,))])
SHORT = Schedule(iterations=5, real_batch=16, network="ConvNet-W8-D2", augmentation="crop_scale")


@pytest.fixture(scope="module")
def digits():
    return load("digits", Path("unused"))


class Pictures(torch.utils.data.Dataset):
    """Images as torchvision's data sets hand them out."""

    def __init__(self, images, convert=to_pil_image):
        self.images, self.targets, self.convert = images.images, images.labels.tolist(), convert

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return self.convert(self.images[index]), self.targets[index]


def pictures(digits, transform=NORMALISED, convert=to_pil_image, **settings):
    train, test = Pictures(digits.train, convert), Pictures(digits.test, convert)
    settings = {"n_experiences": 5, "task_labels": False, "seed": 1} | settings
    return nc_benchmark(train, test, train_transform=transform, eval_transform=transform, **settings)


# --- the images of an experience


def test_an_experience_is_taken_as_normalised_by_the_data_set(digits):
    experience = continual_stream(digits, steps=5, order=0).train_stream[1]
    found = images_of(experience)
    assert set(found.labels.tolist()) == set(step_classes(10, 5, 0)[1])
    for label in step_classes(10, 5, 0)[1]:
        taken, own = (source.of_classes([label]).images for source in (found, digits.train))
        assert torch.equal(taken, own)  # digits have black and white pixels: levels are exact
        assert torch.allclose(found.normalise(taken), digits.train.normalise(own), atol=1e-5)


def test_any_normalisation_of_a_benchmark_is_kept_to_half_a_level(digits):
    experience = pictures(digits).train_stream[2]
    found = images_of(experience)
    seen = torch.stack([experience.dataset[index][0] for index in range(len(found))])
    assert (found.normalise(found.images) - seen).abs().max() <= 0.5 / 255 / 0.4 + 1e-5
    assert found.labels.tolist() == list(experience.dataset.targets)


def test_random_transforms_stay_out(digits):
    noise = transforms.Lambda(lambda image: image + torch.randn_like(image))
    train = transforms.Compose([NORMALISED, noise])
    sets = Pictures(digits.train), Pictures(digits.test)
    noisy = nc_benchmark(*sets, 5, False, seed=1, train_transform=train, eval_transform=NORMALISED)
    assert torch.equal(images_of(noisy.train_stream[0]).images, images_of(pictures(digits).train_stream[0]).images)


def test_a_constant_channel_is_kept(digits):
    flat = transforms.Compose([NORMALISED, transforms.Lambda(lambda image: torch.cat([image, 0 * image - 1.5]))])
    found = images_of(pictures(digits, flat).train_stream[0])
    assert (found.normalise(found.images)[:, 1] == -1.5).all()


@pytest.mark.parametrize(
    ("transform", "convert", "words"),
    [
        (None, to_pil_image, r"hands out Image, not .*ToTensor\(\)"),
        (None, lambda image: image, r"hands out torch.uint8 of \[1, 8, 8\]"),
        (transforms.Compose([NORMALISED, torch.flatten]), to_pil_image, r"hands out torch.float32 of \[64\]"),
        (transforms.Compose([NORMALISED, lambda image: image / 0]), to_pil_image, "NaN or infinite"),
        (
            transforms.Compose([NORMALISED, lambda image: image[:, : 7 + int(image[0, 4, 4] > 0)]]),
            to_pil_image,
            r"holds images of \[1, ., 8\] and",
        ),
    ],
)
def test_what_no_condenser_takes_is_a_message(digits, transform, convert, words):
    with pytest.raises(ValueError, match=words) as caught:
        images_of(pictures(digits, transform, convert).train_stream[0])
    assert len(str(caught.value).splitlines()) == 1


def test_pixels_that_nobody_normalised_are_warned_of(digits):
    with pytest.warns(UserWarning, match=r"are they normalised\?"):
        images_of(pictures(digits, transforms.ToTensor()).train_stream[0])


# --- the buffer


def test_each_experience_is_condensed_from_its_own_images_alone(digits):
    stream = continual_stream(digits, steps=5, order=0)
    buffer = CondensingBuffer("dm", per_class=2, schedule=SHORT, seed=3)
    for experience in stream.train_stream[:2]:
        buffer.post_adapt(None, experience)
    source = images_of(stream.train_stream[1])
    second = tuple(sorted(step_classes(10, 5, 0)[1]))
    alone = condense([registry.condenser("dm")], source, [Group(second, 2)], SHORT, seed=3)["dm"]
    images, labels = buffer.tensors()
    assert torch.equal(images[4:], alone.images)
    assert labels[4:].tolist() == alone.labels.tolist()
    assert buffer.classes[2:] == list(second)


def test_under_a_total_budget_a_class_is_condensed_to_its_share_and_shrinks(digits):
    buffer = CondensingBuffer("random", max_size=20)
    sizes = []
    for experience in continual_stream(digits, steps=5, order=0).train_stream:
        buffer.post_adapt(None, experience)
        sizes.append(buffer.tensors()[1].bincount().max().item())
    assert sizes == [10, 5, 3, 2, 2]


def test_labels_are_those_of_the_benchmark(digits):
    benchmark = pictures(digits, class_ids_from_zero_from_first_exp=True)
    buffer = CondensingBuffer("random", per_class=2)
    for experience in benchmark.train_stream[:2]:
        buffer.post_adapt(None, experience)
    assert sorted(buffer.tensors()[1].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


# --- what would mislead


def test_classes_that_share_a_number_are_a_message(digits):
    memory = Memory(digits.train.normalise(digits.train.images), digits.train.labels, {}).first_per_class(2)
    buffers = CondensedBuffer(memory, per_class=2), CondensingBuffer("random", per_class=2)
    for buffer in buffers:
        for settings, words in (
            ({"class_ids_from_zero_in_each_exp": True}, "class_ids_from_zero_in_each_exp=False"),
            ({"task_labels": True}, "task_labels=False"),
        ):
            with pytest.raises(ValueError, match=words):
                buffer.post_adapt(None, pictures(digits, **settings).train_stream[1])
    renumbered = pictures(digits, class_ids_from_zero_from_first_exp=True).train_stream[0]
    with pytest.raises(ValueError, match="numbers classes as they arrive"):
        buffers[0].post_adapt(None, renumbered)


def test_sizes_and_names_that_do_not_fit_are_a_message():
    with pytest.raises(ValueError, match=r"give per_class, max_size, or both"):
        CondensingBuffer("dm")
    with pytest.raises(ValueError, match="unknown condenser 'dmm'"):
        CondensingBuffer("dmm", per_class=2)
    buffer = CondensingBuffer("dm", max_size=50)
    with pytest.raises(ValueError, match="mem_size is 40, the buffer's max_size 50: leave mem_size out"):
        replay(buffer, mem_size=40)
    assert replay(buffer, mem_size=50, batch_size_mem=8).batch_size_mem == 8
    assert replay(CondensingBuffer("dm", per_class=5)).storage_policy.max_size is None


def test_soft_labels_do_not_go_into_a_buffer(digits):
    memory = Memory(digits.train.normalise(digits.train.images), digits.train.labels, {}).first_per_class(2)
    soft = torch.nn.functional.one_hot(memory.labels, 10).float()
    with pytest.raises(ValueError, match="soft labels"):
        CondensedBuffer(Memory(memory.images, memory.labels, {}, soft_labels=soft))


# --- the strategies that are named as seen working


def accuracies(digits, benchmark, kind, plugins=(), epochs=6, **settings):
    torch.manual_seed(0)  # Avalanche's loaders shuffle with the global generator
    network = build("ConvNet-W16-D2", digits.classes, digits.shape)
    strategy = kind(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9),
        criterion=torch.nn.CrossEntropyLoss(),
        train_mb_size=32,
        train_epochs=epochs,
        eval_mb_size=512,
        plugins=list(plugins),
        evaluator=silent_evaluator(),
        **settings,
    )
    for experience in benchmark.train_stream:
        strategy.train(experience)
    return scores(strategy.eval(benchmark.test_stream))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(Naive, {}), (EWC, {"ewc_lambda": 1.0}), (LwF, {"alpha": 1.0, "temperature": 2.0})],
    ids=["Naive", "EWC", "LwF"],
)
def test_strategies_remember_through_replay(digits, kind, settings):
    benchmark = continual_stream(digits, steps=5, order=0)
    alone = accuracies(digits, benchmark, kind, **settings)
    plugins = [replay(CondensingBuffer("random", per_class=5))]
    assert alone["accuracy"] < 0.4
    assert accuracies(digits, benchmark, kind, plugins, **settings)["accuracy"] > 0.6


def test_gdumb_learns_any_benchmark_of_pictures_from_condensed_images(digits):
    buffer = CondensingBuffer("dm", per_class=5, schedule=SHORT)
    assert accuracies(digits, pictures(digits), Naive, [gdumb(buffer)], epochs=30)["accuracy"] > 0.7
    assert len(buffer.buffer) == 50


@pytest.mark.parametrize("plugin", [replay, gdumb])
def test_benchmarks_without_task_labels_are_learnt_from_condensed_images(digits, plugin):
    sets = {
        name: as_classification_dataset(TensorImages(part.normalise(part.images), part.labels))
        for name, part in (("train", digits.train), ("test", digits.test))
    }
    benchmark = class_incremental_benchmark(sets, num_experiences=5, class_order=list(range(10)))
    assert not has_task_labels(benchmark.train_stream[0])
    buffer = CondensingBuffer("random", per_class=5)
    assert accuracies(digits, benchmark, Naive, [plugin(buffer)], epochs=20)["accuracy"] > 0.6
    assert len(buffer.buffer) == 50
