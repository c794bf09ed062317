"""Plugins for Avalanche: its replay and GDumb on a condensed buffer, in one call each, and DSA of minibatches."""

from itertools import count
from typing import Any

from avalanche.training.plugins import GDumbPlugin, ReplayPlugin, SupervisedPlugin
from avalanche.training.templates import SupervisedTemplate

from condensers.device import draws
from condensers.device.training import augmented
from scenarios.buffers import ClassBuffer


def replay(buffer: ClassBuffer, mem_size: int | None = None, **settings: Any) -> ReplayPlugin:
    """Train on minibatches of the experience and of the condensed images of earlier ones.

    Args:
        buffer: of condensed images.
        mem_size: nothing, or the buffer's own `max_size`.
        settings: further ones of `ReplayPlugin`, such as `batch_size_mem`.

    Raises:
        ValueError: another `mem_size`, which Avalanche would only assert.
    """
    if mem_size not in (None, buffer.max_size):
        raise ValueError(f"mem_size is {mem_size}, the buffer's max_size {buffer.max_size}: leave mem_size out")
    return ReplayPlugin(mem_size=buffer.max_size, storage_policy=buffer, **settings)


def gdumb(buffer: ClassBuffer) -> GDumbPlugin:
    """At every experience, reset the network to its first weights and train it on the condensed images alone."""
    plugin = GDumbPlugin(mem_size=buffer.max_size or 0)
    plugin.storage_policy = buffer
    return plugin


class AugmentationPlugin(SupervisedPlugin):
    """Augments the minibatches that a strategy trains on, both real and condensed images.

    As when networks are trained on a memory alone: one operation a minibatch, with a strength drawn for each image.
    """

    def __init__(self, strategy: str, seed: int) -> None:
        """Args: a strategy of DSA, such as a data set's `augmentation`, and the seed that names all draws."""
        super().__init__()
        self._strategy, self._seed, self._minibatches = strategy, seed, count()

    def before_forward(self, strategy: SupervisedTemplate, **kwargs: object) -> None:
        """Augment the images of the minibatch; Avalanche calls this in training alone."""
        key = draws.key_of(self._seed, "augment", next(self._minibatches))
        strategy.mbatch[0] = augmented(strategy.mbatch[0], self._strategy, key)
