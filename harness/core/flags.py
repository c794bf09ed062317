"""Flags that every command has. Light to import: `--help` needs no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from harness.core.devices import Precision


@dataclass(frozen=True, kw_only=True)
class Common:
    """What a command works on and with; None stands for the protocol's default."""

    dataset: str = "digits"
    """Data set by name (--list), or folder:PATH."""
    protocol: Literal["paper", "quick"] | None = None
    """Set of defaults. Without it: paper on CUDA, quick on a CPU."""
    network: str | None = None
    """Network by name (--list); default: the protocol's ConvNet."""
    resolution: int | None = None
    """Side of the images in pixels, if not the data set's own."""
    seed: int = 0
    """Names all draws, together with data set and replicates."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    precision: Precision = "fp32"
    """Arithmetic of the networks; tf32 on CUDA only; bf16: the real images of matching condensers in bfloat16."""
    chunk: int | None = None
    """Images that go through a network at once; bounds memory. Default: at 32 px 16 on a CPU, 8192 on CUDA."""
    data_root: Path = Path("data")
    """Folder of the data sets."""
    plugin: tuple[str, ...] = ()
    """Files (.py) or modules with condensers, terms, networks, search spaces or data sets of your own."""
    list_names: Annotated[bool, tyro.conf.arg(name="list")] = False
    """Print condensers, data sets, networks and protocols."""
