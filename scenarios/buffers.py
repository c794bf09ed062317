"""Rehearsal buffers of condensed images, for Avalanche's replay strategies and for our own."""

from abc import abstractmethod
from collections.abc import Callable

from avalanche.benchmarks import CLExperience
from avalanche.benchmarks.utils import (
    AvalancheDataset,
    ConstantSequence,
    DataAttribute,
    make_avalanche_dataset,
)
from avalanche.benchmarks.utils.data_attribute import TaskLabels
from avalanche.training.storage_policy import ExemplarsBuffer
from avalanche.training.templates import SupervisedTemplate
from jaxtyping import Float, Int64
from torch import Tensor

from condensers.memory import Memory, join
from scenarios.experiences import check_numbers, has_task_labels
from scenarios.streams import TensorImages


class ClassBuffer(ExemplarsBuffer):
    """Holds the condensed images of the classes seen so far, and nothing of the stream's own images.

    The size rule: with `per_class`, every class keeps its first `per_class` images. With `max_size`, every
    class seen has the same share, floor(max_size / classes seen), and keeps its *first* images up to that
    share; the remainder stays empty, and what a class has lost does not come back. With both, the smaller
    share counts; with neither, every image stays. Under `max_size`, a class condensed to fewer images than
    its share keeps them all.

    In Avalanche: `scenarios.plugins.replay(buffer)` and `scenarios.plugins.gdumb(buffer)`.

    Attributes:
        numbered_by_data_set: True if classes have the numbers of the data set, False if those of the benchmark.
        classes: the classes seen, in order of arrival.
        per_class: most images of one class, or None.
        max_size: most images in total, or None.
    """

    numbered_by_data_set: bool

    def __init__(self, per_class: int | None = None, max_size: int | None = None) -> None:
        """An empty buffer.

        Raises:
            ValueError: a size below 1.
        """
        for name, value in (("per_class", per_class), ("max_size", max_size)):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; give at least 1, or None for no bound")
        super().__init__(max_size)
        self.per_class = per_class
        self.classes: list[int] = []
        self._memory: Memory | None = None
        self._task_labels = True

    def post_adapt(self, agent_state: object, exp: CLExperience) -> None:
        """Add the condensed images of the experience's new classes; a class held already stays as it is.

        Raises:
            ValueError: the memory lacks one of the classes, holds too few images of it, or holds classes that
                have not arrived; `max_size` leaves no image per class; or the benchmark numbers classes anew.
        """
        check_numbers(exp, self.numbered_by_data_set)
        new = sorted(set(exp.dataset.targets.uniques) - set(self.classes))
        if not new:
            return
        # Checked first, because condensing can take hours.
        share = class_share(len(self.classes) + len(new), self.per_class, self.max_size)
        arrived = self._arriving(exp, new, share)
        _check(arrived, new, self.per_class)
        self.classes += new
        self._task_labels = has_task_labels(exp)
        held = [] if self._memory is None else [self._memory]
        self._hold(join([*held, arrived], arrived.metadata), share)

    def update(self, strategy: SupervisedTemplate, **kwargs: object) -> None:
        """What Avalanche's plugins still call; the inherited method does the same, but warns at every experience."""
        self.post_adapt(strategy, strategy.experience)

    def resize(self, strategy: object, new_size: int) -> None:
        """Change the total bound; under a smaller one every class shrinks by the size rule.

        Raises:
            ValueError: `new_size` leaves no image per class.
        """
        share = class_share(len(self.classes), self.per_class, new_size)
        self.max_size = new_size
        if self._memory is not None:
            self._hold(self._memory, share)

    def tensors(self) -> tuple[Float[Tensor, "n ch h w"], Int64[Tensor, "n"]]:
        """Normalised, decoded images and original labels of all held classes, on the memory's device.

        Raises:
            ValueError: no experience has been seen.
        """
        if self._memory is None:
            raise ValueError("the buffer is empty; show it an experience first (post_adapt)")
        decoded = self._memory.decoded()
        return decoded.images, decoded.labels

    @abstractmethod
    def _arriving(self, exp: CLExperience, classes: list[int], share: int | None) -> Memory:
        """The condensed images of the classes that arrive with an experience, `share` of each or more."""

    def _hold(self, memory: Memory, share: int | None) -> None:
        self._memory = memory if share is None else memory.first_per_class(share)
        self.buffer = _as_avalanche(*self.tensors(), self._task_labels)


class CondensedBuffer(ClassBuffer):
    """Filled from a memory of all classes, or by a function that condenses the classes that have just arrived."""

    numbered_by_data_set = True

    def __init__(
        self,
        source: Memory | Callable[[list[int]], Memory],
        per_class: int | None = None,
        max_size: int | None = None,
    ) -> None:
        """An empty buffer that will be filled from `source`.

        Raises:
            ValueError: a size below 1, or a memory with soft labels.
        """
        if isinstance(source, Memory) and source.soft_labels is not None:
            raise ValueError("the memory has soft labels; a rehearsal buffer holds one class for each image")
        super().__init__(per_class, max_size)
        self._condense = source.of_classes if isinstance(source, Memory) else source

    def _arriving(self, exp: CLExperience, classes: list[int], share: int | None) -> Memory:
        return self._condense(classes)


def class_share(classes: int, per_class: int | None, max_size: int | None) -> int | None:
    """Most images of one class when `classes` have been seen; None for no bound.

    Raises:
        ValueError: `max_size` is less than one image per class.
    """
    if max_size is None:
        return per_class
    at_least = max(classes, 1)
    if max_size < at_least:
        raise ValueError(f"max_size {max_size} holds no image for each of {at_least} classes; give {at_least} or more")
    share = max_size // at_least
    return share if per_class is None else min(share, per_class)


def _check(memory: Memory, classes: list[int], per_class: int | None) -> None:
    """Raise ValueError unless the memory holds exactly `classes`, and at least `per_class` images of each."""
    if memory.classes != classes:
        raise ValueError(f"classes {classes} arrived, but the memory is of {memory.classes}; condense those")
    if per_class is not None and memory.per_class < per_class:
        raise ValueError(f"per_class is {per_class}, but a class has {memory.per_class} images; condense more")


def _as_avalanche(images: Tensor, labels: Tensor, task_labels: bool) -> AvalancheDataset:
    """Items with the same fields as the experience's, so that Avalanche can put both into one minibatch."""
    attributes = [DataAttribute(labels.tolist(), "targets")]
    if task_labels:
        attributes.append(TaskLabels(ConstantSequence(0, len(labels))))
    return make_avalanche_dataset(TensorImages(images, labels), data_attributes=attributes)
