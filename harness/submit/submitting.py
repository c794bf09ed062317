"""What `harness.submit` does: check memories, score them as `harness.evaluate` does, and write a row for each."""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from statistics import fmean

from condensers.core.leagues import LEAGUES, league
from harness.core.cells import Cell, run_cells
from harness.core.checks import check_leagues, damage
from harness.core.flags import check_bounds, refuse_bf16
from harness.core.makings import check_makings
from harness.core.progress import say
from harness.core.reading import read_all
from harness.core.records import Records
from harness.core.rows import SubmissionRow
from harness.core.schema import ScoreRow
from harness.core.scoring import Scoring, cell_of, scoring_of, values_of
from harness.core.settings import Setup, place_of
from harness.core.stored import Stored, made_from
from harness.submit.checks import check_entries
from harness.submit.flags import Submit
from scenarios.datasets import load

NAME = re.compile("[a-z0-9]+(-[a-z0-9]+)*")
STATED = ("paper", "cost_minutes", "hardware")
LONGEST = 1000  # letters of a name or a statement


@dataclass(frozen=True)
class Entry:
    """A memory that is entered.

    Attributes:
        stored: the memory.
        replicate: its number among those of its method.
        trained_on_real: whether networks trained on real labels made it.
    """

    stored: Stored
    replicate: int
    trained_on_real: bool

    @property
    def decoded(self) -> int:
        """Images per class that networks are trained on."""
        return self.stored.memory.decoded().per_class

    @property
    def soft(self) -> bool:
        """Whether its labels are probabilities."""
        return self.stored.memory.soft_labels is not None

    @property
    def league(self) -> str:
        """The league that follows from what the file holds and from what the submitter states."""
        return league(self.stored.memory.per_class, self.decoded, self.trained_on_real, self.soft)


def submit(config: Submit) -> None:
    """Check, score and write. Raises ValueError for whatever a user can get wrong."""
    _check(config)
    scoring = _scoring_of(config)
    stored = read_all(config, config.memories, scoring.dataset, strict=True)
    check_entries(stored, scoring.dataset)
    check_makings(stored)
    entries = [_entry(number, seeded(one)) for number, one in enumerate(stored)]
    for entry in entries:
        if config.league and entry.league != config.league:
            raise ValueError(f"{entry.stored.path} is in the {entry.league} league, not {config.league}: {_why(entry)}")
    submissions = Records(config.out / "submissions.csv", SubmissionRow)
    records = Records(config.out / "results.csv", ScoreRow)
    cells = [cell_of(scoring, entry.stored) for entry in entries]
    known = _known(submissions, config.method, [cell.key for cell in cells])
    entries = _numbered(submissions, config.method, entries, cells, known)
    run_cells(cells, records, "submit", number=lambda rows: fmean(row.value for row in rows))
    for entry, cell in zip(entries, cells, strict=True):
        accuracy = fmean(values_of(scoring, cell.key, records))
        row = _row(config, scoring, entry, cell.key, accuracy)
        if cell.key in known:
            _check_known(known[cell.key], row, submissions)
        else:
            submissions.append([row])
        say(f"{entry.stored.path.name}: {100 * accuracy:.1f} %, {entry.league} league ({LEAGUES[entry.league]})")
    say(f"add {submissions.path}, {records.path} and the files by a pull request: see CONTRIBUTING.md")


def _check(config: Submit) -> None:
    check_bounds(config)
    if not config.memories:
        raise ValueError("no memories given: name at least one file")
    refuse_bf16(config)
    if not NAME.fullmatch(config.method):
        raise ValueError(f"--method is {config.method!r}: give a name of small letters, digits and hyphens")
    for said in (config.method, config.paper, config.hardware):
        if len(said) > LONGEST:
            raise ValueError(f"{said[:20]!a} ... has {len(said)} letters; give at most {LONGEST}")
        if not said.isprintable():
            raise ValueError(f"{said!a} cannot be written into one line: leave out what cannot be printed")
    if config.network or config.epochs or config.seed:
        raise ValueError("a submission is scored by its protocol alone: leave out --network and --epochs, and --seed")


