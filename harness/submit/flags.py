"""Flags of `python -m harness.submit`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import tyro

from harness.core.flags import MOST, MOST_REPLICATES, Common, ScoredFilesFlags, TrainingFlags, flag


@dataclass(frozen=True, kw_only=True)
class Submit(ScoredFilesFlags, TrainingFlags, Common):
    """Flags of the command; None stands for the protocol's default."""

    box: ClassVar[str] = "submission"
    memories: tyro.conf.Positional[tuple[Path, ...]] = flag(
        (), "Memory files of one method: .safetensors of this project, or published .pt; each is a replicate."
    )
    method: str = flag("", "Name of the method: small letters, digits and hyphens.")
    paper: str = flag("", "Authors, title, where and when.")
    league: Literal["strict", "open"] | None = flag(None, "What the memories claim to be; default: what follows.")
    cost_minutes: float | None = flag(None, "What it took to make one of them, in minutes.", least=0, most=MOST)
    hardware: str = flag("", "On what, such as 'two CPU cores'.")
    dataset: str | None = flag(
        None, "Data set by name (--list), or folder:PATH; default: the one that the first memory was made from."
    )
    networks: int = flag(5, "Networks trained on every memory.", least=1, most=MOST_REPLICATES)
    out: Path = flag(Path("results/leaderboard"), "Output folder.")
