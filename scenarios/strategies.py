"""Retraining from scratch on a condensed memory at every step of a stream, and the numbers that score it.

Avalanche runs the stream and, if asked, its evaluation loop and metrics; `condensers.device.training` trains the
networks. The small functions here compute the same metrics from predictions, without a second run through the networks:
`harness.continual` records them, and tests compare them with Avalanche's.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TypedDict
from weakref import WeakKeyDictionary

import torch
from avalanche.benchmarks import CLExperience, CLStream
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.core import SupervisedPlugin
from avalanche.evaluation.metrics import accuracy_metrics, forgetting_metrics
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.templates import SupervisedTemplate
from jaxtyping import Int64
from torch import Tensor, nn

from condensers.device import training as trainer
from condensers.device.training import Training
from scenarios.buffers import ClassBuffer


class Scores(TypedDict):
    """Accuracies in [0, 1]: on all images of the evaluated experiences, and on each experience in turn."""

    accuracy: float
    accuracy_on_step: list[float]


def silent_evaluator() -> EvaluationPlugin:
    """Accuracy per experience and stream, and stream forgetting, without a logger."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No loggers specified")
        return EvaluationPlugin(
            accuracy_metrics(experience=True, stream=True), forgetting_metrics(stream=True), loggers=[]
        )


# Test images, collated on the device: all strategies on a stream share them, and they are freed with the stream.
_COLLATED: WeakKeyDictionary[CLExperience, list[Tensor]] = WeakKeyDictionary()


class RetrainFromMemory(SupervisedTemplate):
    """At every experience: grow the memory, then train fresh networks from scratch on the memory alone.

    `train` trains all network replicates of one (memory, step): one cell. Avalanche's callbacks around an
    experience and in `eval` fire as usual; those of training epochs and iterations do not, because the training
    loop is `condensers.device.training.train`. `self.model` and `self.evaluator` are those of the selected replicate
    (the first one after `train`); every replicate has its own evaluator, so forgetting never mixes networks.

    Attributes:
        buffer: the memory of the classes seen so far.
        networks: the trained replicates of the last step; empty before training and after a mere `observe`.
    """

    def __init__(
        self,
        *,
        buffer: ClassBuffer,
        make_network: Callable[[int, int], nn.Module],
        make_seed: Callable[[int, int], int],
        replicates: int = 1,
        training: Training = Training(),  # noqa: B008 (frozen)
        device: torch.device | str = "cpu",
        eval_mb_size: int = 512,
        plugins: Sequence[SupervisedPlugin] = (),
        evaluator: Callable[[], EvaluationPlugin] = silent_evaluator,
        progress: Callable[[int], object] = lambda epochs: None,
    ) -> None:
        """A strategy whose networks and seeds are functions of (step, replicate), both counted from 0.

        Args:
            buffer: filled experience by experience; the only training data.
            make_network: a freshly drawn network for (step, replicate).
            make_seed: the seed of order and augmentation for (step, replicate).
            replicates: networks trained on every memory.
            training: how each of them is trained.
            device: where networks and memory live during training and evaluation.
            eval_mb_size: images per evaluation batch.
            plugins: further Avalanche plugins.
            evaluator: makes the evaluation plugin of one replicate.
            progress: called with 1 after every epoch of every network.

        Raises:
            ValueError: `replicates` below 1.
        """
        if replicates < 1:
            raise ValueError(f"replicates is {replicates}; at least one network must be trained")
        evaluators = [evaluator() for _ in range(replicates)]
        model = make_network(0, 0)
        super().__init__(
            model=model,
            # Avalanche asks for an optimiser; the one that trains is made by the trainer, per network.
            optimizer=torch.optim.SGD(model.parameters(), lr=training.lr),
            eval_mb_size=eval_mb_size,
            device=device,
            plugins=[*plugins, *evaluators[1:]],
            evaluator=evaluators[0],
        )
        self.buffer, self.training, self.progress = buffer, training, progress
        self.make_network, self.make_seed = make_network, make_seed
        self.networks: list[nn.Module] = []
        self.evaluators = evaluators

    def observe(self, experience: CLExperience) -> None:
        """Grow the memory without training, as a resumed run does at a step whose cells are finished.

        Raises:
            ValueError: the memory does not hold what arrives (see `ClassBuffer.post_adapt`).
        """
        self.buffer.post_adapt(self, experience)
        self.networks = []

    def select(self, replicate: int) -> None:
        """Make `eval` run that trained replicate with its own evaluator.

        Raises:
            ValueError: there is no such trained network.
        """
        if not 0 <= replicate < len(self.networks):
            raise ValueError(f"no network {replicate}: {len(self.networks)} are trained on the current memory")
        self.model, self.evaluator = self.networks[replicate], self.evaluators[replicate]
        self._activate([self.evaluator])

    def evaluate(self, replicate: int, test_stream: CLStream) -> Scores:
        """Score one trained replicate through Avalanche, on a stream or a slice such as `test_stream[:t]`.

        Raises:
            ValueError: there is no such trained network, or its evaluator does not report accuracies.
        """
        self.select(replicate)
        self.evaluator.reset_last_metrics()
        return scores(self.eval(test_stream))

    def train(
        self,
        experiences: CLExperience | Iterable[CLExperience],
        eval_streams: Sequence[CLStream] | None = None,
        **kwargs: object,
    ) -> dict[str, object]:
        """Train on each experience in turn; afterwards the first replicate is selected."""
        # Every replicate's evaluator must see the training: forgetting is counted from the accuracy right after it.
        self._activate(self.evaluators)
        metrics = super().train(experiences, eval_streams, **kwargs)
        self.select(0)
        return metrics

    def train_dataset_adaptation(self, **kwargs: object) -> None:
        """The grown memory takes the place of the experience's images."""
        self.observe(self.experience)
        self.adapted_dataset = self.buffer.buffer

    def check_model_and_optimizer(self, **kwargs: object) -> None:
        """Fresh networks for this step, instead of adapting the previous ones."""
        step = self.experience.current_experience
        drawn = [self.make_network(step, replicate) for replicate in range(len(self.evaluators))]
        self.networks = [network.to(self.device) for network in drawn]
        self.model = self.networks[0]

    def make_eval_dataloader(self, **kwargs: object) -> None:
        """Batches cut from whole tensors, collated and moved to the device once per experience."""
        columns = _columns(self.experience, self.adapted_dataset, self.device)
        batches = (column.split(self.eval_mb_size) for column in columns)
        self.dataloader = [list(batch) for batch in zip(*batches, strict=True)]

    def _train_exp(self, experience: CLExperience, eval_streams: object = None, **kwargs: object) -> None:
        images, labels = (tensor.to(self.device) for tensor in self.buffer.tensors())
        seeds = [self.make_seed(experience.current_experience, replicate) for replicate in range(len(self.networks))]
        trainer.train_all(self.networks, images, labels, self.training, seeds, self.progress)

    def _activate(self, evaluators: Sequence[EvaluationPlugin]) -> None:
        for evaluator in self.evaluators:
            evaluator.active = evaluator in evaluators


