"""Training on a memory: it learns, it repeats to the bit, and it is the recipe written out plainly."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from condensers.device import draws
from condensers.device.images import LabelledImages
from condensers.device.training import (
    Training,
    accuracy,
    augmented,
    augmented_all,
    predict,
    together_of,
    train,
    train_all,
)
from condensers.memory import Memory
from search_spaces.registry import build

UPRIGHT = "color_crop_cutout_scale_rotate"


@pytest.fixture(scope="module")
def memory(digits):
    return Memory(digits.train.normalise(digits.train.images), digits.train.labels, {}).first_per_class(10)


def network(name="ConvNet-W16-D2", seed=0):
    drawn = build(name, 10, (1, 8, 8))
    draws.draw_network(drawn, seed)
    return drawn


def trained(memory, training, seed=0, name="ConvNet-W16-D2"):
    drawn = network(name)
    train(drawn, memory.images, memory.labels, training, seed)
    return drawn


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def test_training_on_ten_images_per_class_learns_digits(digits, memory):
    fresh = network()
    assert accuracy(fresh, digits.test) < 0.3
    train(fresh, memory.images, memory.labels, Training(epochs=80, batch=32, lr=0.05, augmentation=UPRIGHT), 0)
    assert accuracy(fresh, digits.test) > 0.8


def test_the_number_of_threads_changes_no_bit(digits, memory):
    training, threads = Training(epochs=3, batch=25, augmentation=UPRIGHT, chunk=5), torch.get_num_threads()
    one = trained(memory, training)
    alone = predict(one, digits.test, 50)
    try:
        torch.set_num_threads(3)
        many = trained(memory, training)
        assert torch.equal(predict(many, digits.test, 50), alone)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(weights(one), weights(many))


def test_the_defaults_are_the_published_evaluation():
    assert Training() == Training(1000, 256, 0.01, 0.9, 5e-4, "color_crop_cutout_flip_scale_rotate", 16)


def test_the_same_seed_repeats_every_bit_and_another_does_not(memory):
    training = Training(epochs=4, batch=32, augmentation=UPRIGHT)
    first, again, other = (trained(memory, training, seed) for seed in (1, 1, 2))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_the_global_generator_is_left_alone(memory):
    drawn, state = network(), torch.get_rng_state()
    train(drawn, memory.images, memory.labels, Training(epochs=2, augmentation=UPRIGHT), 0)
    assert torch.equal(torch.get_rng_state(), state)


def plain_loop(memory, training, seed, name="ConvNet-W16-D2"):
    """SGD with momentum and weight decay by hand; after half of the epochs a tenth of the rate and no velocity."""
    drawn = network(name).to(memory.images.dtype)
    parameters = list(drawn.parameters())
    velocity = [torch.zeros_like(p) for p in parameters]
    for epoch in range(training.epochs):
        if epoch == training.epochs // 2:
            velocity = [torch.zeros_like(p) for p in parameters]
        lr = training.lr if epoch < training.epochs // 2 else training.lr / 10
        numbers = [(draws.fold(draws.key_of(seed, "order", epoch), i) % 2**64) >> 40 for i in range(len(memory))]
        order = sorted(range(len(memory)), key=lambda i: numbers[i])
        for step in range(0, len(order), training.batch):
            chosen = order[step : step + training.batch]
            batch = memory.images[chosen]
            if training.augmentation:
                key = draws.key_of(seed, "augment", epoch, step // training.batch)
                batch = augmented(batch, training.augmentation, key)
            loss = F.cross_entropy(drawn(batch), memory.labels[chosen])
            with torch.no_grad():
                for i, (p, g) in enumerate(zip(parameters, torch.autograd.grad(loss, parameters), strict=True)):
                    velocity[i] = training.momentum * velocity[i] + g + training.weight_decay * p
                    p -= lr * velocity[i]
    return drawn


@pytest.mark.parametrize("name", ["ConvNet-W16-D2", "ConvNet-W8-D2-BN"])
@pytest.mark.parametrize("epochs", [4, 5])
def test_training_is_the_plain_loop(memory, epochs, name):
    # 100 images in batches of 32, each in chunks of 9: remainders of both kinds. In float64: ReLUs amplify rounding.
    exact = replace(memory, images=memory.images.double())
    training = Training(epochs, 32, lr=0.1, weight_decay=0.01, augmentation="", chunk=9)
    drawn = network(name).double()
    train(drawn, exact.images, exact.labels, training, 3)
    torch.testing.assert_close(weights(drawn), weights(plain_loop(exact, training, 3, name)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["ConvNet-W16-D2", "ConvNet-W8-D2-BN"])
def test_every_minibatch_is_augmented_anew(memory, name):
    training = Training(4, 32, lr=0.01, augmentation=UPRIGHT)
    expected = plain_loop(memory, training, 3, name)
    torch.testing.assert_close(weights(trained(memory, training, 3, name)), weights(expected), rtol=1e-3, atol=1e-5)


def test_chunks_change_nothing_but_rounding(memory):
    runs = [weights(trained(memory, Training(3, 64, lr=0.1, chunk=chunk))) for chunk in (64, 1, 10, 1000)]
    for run in runs[1:]:
        torch.testing.assert_close(run, runs[0], rtol=1e-3, atol=1e-5)
    mixing = [weights(trained(memory, Training(2, 64, chunk=chunk), name="ConvNet-W8-D2-BN")) for chunk in (64, 10)]
    assert torch.equal(*mixing)


def test_progress_counts_epochs(memory):
    done = []
    train(network(), memory.images, memory.labels, Training(epochs=3), 0, done.append)
    assert done == [1, 1, 1]


def test_predictions_are_the_largest_logits(digits):
    test = digits.test.subset(torch.arange(100))
    for name in ("ConvNet-W16-D2", "ConvNet-W8-D2-BN"):
        drawn = network(name)
        found = predict(drawn, test, chunk=33)
        with torch.no_grad():
            # One by one: what another image of the chunk holds must not matter.
            logits = [drawn.eval()(test.normalise(image)[None])[0] for image in test.images]
        expected = [max(range(10), key=lambda label: each[label].item()) for each in logits]
        assert found.tolist() == expected
        right = sum(a == b for a, b in zip(expected, test.labels.tolist(), strict=True))
        assert accuracy(drawn, test) == pytest.approx(right / 100)


def test_a_minibatch_has_one_operation_and_each_image_its_own_strength():
    grey = torch.full((64, 3, 8, 8), 0.5)
    ramp = torch.linspace(-1, 1, 8).expand(64, 3, 8, 8)
    kinds = []
    for key in range(60):
        shades = augmented(grey, "color_rotate", key)
        if (shades.flatten(1).std(dim=1) < 1e-5).all():
            kinds.append("color")
            assert len(shades[:, 0, 0, 0].unique()) > 60
        else:
            kinds.append("rotate")
            assert len(augmented(ramp.contiguous(), "color_rotate", key)[:, 0, 2, 2].unique()) > 60
    assert 15 < kinds.count("color") < 45
    assert torch.equal(augmented(grey, "", 0), grey)


def trained_both_ways(memory, training, name, count):
    """Networks trained one after another, and the same ones as `train_all` has them."""
    alone, together = ([network(name, seed) for seed in range(count)] for _ in range(2))
    alone, together = ([drawn.to(memory.images.dtype) for drawn in drawns] for drawns in (alone, together))
    for seed, drawn in enumerate(alone):
        train(drawn, memory.images, memory.labels, training, seed)
    train_all(together, memory.images, memory.labels, training, range(count))
    return alone, together


def assert_alike(alone, together, rtol, atol):
    for a, b in zip(alone, together, strict=True):
        for one, other in zip(a.state_dict().values(), b.state_dict().values(), strict=True):
            torch.testing.assert_close(one, other, rtol=rtol, atol=atol)
    assert not torch.equal(weights(together[0]), weights(together[1]))


@pytest.mark.parametrize("name", ["", "-GN-LeakyReLU-Max", "-BN", "-NN-Sigmoid"])
@pytest.mark.parametrize("count", [2, 5])
def test_each_network_of_a_group_learns_what_it_learns_alone(memory, name, count):
    # Groups of up to 4: one of 2, or of 3 and 2. In float64, where nothing but the mathematics can differ.
    exact = replace(memory, images=memory.images.double())
    training = Training(3, 32, lr=0.1, weight_decay=0.01, augmentation="", chunk=128)
    assert together_of(network(), training, len(memory)) == 4
    assert_alike(*trained_both_ways(exact, training, f"ConvNet-W8-D2{name}", count), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("augmentation", [UPRIGHT, "flip", "standard", ""])
def test_each_network_of_a_group_has_the_augmentation_that_it_has_alone(memory, augmentation):
    training = Training(3, 32, augmentation=augmentation, chunk=1000)
    assert_alike(*trained_both_ways(memory, training, "ConvNet-W8-D2", 7), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("augmentation", [UPRIGHT, "color_flip", "standard", ""])
def test_augmented_side_by_side_to_the_bit(memory, augmentation):
    keys = list(range(12))
    images = torch.stack([memory.images[key : key + 20] for key in keys])
    alone = [augmented(part, augmentation, key) for part, key in zip(images, keys, strict=True)]
    assert torch.equal(augmented_all(images, augmentation, keys), torch.cat(alone, dim=1))


def test_accuracies_are_those_of_training_one_after_another(digits, memory):
    training = Training(epochs=25, batch=50, lr=0.1, augmentation=UPRIGHT, chunk=400)
    pairs = zip(*trained_both_ways(memory, training, "ConvNet-W8-D2", 8), strict=True)
    found = torch.tensor([[accuracy(drawn, digits.test, 256) for drawn in pair] for pair in pairs])
    assert found.mean() > 0.7
    # Rounding grows over 50 steps: an image here and there, where seeds differ by twenty.
    assert found.diff(dim=1).abs().max() <= 3 / len(digits.test)
    assert found.std(dim=0).min() > 6 / len(digits.test)


def test_as_many_train_together_as_a_chunk_has_room_for():
    training = Training(batch=64, chunk=256)
    assert together_of(network(), training, 1000) == 4
    assert together_of(network(), training, 10) == 25
    assert together_of(network(), Training(), 1000) == 1
    assert together_of(network("ConvNet-W8-D2-LN"), training, 10) == 1


def test_layers_that_cannot_be_joined_train_one_after_another(memory):
    training = Training(2, 32, augmentation=UPRIGHT, chunk=256)
    alone, after = trained_both_ways(memory, training, "ConvNet-W8-D2-LN", 2)
    assert all(torch.equal(weights(a), weights(b)) for a, b in zip(alone, after, strict=True))


def test_progress_counts_the_epochs_of_all_networks(memory):
    done = []
    drawn = [network(seed=seed) for seed in range(3)]
    train_all(drawn, memory.images, memory.labels, Training(epochs=2, batch=50, chunk=100), range(3), done.append)
    assert done == [2, 2, 1, 1]
    assert all(drawn.training for drawn in drawn)


def test_every_network_needs_its_own_seed(memory):
    with pytest.raises(ValueError, match="1 seeds for 2 networks"):
        train_all([network(), network()], memory.images, memory.labels, Training(epochs=1), [0])


@pytest.mark.cuda
def test_cuda_trains_together_what_the_cpu_trains_alone(memory):
    training = Training(epochs=3, batch=32, lr=0.1, augmentation=UPRIGHT, chunk=8192)
    there = [network(seed=seed).cuda() for seed in range(4)]
    assert together_of(there[0], training, len(memory)) > 4
    train_all(there, memory.images.cuda(), memory.labels.cuda(), training, range(4))
    for seed, drawn in enumerate(there):
        here = network(seed=seed)
        train(here, memory.images, memory.labels, training, seed)
        torch.testing.assert_close(weights(drawn).cpu(), weights(here), rtol=1e-2, atol=1e-3)


@pytest.mark.cuda
def test_cuda_trains_alike(digits, memory):
    training = Training(epochs=3, batch=32, lr=0.1, augmentation=UPRIGHT)
    there = network().cuda()
    train(there, memory.images.cuda(), memory.labels.cuda(), training, 0)
    torch.testing.assert_close(weights(there).cpu(), weights(trained(memory, training)), rtol=1e-2, atol=1e-3)
    device = LabelledImages(digits.test.images.cuda(), digits.test.labels.cuda(), digits.test.mean, digits.test.std)
    assert predict(there, device).device.type == "cuda"


def test_certain_soft_labels_train_as_classes_and_others_as_their_cross_entropy(memory):
    training = Training(epochs=2, batch=30, augmentation=UPRIGHT)
    certain = F.one_hot(memory.labels, 10).float()
    drawn = network()
    train(drawn, memory.images, certain, training, 0)
    assert torch.allclose(weights(drawn), weights(trained(memory, training)), atol=1e-6)
    # Two networks side by side, one step: each as by hand.
    soft, training = certain * 0.8 + 0.02, Training(epochs=1, batch=100, augmentation="")
    networks = [network(seed=seed) for seed in (1, 2)]
    train_all(networks, memory.images, soft, training, [3, 4])
    for seed, drawn in zip((1, 2), networks, strict=True):
        plain = network(seed=seed).train()
        loss = -(soft * plain(memory.images).log_softmax(1)).sum() / len(memory)
        optimizer = torch.optim.SGD(plain.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
        loss.backward()
        optimizer.step()
        assert torch.allclose(weights(drawn), weights(plain), atol=1e-6)
