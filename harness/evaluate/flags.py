"""Flags of `python -m harness.evaluate`."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from harness.core.flags import Common


@dataclass(frozen=True, kw_only=True)
class Evaluate(Common):
    """Flags of the command; None stands for the protocol's default."""

    memories: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Memory files: .safetensors of this project, or published .pt."""
    mean: tuple[float, ...] = ()
    """Of published files: the mean that was taken off their pixels (0 to 1); one number, or one a channel."""
    std: tuple[float, ...] = ()
    """Of published files: the deviation that their pixels were divided by; one number, or one a channel."""
    dataset: str | None = None
    """Data set; default: the one the first memory was made from."""
    networks: int = 5
    """Networks trained on every memory."""
    epochs: int | None = None
    """Epochs of training on a memory."""
    validation: int = 0
    """Score on that many held-out training images per class instead of the test set."""
    out: Path = Path("out/evaluate")
    """Output folder."""
