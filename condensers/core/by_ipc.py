"""Values that depend on the images per class, as papers print them."""

from typing import TypeVar

Value = TypeVar("Value")
ByIPC = tuple[tuple[int, Value], ...]  # pairs of images per class, ascending from 1, and the value from there on


def at_ipc(value: Value | ByIPC[Value], ipc: int) -> Value:
    """The value that holds at `ipc` stored images per class."""
    return [found for least, found in value if least <= ipc][-1] if isinstance(value, tuple) else value