def _columns(experience: CLExperience, data: AvalancheDataset, device: torch.device) -> list[Tensor]:
    """Images, labels and task labels of an experience, one tensor each, on the device."""
    columns = _COLLATED.get(experience) or data.collate_fn([data[index] for index in range(len(data))])
    _COLLATED[experience] = [column.to(device) for column in columns]
    return _COLLATED[experience]


def scores(metrics: dict[str, object]) -> Scores:
    """The accuracies among Avalanche's metrics of one `eval`.

    Names differ between benchmarks: only those with task labels put `/Task000` into them.

    Raises:
        ValueError: the metrics lack the accuracy of the stream or of its experiences.
    """
    on_step = _matching(metrics, r"Top1_Acc_Exp/eval_phase/\w+?_stream(?:/Task\d+)?/Exp(\d+)")
    overall = _matching(metrics, r"Top1_Acc_Stream/eval_phase/\w+?_stream(?:/Task(\d+))?")
    if not on_step or len(overall) != 1:
        raise ValueError(
            f"no accuracies of one stream among {sorted(metrics)}; "
            "give the evaluator accuracy_metrics(experience=True, stream=True)"
        )
    return Scores(accuracy=overall[0][1], accuracy_on_step=[value for _, value in sorted(on_step)])


def forgetting(history: Sequence[Sequence[float]]) -> float:
    """Stream forgetting after the last step T: the mean over t < T of history[t][t] - history[T][t]; 0 after the first.

    An experience's forgetting is its accuracy right after it was learned minus its accuracy now, below 0 if it
    improved. Avalanche's is the same number. Chaudhry et al. (2018) take the *best* earlier accuracy instead of the
    first: not the same.

    Args:
        history: row `t` holds the accuracies on experiences 0 .. t (or more) after step `t`.
    """
    *earlier, last = history
    forgotten = [row[step] - last[step] for step, row in enumerate(earlier)]
    return sum(forgotten) / len(forgotten) if forgotten else 0.0


def accuracy_on(predictions: Int64[Tensor, "n"], labels: Int64[Tensor, "n"], classes: Sequence[int]) -> float:
    """Fraction of the images of `classes` that are predicted as their class.

    Raises:
        ValueError: there is no image of these classes.
    """
    wanted = torch.isin(labels, torch.as_tensor(classes, device=labels.device))
    if not wanted.any():
        raise ValueError(f"no test image of the classes {list(classes)}")
    return (predictions == labels)[wanted].double().mean().item()


def accuracy_by_step(
    predictions: Int64[Tensor, "n"], labels: Int64[Tensor, "n"], steps: Sequence[Sequence[int]]
) -> list[float]:
    """Accuracy on the images of each step's classes, the argmax being over all classes.

    Raises:
        ValueError: a step without an image.
    """
    return [accuracy_on(predictions, labels, classes) for classes in steps]


def _matching(metrics: dict[str, object], pattern: str) -> list[tuple[int, float]]:
    """(number in the name, value) of the metrics whose whole name matches."""
    found = ((re.fullmatch(pattern, name), value) for name, value in metrics.items())
    return [(int(match[1] or 0), value) for match, value in found if match]
