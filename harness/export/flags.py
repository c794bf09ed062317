"""Flags of `python -m harness.export`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import tyro

from harness.core.flags import DataFlags, OutputFlags, PublishedFlags, flag


@dataclass(frozen=True, kw_only=True)
class Export(PublishedFlags, DataFlags, OutputFlags):
    """Flags of the command."""

    box: ClassVar[str] = "exporting"
    memories: tyro.conf.Positional[tuple[Path, ...]] = flag(
        (), "Memory files: .safetensors of this project, or published .pt."
    )
    format: Literal["folder", "huggingface", "pt"] = flag(
        "folder", "Class folders of PNGs, the same with a card for the Hugging Face hub, or a .pt of [images, labels]."
    )
    test: bool = flag(False, "Also write the test images of the data set: a folder is then a data set, folder:PATH.")
    dataset: str | None = flag(
        None,
        "Data set by name (--list), or folder:PATH, where it is needed: for memories that are stored as indices, and "
        "for --test; default: the one that a memory was made from.",
    )
    validation: int = flag(0, "Training images per class that were held out when the memories were made.", least=0)
    out: Path = flag(Path("out/exports"), "Output folder; each memory has a folder or a file of its own there.")
