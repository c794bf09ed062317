"""A measured number, and which published ones it can stand beside."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from condensers.device.training import Training
from harness.core.protocols import MARK, PAPER, PROTOCOLS, Protocol
from harness.evidence.intervals import Interval
from harness.evidence.published import NOT_RUN, SIDES, as_published, family, number_of, short, verdict
from harness.evidence.sources import Source

FLAG = re.compile(r"--([a-z][\w-]*)(?:[ =]+([^\s'\"-][^\s'\"]*))?")  # in a shell command, with its first value


@dataclass(frozen=True)
class Measured:
    """A number that was measured on the test set, as its rows have it.

    Attributes:
        metric: a key of `published.UNITS`.
        dataset: its name.
        ipc: images per class that a memory keeps; `all` for all real images.
        condenser: its name in this project.
        condensed_on: network that the memories were made with; empty for real images, and in searches.
        trained: network that was trained on them; for a search, which architectures and whole-set training it rests on.
        value: accuracies as fractions, others in their unit; the interval is over memories, except for a search.
        networks: how many were trained on each memory.
        training: how these networks were trained; None if that is not known or, for a search, is not the paper's.
        protocol: as recorded.
        league: of the memories; empty where there are none.
        source: the rows.
        minutes: to condense a memory: those of its whole lockstep run; nan where rows do not say.
        flop: operations to condense a memory, as if it were made alone; nan where rows do not say.
        architectures: how many a search ranked; 0 if it is no search.
    """

    metric: str
    dataset: str
    ipc: str
    condenser: str
    condensed_on: str
    trained: str
    value: Interval
    networks: int
    training: Training | None
    protocol: str
    league: str
    source: Source
    minutes: float = math.nan
    flop: float = math.nan
    architectures: int = 0

    def meets(self, line: Mapping[str, str]) -> bool:
        """Whether a line of published.csv is about the same: a ConvNet of any width stands for the paper's."""
        named = (line["metric"], line["dataset"], line["ipc"], line["condenser"])
        side = SIDES.get(self.dataset, 0)
        return (
            named == (self.metric, self.dataset, self.ipc, self.condenser)
            and line["trained_on"] in ("", family(self.condensed_on, side))
            and line["tested_on"] in ("", family(self.trained, side))
        )

    def verdict(self, line: Mapping[str, str]) -> str:
        """Its verdict on the number of a published line that it meets."""
        return verdict(self.value, self.networks, self.training if self.exact(line) else None, number_of(line))

    def exact(self, line: Mapping[str, str]) -> bool:
        """Whether exactly the network that a published line names was trained, of the same width."""
        return line["tested_on"] in ("", short(self.trained, SIDES.get(self.dataset, 0)))

    def rank(self, line: Mapping[str, str]) -> tuple[object, ...]:
        """Sort key: how well it fits a published line that it meets. How high its value is plays no part."""
        own = self.protocol.partition(MARK)[0] == PAPER.name
        evaluated = as_published(self.training) and self.exact(line)
        longest = 0.0 if math.isnan(self.flop) else self.flop
        return self.verdict(line) != NOT_RUN, evaluated, own, self.architectures, self.value.n, self.networks, longest


def protocol_of(label: str, command: str, flags: Collection[str]) -> Protocol | None:
    """The protocol that a recorded label names; None if some of `flags` have, or may have, overridden it.

    Args:
        label: as recorded; a `+` says that some flags were given, and behind it may stand those of the training.
        command: the command that made the rows, with all its flags; empty if nobody wrote it down.
        flags: the flags that must not have been given, named with underscores.
    """
    name, overridden, _ = label.partition(MARK)
    named = next((one for one in PROTOCOLS.values() if one.name == name), None)
    kept = command and given(label, command).keys().isdisjoint(flags)
    return named if kept or not overridden else None


def given(label: str, command: str) -> dict[str, str]:
    """Flags, named with underscores, and their values: those in the command, and those behind a label's mark.

    Of a flag given twice the last counts. Values behind the mark were recorded by the run itself, so they take
    precedence over the command, which somebody wrote down.
    """
    told = {name.replace("-", "_"): value for name, value in FLAG.findall(command)}
    behind = [part.partition("=") for part in label.split(MARK)[1:]]
    return told | {name: value for name, equals, value in behind if equals}


def training_of(protocol: Protocol | None) -> Training | None:
    """How networks are trained on a memory under a protocol; None if it is not known which one."""
    return protocol and Training(epochs=protocol.epochs, batch=protocol.batch)


def require_counts(source: Source, *names: str) -> None:
    """Raise ValueError unless columns of a summary hold whole numbers from 1 on."""
    for name in names:
        values = source.frame[name]
        if not ((values >= 1) & (values % 1 == 0)).all():  # false for nan and infinity, too
            raise ValueError(f"{source.path} is damaged: not every value of {name!r} is a whole number from 1 on")


def require_within(source: Source, least: float, most: float, *names: str) -> None:
    """Raise ValueError unless columns of a summary hold numbers of that range, or nothing."""
    for name in names:
        values = source.frame[name]
        if not (values.between(least, most) | values.isna()).all():
            raise ValueError(f"{source.path} is damaged: not every value of {name!r} is from {least:g} to {most:g}")
