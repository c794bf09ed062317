"""Flags of `python -m harness.targets`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tyro

from harness.core.flags import OutputFlags, flag


@dataclass(frozen=True, kw_only=True)
class Targets(OutputFlags):
    """Flags of the command."""

    box: ClassVar[str] = "targets"
    folders: tyro.conf.Positional[tuple[Path, ...]] = flag(
        (Path("results"),), "Folders with the rows of other commands, read with all that lies below them."
    )
    out: Path | None = flag(None, "Output folder; default: the first of the folders.")
