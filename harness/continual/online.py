"""Strategies of Avalanche that go through a stream once: one run gives the accuracies after every step.

They train as Avalanche does: by SGD, at the learning rate of the memories' evaluation but without its decay, and
without augmentation unless --augment asks for it.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from avalanche.training import Naive
from avalanche.training.plugins import SupervisedPlugin
from torch import nn

from condensers.device.training import predict
from condensers.memory import Memory
from harness.continual.experiment import GDUMB, Experiment
from harness.core.progress import bar
from harness.core.work import Work
from scenarios.buffers import CondensedBuffer
from scenarios.plugins import AugmentationPlugin, gdumb, replay
from scenarios.strategies import accuracy_by_step, accuracy_on, silent_evaluator
from scenarios.streams import continual_stream

Values = dict[str, float]  # the value of each metric, for one network after one step


@dataclass(frozen=True)
class Streamed:
    """A finished run: the values by step, then by network, and the mean seconds of one network and step."""

    values: list[list[Values]]
    seconds: float


@dataclass
class Online:
    """Runs an experiment's strategies and keeps the results, because cells ask for the steps of a run one by one."""

    experiment: Experiment
    done: dict[tuple, Streamed] = field(default_factory=dict)

    def run(self, strategy: str, order: int, memory: Memory | None, work: Work) -> Streamed:
        """Train all networks over all steps of a class order; what has been run before is not repeated.

        Args:
            strategy: a value of --strategy.
            order: number of the class order.
            memory: what the networks rehearse; None for a strategy without a memory.
            work: counted work of the whole run, for the progress bar.
        """
        key = (strategy, order, memory and memory.checksum)
        if key not in self.done:
            started, networks = time.perf_counter(), range(self.experiment.networks)
            units = len(networks) * self.experiment.steps
            with bar(units, f"{strategy}, order {order}", "steps", work.gflop) as shown:
                by_network = [self._network(strategy, order, memory, replicate, shown.update) for replicate in networks]
            values = [list(step) for step in zip(*by_network, strict=True)]
            self.done[key] = Streamed(values, (time.perf_counter() - started) / units)
        return self.done[key]

    def _network(
        self, strategy: str, order: int, memory: Memory | None, replicate: int, progress: Callable[[], object]
    ) -> list[Values]:
        """The values of one network after each step; `progress` is called after each."""
        experiment, seed = self.experiment, self.experiment.network_seed(order, 1, replicate)
        stream, found = continual_stream(experiment.dataset, experiment.steps, order), []
        # Avalanche's loaders shuffle by the global generator.
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            learner = self._learner(strategy, seed, memory)
            for experience in stream.train_stream:
                learner.train(experience)
                found.append(accuracies(experiment, learner.model, order, len(found) + 1))
                progress()
        return found

    def _learner(self, strategy: str, seed: int, memory: Memory | None) -> Naive:
        network, settings = self.experiment.new_network(seed), settings_of(self.experiment, strategy)
        rates = {name: settings[name] for name in ("lr", "momentum", "weight_decay")}
        return Naive(
            model=network,
            optimizer=torch.optim.SGD(network.parameters(), **rates),
            train_mb_size=settings["batch"],
            train_epochs=settings["epochs"],
            device=self.experiment.device,
            plugins=list(self._plugins(strategy, seed, memory)),
            evaluator=silent_evaluator(),
        )

    def _plugins(self, strategy: str, seed: int, memory: Memory | None) -> Iterator[SupervisedPlugin]:
        if memory is not None:
            buffer = CondensedBuffer(memory, self.experiment.per_class, self.experiment.max_size)
            yield gdumb(buffer) if strategy == GDUMB else replay(buffer)
        if self.experiment.augment:
            yield AugmentationPlugin(self.experiment.training.augmentation, seed)


def accuracies(experiment: Experiment, network: nn.Module, order: int, step: int) -> Values:
    """Test accuracy after a step of a class order: on all classes seen, and on the classes of each step so far."""
    steps = experiment.step_classes(order)[:step]
    classes = [label for own in steps for label in own]
    seen = experiment.test_on_device.of_classes(classes)
    predictions = predict(network, seen, experiment.training.chunk)
    by_step = accuracy_by_step(predictions, seen.labels, steps)
    return {
        "accuracy": accuracy_on(predictions, seen.labels, classes),
        **{f"accuracy_on_step_{number}": value for number, value in enumerate(by_step, 1)},
    }


def settings_of(experiment: Experiment, strategy: str) -> dict[str, object]:
    """How a strategy trains, as JSON values that become part of a score's key.

    GDumb trains on the memory for as many epochs as `retrain`, the others on a step's real images for as many as the
    whole set is trained on.
    """
    training = experiment.training if strategy == GDUMB else experiment.whole
    values = {name: getattr(training, name) for name in ("epochs", "batch", "lr", "momentum", "weight_decay")}
    # Without augmentation there is no entry, so that keys of rows from before --augment existed stay valid.
    augmented = {"augmentation": training.augmentation} if experiment.augment else {}
    return {"strategy": strategy, **values, **augmented}
