"""Flags of `python -m harness.condense`."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from harness.core.flags import Common, CondensingFlags, by_protocol, flag


@dataclass(frozen=True, kw_only=True)
class Condense(CondensingFlags, Common):
    """Flags of the command; None stands for the protocol's default."""

    box: ClassVar[str] = "memory"
    condensers: tuple[str, ...] = flag(("ours",), "Condensers by name; recipes take +TERM[:WEIGHT].", least=1)
    ipc: int | None = flag(None, f"Stored images per class; {by_protocol('memory_per_class')}.", least=1, marks=True)
    replicate: int = flag(0, "Memory replicate: another number, another draw of everything.", least=0)
    steps: int = flag(1, "Condense the classes of each step of a stream apart, as coupled recipes need it.", least=1)
    order: int = flag(0, "Class order of these steps; another one, other draws, too.", least=0)
    validation: int = flag(
        0, "Training images per class to hold out, so that something can be chosen on them.", least=0
    )
    store: Literal["float32", "float16", "uint8", "indices"] = flag(
        "float32", "How pixels are kept; indices for real images only."
    )
    out: Path = flag(Path("out/memories"), "Output folder.")
