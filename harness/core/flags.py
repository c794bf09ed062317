"""Flags in groups: a group is a dataclass that commands inherit. `--help` draws a box around it, titled by its `box`.

A flag is written down once: its default, what `--help` says of it, and its bounds. None stands for a default that
the protocol or the data set decides; then the text says which. `--help` imports this module, so it does not load torch.
"""

from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from harness.core.devices import Precision
from harness.core.protocols import PROTOCOLS

MOST_WORKERS, MOST_PIXELS, MOST_REPLICATES = 1024, 1024, 10_000
COMPARED = ("random", "herding", "dm", "ours", "blockwise")  # condensers, where none are named
MOST = 2**31 - 1  # for whole numbers without another bound: parts of torch count no further
MOST_SEEDS = 2**63 - 1


def flag(
    default: object, text: str, *, least: float | None = None, most: float | None = None, marks: bool = False
) -> Any:
    """A field of a group of flags.

    Args:
        default: what holds if the flag is not given.
        text: for `--help`.
        least: the smallest value, or the smallest number of values of a flag that takes several.
        most: the largest.
        marks: the flag overrides what a protocol says of a single cell; rows then name the protocol with a `+`.
    """
    return field(default=default, metadata={"text": text, "least": least, "most": most, "marks": marks})


def spelling(one: Field) -> str:
    """A flag as it is typed, such as `--real-batch`."""
    return "--list" if one.name == "list_names" else f"--{one.name.replace('_', '-')}"


def by_protocol(name: str) -> str:
    """The default of a flag under each protocol, for the flag's text."""
    said = (f"{getattr(protocol, name)} under {key}" for key, protocol in PROTOCOLS.items())
    return f"default: {', '.join(said)}"


def check_bounds(flags: object) -> None:
    """Raise ValueError for the first flag that is out of its bounds, with the flag, its value and the bound.

    A path must be UTF-8: safetensors opens no other, and a run would fail by that only after hours of work.
    """
    for one in fields(flags):
        value, least, most = getattr(flags, one.name), one.metadata.get("least"), one.metadata.get("most")
        if isinstance(value, Path) and any("\ud800" <= letter <= "\udfff" for letter in str(value)):
            raise ValueError(f"{spelling(one)} is {str(value)!a}, which is not UTF-8: choose another path")
        size = len(value) if isinstance(value, tuple) else value
        if size is None:
            continue
        if most is None and isinstance(value, int):
            most = MOST
        # Written with `not`, so that NaN, with which every comparison is false, is out of bounds.
        if least is not None and not size >= least:
            said = "is empty: give at least one" if isinstance(value, tuple) else f"is {value}; give at least {least}"
            raise ValueError(f"{spelling(one)} {said}")
        if most is not None and not size <= most:
            raise ValueError(f"{spelling(one)} is {value}; give at most {most}")


def refuse(flags: object, names: Sequence[str], why: str) -> None:
    """Raise ValueError for the first of these flags that is not at its default, because nothing would read its value.

    Args:
        flags: as they were given, not settled.
        names: the flags' fields.
        why: the rest of the message, behind the flag, with what to do.
    """
    known = {one.name: one for one in fields(flags)}
    for one in map(known.__getitem__, names):
        if getattr(flags, one.name) != one.default:
            raise ValueError(f"{spelling(one)} {why}")


@dataclass(frozen=True, kw_only=True)
class OutputFlags:
    """Where results go, and what is only printed."""

    box: ClassVar[str] = "output"
    out: Path | None = flag(None, "Output folder.")
    plugin: tuple[str, ...] = flag(
        (), "Files (.py) or modules with condensers, terms, networks, search spaces or data sets of your own."
    )
    list_names: Annotated[bool, tyro.conf.arg(name="list")] = flag(
        False, "Print the names of condensers, data sets, networks and protocols, and end."
    )


@dataclass(frozen=True, kw_only=True)
class PublishedFlags:
    """What published files do not say of themselves."""

    box: ClassVar[str] = "published files"
    mean: tuple[float, ...] = flag(
        (), "The mean that was taken off their pixels (0 to 1); one number, or one a channel."
    )
    std: tuple[float, ...] = flag((), "The deviation that their pixels were divided by; one number, or one a channel.")
    set: int = flag(0, "Which of several sets in a file, from 0.", least=0)


