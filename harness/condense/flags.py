"""Flags of `python -m harness.condense`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.core.flags import Common


@dataclass(frozen=True, kw_only=True)
class Condense(Common):
    """Flags of the command; None stands for the protocol's default."""

    condensers: tuple[str, ...] = ("ours",)
    """Condensers by name; recipes take +TERM[:WEIGHT]."""
    ipc: int | None = None
    """Stored images per class; default: the protocol's memory per class."""
    replicate: int = 0
    """Memory replicate: another number, another draw of everything."""
    steps: int = 1
    """Condense the classes of each step of a stream apart, as coupled recipes need it."""
    order: int = 0
    """Class order of these steps."""
    validation: int = 0
    """Training images per class to hold out, so that something can be chosen on them."""
    store: Literal["float32", "float16", "uint8", "indices"] = "float32"
    """How pixels are kept; indices for real images only."""
    iterations: int | None = None
    """Iterations of matching condensers."""
    real_batch: int | None = None
    """Real images per class and iteration."""
    out: Path = Path("out/memories")
    """Output folder."""
