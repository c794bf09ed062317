"""The leagues in which memories are compared, for whoever reads a table."""

from typing import Literal

League = Literal["strict", "open"]
NOT_SAID = "not said"  # what a file would have to say for the strict league, and does not

LEAGUES: dict[League, str] = {
    "strict": "as many images decoded as stored, no network trained on real images, hard labels",
    "open": "networks trained on real images, several images decoded from a stored one, or soft labels",
}


def league(stored: int, decoded: int, trained_on_real: bool, soft: bool = False) -> League:
    """The league of a memory.

    Args:
        stored: images per class.
        decoded: images per class that networks are trained on.
        trained_on_real: whether a network used to make the memory was trained on real labels.
        soft: whether its labels are probabilities.
    """
    return "open" if decoded > stored or trained_on_real or soft else "strict"
