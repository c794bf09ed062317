import copy
from dataclasses import dataclass, replace

import pytest
import torch
from avalanche.benchmarks import nc_benchmark
from avalanche.core import SupervisedPlugin
from avalanche.evaluation.metrics import loss_metrics
from avalanche.training.plugins import EvaluationPlugin

from condensers.device.draws import draw_network, key_of
from condensers.device.training import Training, accuracy, predict, together_of
from condensers.memory import Memory
from scenarios.buffers import CondensedBuffer
from scenarios.datasets import load
from scenarios.strategies import (
    RetrainFromMemory,
    accuracy_by_step,
    accuracy_on,
    forgetting,
    scores,
)
from scenarios.streams import TensorImages, class_order, continual_stream, step_classes
from search_spaces.registry import build

STEPS, ORDER, REPLICATES = 5, 2, 2


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load("digits", tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def memory(digits):
    return Memory(digits.train.normalise(digits.train.images), digits.train.labels, {}).first_per_class(5)


@pytest.fixture(scope="module")
def benchmark(digits):
    return continual_stream(digits, STEPS, ORDER)


def retrain(digits, memory, **settings):
    def make_network(step, replicate):
        network = build("ConvNet-W8-D2", digits.classes, digits.shape)
        draw_network(network, key_of(0, "network", step, replicate))
        return network

    return RetrainFromMemory(
        buffer=CondensedBuffer(memory, per_class=5),
        make_network=make_network,
        make_seed=lambda step, replicate: key_of(0, "training", step, replicate),
        training=Training(epochs=25, batch=32, lr=0.1, augmentation=digits.augmentation),
        **{"replicates": REPLICATES} | settings,
    )


@dataclass
class Cell:
    """One live (step, replicate): the network, Avalanche's scores and its live forgetting."""

    network: torch.nn.Module
    scores: dict
    forgetting: float


@pytest.fixture(scope="module")
def live(digits, memory, benchmark):
    """A run over all steps, evaluated after each one: `live[step][replicate]`."""
    strategy, cells = retrain(digits, memory), []
    for step, experience in enumerate(benchmark.train_stream):
        strategy.train(experience)
        cells.append([_cell(strategy, r, benchmark.test_stream[: step + 1]) for r in range(REPLICATES)])
    return cells


def _cell(strategy, replicate, stream):
    result = strategy.evaluate(replicate, stream)
    live_forgetting = strategy.evaluator.get_last_metrics()["StreamForgetting/eval_phase/test_stream"]
    return Cell(strategy.networks[replicate], result, live_forgetting)


def history(live, replicate):
    return [cells[replicate].scores["accuracy_on_step"] for cells in live]


def weights(network):
    return torch.nn.utils.parameters_to_vector(network.parameters())


def test_networks_learn_from_the_memory_alone(live):
    assert [len(cells[0].scores["accuracy_on_step"]) for cells in live] == [1, 2, 3, 4, 5]
    assert min(cells[0].scores["accuracy"] for cells in live) > 0.5
    assert live[0][0].scores["accuracy"] > live[-1][0].scores["accuracy"]


def test_our_accuracies_are_those_of_avalanche(digits, live):
    by_step = step_classes(10, STEPS, ORDER)
    for step, cells in enumerate(live):
        seen = digits.test.of_classes([label for classes in by_step[: step + 1] for label in classes])
        for cell in cells:
            predictions = predict(cell.network, seen)
            ours = accuracy_by_step(predictions, seen.labels, by_step[: step + 1])
            assert ours == pytest.approx(cell.scores["accuracy_on_step"], abs=1e-6)
            assert accuracy(cell.network, seen) == pytest.approx(cell.scores["accuracy"], abs=1e-6)


@pytest.mark.parametrize("replicate", range(REPLICATES))
def test_recorded_forgetting_is_that_of_the_live_run(live, replicate):
    rows = history(live, replicate)
    for step, cells in enumerate(live):
        assert forgetting(rows[: step + 1]) == pytest.approx(cells[replicate].forgetting, abs=1e-6)
    assert live[-1][replicate].forgetting > 0.01


def test_replicates_are_different_networks_with_their_own_forgetting(live):
    assert not torch.equal(weights(live[-1][0].network), weights(live[-1][1].network))
    assert live[-1][0].forgetting != live[-1][1].forgetting


def test_forgetting_by_hand():
    rows = [[0.9], [0.5, 0.8], [0.6, 0.3, 1.0]]
    assert forgetting(rows) == pytest.approx(0.4)
    assert forgetting(rows[:1]) == 0


def test_accuracies_on_future_experiences_do_not_count_as_forgotten():
    square = [[0.9, 0.1, 0.0], [0.5, 0.8, 0.2], [0.6, 0.3, 1.0]]
    assert forgetting(square) == pytest.approx(0.4)


def test_a_resumed_run_trains_the_same_networks(digits, memory, benchmark, live):
    strategy = retrain(digits, memory)
    for experience in benchmark.train_stream[:3]:
        strategy.observe(experience)
    strategy.train(benchmark.train_stream[3])
    for replicate in range(REPLICATES):
        assert torch.equal(weights(strategy.networks[replicate]), weights(live[3][replicate].network))
        assert strategy.evaluate(replicate, benchmark.test_stream[:4]) == live[3][replicate].scores


def test_the_images_of_the_stream_are_not_trained_on(digits, memory, live):
    black = replace(digits.train, images=torch.zeros_like(digits.train.images))
    strategy = retrain(digits, memory, replicates=1)
    strategy.train(continual_stream(replace(digits, train=black), STEPS, ORDER).train_stream[0])
    assert torch.equal(weights(strategy.networks[0]), weights(live[0][0].network))


def test_plugins_see_fresh_networks_and_the_memory_before_training(digits, memory, benchmark):
    class Witness(SupervisedPlugin):
        def before_training_exp(self, strategy):
            self.seen = weights(strategy.model).clone(), list(strategy.adapted_dataset.targets)

    witness = Witness()
    strategy = retrain(digits, memory, plugins=[witness])
    for step, experience in enumerate(benchmark.train_stream[:2]):
        strategy.train(experience)
        assert torch.equal(witness.seen[0], weights(strategy.make_network(step, 0)))
        assert witness.seen[1] == strategy.buffer.tensors()[1].tolist()


def test_every_replicate_is_trained_with_its_own_seed(digits, memory, benchmark):
    strategy = retrain(digits, memory)
    draw = strategy.make_network
    strategy.make_network = lambda step, replicate: draw(step, 0)
    strategy.train(benchmark.train_stream[0])
    assert not torch.equal(weights(strategy.networks[0]), weights(strategy.networks[1]))


def test_replicates_that_train_together_become_the_networks_that_they_are_alone(digits, memory, benchmark, live):
    strategy = retrain(digits, memory)
    alone = strategy.training
    strategy.training = replace(alone, chunk=256)
    for step, experience in enumerate(benchmark.train_stream[:2]):
        strategy.train(experience)
        apart, together = (
            together_of(strategy.model, t, len(strategy.buffer.buffer)) for t in (alone, strategy.training)
        )
        assert apart == 1
        assert together >= REPLICATES
        for replicate, network in enumerate(strategy.networks):
            torch.testing.assert_close(weights(network), weights(live[step][replicate].network), rtol=1e-2, atol=1e-3)
            found = strategy.evaluate(replicate, benchmark.test_stream[: step + 1])
            assert found["accuracy"] == pytest.approx(live[step][replicate].scores["accuracy"], abs=0.02)


def test_a_shorter_stream_is_scored_without_leftovers_of_a_longer_one(digits, memory, benchmark, live):
    strategy = retrain(digits, memory, replicates=1)
    strategy.train(benchmark.train_stream[0])
    strategy.evaluate(0, benchmark.test_stream)
    assert strategy.evaluate(0, benchmark.test_stream[:1]) == live[0][0].scores


def test_streams_with_task_labels_give_the_same_scores(digits, memory, live):
    train, test = (TensorImages(split.images, split.labels, split.normalise) for split in (digits.train, digits.test))
    benchmark = nc_benchmark(train, test, STEPS, task_labels=False, fixed_class_order=class_order(10, ORDER))
    strategy = retrain(digits, memory)
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    assert strategy.evaluate(1, benchmark.test_stream[:2]) == live[1][1].scores
    assert any("Task000" in name for name in strategy.evaluator.get_last_metrics())


def test_evaluation_batches_are_those_of_avalanche(digits, memory, benchmark):
    strategy = retrain(digits, memory, replicates=1, eval_mb_size=32)
    reference = copy.copy(strategy)
    for agent, make in ((strategy, type(strategy)), (reference, type(strategy).__base__)):
        agent.experience = benchmark.test_stream[2]
        agent.eval_dataset_adaptation()
        make.make_eval_dataloader(agent)
    pairs = list(zip(strategy.dataloader, reference.dataloader, strict=True))
    assert len(pairs) > 1
    for ours, theirs in pairs:
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_test_images_are_moved_to_the_device_once(digits, memory):
    # The meta device takes a copy from anywhere and gives none back: a second one from the host would be another.
    stream, loaders = continual_stream(digits, STEPS, ORDER).test_stream, []
    for _ in range(2):
        strategy = retrain(digits, memory, replicates=1)
        strategy.device, strategy.experience = torch.device("meta"), stream[2]
        strategy.eval_dataset_adaptation()
        strategy.make_eval_dataloader()
        loaders.append(strategy.dataloader)
    assert all(column.is_meta for column in loaders[0][0])
    assert all(one._base is other._base for one, other in zip(*(loader[0] for loader in loaders), strict=True))


def test_nothing_is_printed(digits, memory, benchmark, capfd, recwarn):
    strategy = retrain(digits, memory, replicates=1)
    strategy.train(benchmark.train_stream[0])
    strategy.evaluate(0, benchmark.test_stream[:1])
    assert capfd.readouterr() == ("", "")
    assert not [w for w in recwarn if "logger" in str(w.message)]


def test_progress_counts_epochs_of_all_networks(digits, memory, benchmark):
    ticks = []
    retrain(digits, memory, progress=ticks.append).train(benchmark.train_stream[0])
    assert sum(ticks) == REPLICATES * 25


def test_networks_that_are_not_trained_on_the_memory_are_not_scored(digits, memory, benchmark):
    strategy = retrain(digits, memory)
    with pytest.raises(ValueError, match="no network 0: 0 are trained"):
        strategy.evaluate(0, benchmark.test_stream[:1])
    strategy.train(benchmark.train_stream[0])
    with pytest.raises(ValueError, match="no network 2: 2 are trained"):
        strategy.evaluate(2, benchmark.test_stream[:1])
    strategy.observe(benchmark.train_stream[1])
    with pytest.raises(ValueError, match="no network 0: 0 are trained"):
        strategy.evaluate(0, benchmark.test_stream[:2])


def test_bad_settings_are_refused(digits, memory, benchmark):
    with pytest.raises(ValueError, match="replicates is 0"):
        retrain(digits, memory, replicates=0)
    blind = retrain(
        digits, memory, replicates=1, evaluator=lambda: EvaluationPlugin(loss_metrics(stream=True), loggers=[])
    )
    blind.train(benchmark.train_stream[0])
    with pytest.raises(ValueError, match="give the evaluator accuracy_metrics"):
        blind.evaluate(0, benchmark.test_stream[:1])


def test_scores_of_two_streams_are_not_mixed():
    metrics = {f"Top1_Acc_Stream/eval_phase/{name}_stream": 0.5 for name in ("train", "test")}
    with pytest.raises(ValueError, match="no accuracies of one stream"):
        scores(metrics | {"Top1_Acc_Exp/eval_phase/test_stream/Exp000": 0.5})


def test_accuracy_needs_images():
    labels = torch.tensor([0, 0, 1, 1])
    assert accuracy_on(torch.tensor([0, 1, 1, 2]), labels, [0, 1]) == 0.5
    with pytest.raises(ValueError, match="no test image of the classes \\[7\\]"):
        accuracy_on(labels, labels, [7])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_and_evaluation_run_on_the_device(digits, memory, benchmark):
    strategy = retrain(digits, memory, device="cuda")
    strategy.train(benchmark.train_stream[0])
    result = strategy.evaluate(1, benchmark.test_stream[:1])
    assert next(strategy.networks[1].parameters()).is_cuda
    seen = digits.test.of_classes(step_classes(10, STEPS, ORDER)[0]).to("cuda")
    assert accuracy(strategy.networks[1], seen) == pytest.approx(result["accuracy"], abs=1e-6)
