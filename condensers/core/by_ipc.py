"""Numbers that depend on the images per class, as papers print them."""

# One number; or pairs of images per class, ascending from 1, and the number from there on.
ByIpc = int | float | tuple[tuple[int, int | float], ...]


def at_ipc(value: ByIpc, ipc: int) -> int | float:
    """The number at so many stored images per class."""
    if not isinstance(value, tuple):
        return value
    return [number for least, number in value if least <= ipc][-1]
