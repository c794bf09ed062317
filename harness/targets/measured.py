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
        condenser: its name here.
        condensed_on: network that the memories were made with; empty for real images, and in searches.
        trained: network that was trained on them; of a search what it rests on, in words.
        value: accuracies as fractions, others in their unit; over memories, but for a search's.
        networks: of each memory.
        training: of these networks; None if it is not known, or has no name.
        protocol: as recorded.
        league: of the memories; empty where there are none.
        source: the rows.
        minutes: to condense a memory: those of its whole lockstep run; nan where rows do not say.
        flop: to condense it, as if it were made alone; likewise.
        architectures: that a search was among; 0 for what is no search.
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
        """What it says of the number of a line that it meets."""
        return verdict(self.value, self.networks, self.training if self.exact(line) else None, number_of(line))

    def exact(self, line: Mapping[str, str]) -> bool:
        """Whether the very network was trained that a line names."""
        return line["tested_on"] in ("", short(self.trained, SIDES.get(self.dataset, 0)))

    def rank(self, line: Mapping[str, str]) -> tuple[object, ...]:
        """How well it fits a line that it meets, beside others that do; what it says is no part of it."""
        own = self.protocol.partition(MARK)[0] == PAPER.name
        evaluated = as_published(self.training) and self.exact(line)
        longest = 0.0 if math.isnan(self.flop) else self.flop
        return self.verdict(line) != NOT_RUN, evaluated, own, self.architectures, self.value.n, self.networks, longest


def protocol_of(label: str, command: str, flags: Collection[str]) -> Protocol | None:
    """The protocol that a recorded label names, if it is known that it holds for what some flags override.

    Args:
        label: as recorded; with a `+` some flag overrode something, and behind it may stand how networks are trained.
        command: that made the rows, as far as anyone wrote it down: then it tells which.
        flags: the flags that matter, with underscores.
    """
    name, overridden, _ = label.partition(MARK)
    named = next((one for one in PROTOCOLS.values() if one.name == name), None)
    kept = command and given(label, command).keys().isdisjoint(flags)
    return named if kept or not overridden else None


def given(label: str, command: str) -> dict[str, str]:
    """Flags, named with underscores, and their values: those in the command, and those behind a label's mark.

    Of a flag given twice the last counts. What is behind the mark is from the run itself, and goes before what somebody
    wrote down.
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
        if not ((values >= 1) & (values % 1 == 0)).all():  # nan and infinity have no such rest
            raise ValueError(f"{source.path} is damaged: not every value of {name!r} is a whole number from 1 on")


def require_within(source: Source, least: float, most: float, *names: str) -> None:
    """Raise ValueError unless columns of a summary hold numbers of that range, or nothing."""
    for name in names:
        values = source.frame[name]
        if not (values.between(least, most) | values.isna()).all():
            raise ValueError(f"{source.path} is damaged: not every value of {name!r} is from {least:g} to {most:g}")