@dataclass(frozen=True, kw_only=True)
class ScoredFilesFlags(PublishedFlags):
    """What files that are scored may not say of themselves either."""

    trained_on_real: Literal["yes", "no"] | None = flag(
        None, "Whether a network trained on real labels made them, for their league; default: what the files say."
    )


@dataclass(frozen=True, kw_only=True)
class DeviceFlags:
    """What the work is done on."""

    box: ClassVar[str] = "computing"
    device: str = flag("auto", "auto, cpu, cuda or cuda:N. auto is CUDA where there is one.")
    chunk: int | None = flag(
        None,
        "Images that go through a network at once, which bounds memory; default at 32 px: 16 on a CPU, 2048 on CUDA or "
        "what fits into its free memory.",
        least=1,
    )


@dataclass(frozen=True, kw_only=True)
class ComputeFlags(DeviceFlags):
    """What the work is done on, and by which arithmetic."""

    precision: Precision = flag(
        "fp32", "Arithmetic of networks: tf32 is for CUDA only; bf16 is for the real images of matching condensers."
    )


def refuse_bf16(flags: ComputeFlags) -> None:
    """Raise ValueError for bf16 in a command that condenses nothing, because bf16 acts on condensing alone.

    The rows would record an arithmetic that none of their networks used.
    """
    if flags.precision == "bf16":
        raise ValueError(
            "--precision bf16 is for the real images of condensing, and nothing is condensed here: leave it out, or "
            "give tf32 on CUDA"
        )


@dataclass(frozen=True, kw_only=True)
class ProtocolFlags:
    """The protocol, which decides all defaults, and the network and the seed, which every command takes too."""

    box: ClassVar[str] = "protocol"
    protocol: Literal["paper", "bench", "quick"] | None = flag(
        None, "Set of defaults; default: paper on CUDA, quick on a CPU."
    )
    network: str | None = flag(
        None,
        "Network by name (--list), to match on and to train; default: the protocol's ConvNets, as deep as suits the "
        "images.",
        marks=True,
    )
    seed: int = flag(0, "Names all draws, together with data set and replicates.", least=0, most=MOST_SEEDS)


@dataclass(frozen=True, kw_only=True)
class DataFlags:
    """The images."""

    box: ClassVar[str] = "data"
    dataset: str | None = flag("digits", "Data set by name (--list), or folder:PATH.")
    data_root: Path = flag(Path("data"), "Folder of the data sets, and of downloads.")
    resolution: int | None = flag(
        None, "Side of the images in pixels; default: the data set's own.", least=1, most=MOST_PIXELS
    )


@dataclass(frozen=True, kw_only=True)
class Common(DataFlags, ProtocolFlags, ComputeFlags, OutputFlags):
    """Flags of all commands that work on a data set."""


@dataclass(frozen=True, kw_only=True)
class CondensingFlags:
    """How memories are made."""

    box: ClassVar[str] = "condensing"
    iterations: int | None = flag(
        None, f"Iterations of matching condensers; {by_protocol('iterations')}.", least=0, marks=True
    )
    real_batch: int | None = flag(
        None, f"Real images per class and iteration; {by_protocol('real_batch')}.", least=1, marks=True
    )
    store: Literal["float32", "float16", "uint8"] = flag(
        "float32", "How synthetic pixels are kept, and scored; memories of real images keep indices."
    )


CONDENSING = tuple(one.name for one in fields(CondensingFlags))


@dataclass(frozen=True, kw_only=True)
class TrainingFlags:
    """How networks are trained on a memory."""

    box: ClassVar[str] = "training"
    epochs: int | None = flag(None, f"Epochs of training on a memory; {by_protocol('epochs')}.", least=1, marks=True)


@dataclass(frozen=True, kw_only=True)
class SharingFlags:
    """Who does the work."""

    box: ClassVar[str] = "sharing work"
    workers: int = flag(1, "Processes on this machine that share the work.", least=1, most=MOST_WORKERS)
    storage: str | None = flag(
        None,
        "Database that the workers of all machines share, such as postgresql+psycopg://USER@HOST/NAME; they also share "
        "--out. Default with --workers: SQLite in --out.",
    )
