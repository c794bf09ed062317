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
    dry_run: bool = False
    """Print the plan: memories, images, FLOPs, memory and time on this device."""
