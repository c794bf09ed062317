"""Avalanche's replay and GDumb plugins on a condensed buffer, in one call each."""

from typing import Any

from avalanche.training.plugins import GDumbPlugin, ReplayPlugin

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
    """Train the network as it was at first, at every experience, on the condensed images alone."""
    plugin = GDumbPlugin(mem_size=buffer.max_size or 0)
    plugin.storage_policy = buffer
    return plugin