def _scoring_of(config: Submit) -> Scoring:
    device, protocol = place_of(config)
    dataset = load(config.dataset or made_from(config.memories[0]), config.data_root, config.resolution)
    return scoring_of(Setup(config, protocol, device, dataset))


def _entry(number: int, stored: Stored) -> Entry:
    said = stored.memory.metadata.get("trained_on_real")
    if said is None:
        raise ValueError(
            f"{stored.path} does not say whether a network trained on real labels made it: give "
            "--trained-on-real yes or no"
        )
    return Entry(stored, number, bool(said))


def seeded(stored: Stored) -> Stored:
    """The memory, with its checksum as the seed that names the draws of its networks unless it has a seed.

    Replicates without seeds would all share the same draws, and an interval over memories would not include the luck of
    the networks.
    """
    memory = stored.memory
    return replace(stored, memory=replace(memory, metadata={"seed": memory.checksum} | dict(memory.metadata)))


def _why(entry: Entry) -> str:
    """The reasons for the league of an entry."""
    reasons = {
        "its labels are soft": entry.soft,
        "networks trained on real labels made it": entry.trained_on_real,
        "it decodes several images from a stored one": entry.decoded > entry.stored.memory.per_class,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    return " and ".join(found) or "its labels are hard, no real label made it, and as many images are decoded as stored"


def _known(submissions: Records[SubmissionRow], method: str, keys: list[str]) -> dict[str, SubmissionRow]:
    """Rows of memories that are entered already, by cell. Raises ValueError for another method's, and for damage."""
    check_leagues(submissions.read(), submissions.path)
    found = {row.cell: row for row in submissions.rows(set(keys))}
    for other in found.values():
        if other.method != method:
            raise ValueError(
                f"one of these memories is entered already, as {other.method!r}: give --method {other.method}"
            )
    return found


def _numbered(
    submissions: Records[SubmissionRow],
    method: str,
    entries: Sequence[Entry],
    cells: Sequence[Cell],
    known: Mapping[str, SubmissionRow],
) -> list[Entry]:
    """The entries with their replicate numbers: as recorded, or else the next that no memory of the method has."""
    used = {row.memory_replicate for row in submissions.rows() if row.method == method}
    free = (number for number in count() if number not in used)
    numbers = [known[cell.key].memory_replicate if cell.key in known else next(free) for cell in cells]
    return [replace(entry, replicate=number) for entry, number in zip(entries, numbers, strict=True)]


def _check_known(known: SubmissionRow, row: SubmissionRow, submissions: Records[SubmissionRow]) -> None:
    """Raise ValueError if the recorded row of a memory differs from `row` in memory, scores or what is stated."""
    stated = {name: getattr(row, name) for name in STATED}
    run = {name: getattr(row, name) for name in ("command", "origin", "file")}
    differing = [one for one in vars(row) if getattr(replace(known, **stated, **run), one) != getattr(row, one)]
    if differing:
        raise damage(submissions.path, row.cell, f"does not fit its memory and scores in {', '.join(differing)}")
    if other := [name for name in STATED if getattr(known, name) != stated[name] and stated[name]]:
        flags = " and ".join(f"--{name.replace('_', '-')}" for name in other)
        raise ValueError(
            f"{row.file} is entered already with another {flags}: delete its row in {submissions.path} to enter it anew"
        )


def _row(config: Submit, scoring: Scoring, entry: Entry, key: str, accuracy: float) -> SubmissionRow:
    memory = entry.stored.memory
    return SubmissionRow(
        cell=key,
        method=config.method,
        paper=config.paper,
        league=entry.league,
        dataset=scoring.dataset.name,
        dataset_checksum=scoring.dataset.checksum,
        file=entry.stored.path.name,
        memory_checksum=memory.checksum,
        memory_replicate=entry.replicate,
        ipc_stored=memory.per_class,
        ipc_decoded=entry.decoded,
        soft_labels=entry.soft,
        trained_on_real=entry.trained_on_real,
        cost_minutes=config.cost_minutes,
        hardware=config.hardware,
        network=scoring.network,
        networks=scoring.networks,
        accuracy=accuracy,
        command=shlex.join(["python", "-m", "harness.submit", *sys.argv[1:]]),
        protocol=scoring.protocol,
        origin=scoring.origin,
    )
