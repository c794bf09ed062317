"""The leagues in which memories are compared, for whoever reads a table."""

from typing import Literal

League = Literal["strict", "open"]

LEAGUES: dict[League, str] = {
    "strict": "as many images decoded as stored, no network trained on real images, hard labels",
    "open": "networks trained on real images, several images decoded from a stored one, or soft labels",
}
