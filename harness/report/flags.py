"""Flags of `python -m harness.report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tyro

from harness.core.flags import OutputFlags, flag


@dataclass(frozen=True, kw_only=True)
class Report(OutputFlags):
    """Flags of the command."""

    box: ClassVar[str] = "report"
    folders: tyro.conf.Positional[tuple[Path, ...]] = flag(
        (Path("results"),), "Folders with the rows and memories of other commands, read with all that lies below them."
    )
    data_root: Path = flag(Path("data"), "Folder of the data sets; what is not there is left out, never downloaded.")
    out: Path | None = flag(None, "Output folder; default: report/ in the first of the folders.")
