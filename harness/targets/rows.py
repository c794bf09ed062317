"""Measured accuracies of memories, from rows: of all classes at once, and after the last step of a stream.

Rows say neither what a memory was condensed on nor whether they are of the test set; the tables that commands leave
beside them do, and each of their lines is checked against its rows. Rows of `harness.evaluate` have no such table, so
they are not used. Images of another size have the same name, but another checksum of the data set.
"""

import math
from collections.abc import Collection, Iterator
from pathlib import Path

import pandas as pd

from condensers.device.training import Training
from harness.core.checks import check_cells
from harness.core.protocols import WHOLE, marked
from harness.core.schema import ScoreRow
from harness.evidence.intervals import MEMORY, Interval, interval, league_of_rows
from harness.evidence.published import ACCURACY, CHECKSUMS, NOT_RUN, PAPER, SIDES, VERDICTS, convnet
from harness.evidence.sources import Found, Source, grouped
from harness.targets.measured import Measured, given, protocol_of, require_counts, training_of

TABLES = {"table.csv": "", "ablate.csv": "accuracy_"}  # by file name, the prefix of the columns `low` and `high`
SCORE, ALL = "accuracy", "all"  # the metric of a step, and what stands for all real images
STREAM = ["dataset", "condenser", "config", "protocol", "steps", "ipc_stored"]
# Flags that override what a protocol says about training (in tables, in streams), and about the network.
OTHER_TRAINING, OTHER_STREAM, NETWORK = ("epochs",), ("epochs", "memory_size"), "network"
SAME = 1e-9  # as far as a table's number and that of its rows may differ

Wanted = Collection[tuple[str, str, str]]


def memories(found: Found, wanted: Wanted) -> Iterator[Measured]:
    """Accuracies in tables and ablations.

    Args:
        found: what was read.
        wanted: data sets, images per class and condensers that are looked for.

    Raises:
        ValueError: a table disagrees with its rows.
    """
    rows = {source.path: source.frame for source in found.of(ScoreRow.__name__)}
    for name, ends in TABLES.items():
        for source in found.of(name):
            require_counts(source, "images per class", "memories", "networks")
            for line in source.frame.to_dict("records"):
                about = (line["dataset"], str(int(line["images per class"])), line["condenser"])
                if line["scored on"] == "test" and about in wanted:
                    own = _held(source.path, line, ends, rows.get(source.path.with_name("results.csv")))
                    if _of_papers_images(own):
                        yield _of_table(source, line, ends)


def _of_table(source: Source, line: dict[str, object], ends: str) -> Measured:
    return Measured(
        metric=ACCURACY,
        dataset=line["dataset"],
        ipc=str(int(line["images per class"])),
        condenser=line["condenser"],
        condensed_on=line["condensed on"],
        trained=line["trained"],
        value=_said(line, ends),
        networks=int(line["networks"]),
        training=_training(source, line),
        protocol=line["protocol"],
        league=line["league"],
        source=source,
        minutes=line["seconds"] / 60,
        flop=line["flop"],
    )


def _said(line: dict[str, object], ends: str) -> Interval:
    return Interval(line["accuracy"], line[f"{ends}low"], line[f"{ends}high"], int(line["memories"]), "t")


def _training(source: Source, line: dict[str, object]) -> Training | None:
    if line.get("verdict") in set(VERDICTS) - {NOT_RUN}:  # by the command, which knew its flags
        return PAPER
    return training_of(protocol_of(line["protocol"], source.making.command, OTHER_TRAINING))


def _of_papers_images(rows: pd.DataFrame) -> bool:
    """Whether scores are of the paper's images (its size, its test set), as far as their checksums are known."""
    return all(
        CHECKSUMS.get(name, checksum) == checksum
        for name, checksum in zip(rows["dataset"], rows["dataset_checksum"], strict=True)
    )


def _held(path: Path, line: dict[str, object], ends: str, rows: pd.DataFrame | None) -> pd.DataFrame:
    """The rows behind a line of a table. Raises ValueError if none have its numbers."""
    said, networks, where = _said(line, ends), int(line["networks"]), path.with_name("results.csv")
    for _, own in _own(line, rows) if rows is not None else ():
        if len(own) == said.n * networks:
            check_cells(own, networks, [_metric(line)], where)
            if _alike(interval(own), said):
                return own
    numbers = f"{said.n} memories of {networks} networks"
    raise ValueError(
        f"{path} says {said} of {line['condenser']}, but no {numbers} in {where} do: run its command again"
    )


def _own(line: dict[str, object], rows: pd.DataFrame) -> Iterator[tuple[object, pd.DataFrame]]:
    """The rows that may be behind a line of a table, by config."""
    return rows[
        (rows["dataset"] == line["dataset"])
        & (rows["condenser"] == line["condenser"])
        & (rows["ipc_stored"] == line["images per class"])
        & (rows["metric"] == _metric(line))
        & (rows["protocol"].map(marked) == marked(line["protocol"]))
        & (rows["memory_replicate"] < line["memories"])
    ].groupby("config", sort=False)


def _metric(line: dict[str, object]) -> str:
    return f"accuracy of {line['trained']}"


def _alike(one: Interval, other: Interval) -> bool:
    pairs = ((one.mean, other.mean), (one.low, other.low), (one.high, other.high))
    return all(math.isclose(*pair, abs_tol=SAME) or (math.isnan(pair[0]) and math.isnan(pair[1])) for pair in pairs)


def streams(found: Found, wanted: Wanted) -> Iterator[Measured]:
    """Accuracies after the last step of streams; those of `whole` are accuracies of training on all real images.

    Raises:
        ValueError: rows are missing, there twice, or hold what no score can be.
    """
    for source in found.of(ScoreRow.__name__):
        ended = source.frame[source.frame["step"] == source.frame["steps"]]
        for about, own in grouped(ended[ended["metric"] == SCORE], STREAM):
            ipc = ALL if about["condenser"] == WHOLE else str(about["ipc_stored"])
            known = (about["dataset"], ipc, about["condenser"]) in wanted and _of_papers_images(own)
            if known and _has_own_memories(own, ipc) and (networks := _networks(source, about)):
                check_cells(own, own["network_replicate"].nunique(), [SCORE], source.path)
                yield _of_stream(source, about, ipc, networks, own)


def _has_own_memories(rows: pd.DataFrame, ipc: str) -> bool:
    """Whether every class order has another memory: a file that served several orders is only one memory."""
    return ipc == ALL or rows["memory_checksum"].nunique() == len(rows.drop_duplicates(MEMORY))


def _networks(source: Source, about: dict[str, object]) -> tuple[str, str] | None:
    """What memories of a stream were condensed on, and what was trained on them; None if it is not known."""
    label, command = about["protocol"], source.making.command
    if asked := given(label, command).get(NETWORK):
        return asked, asked
    protocol, side = protocol_of(label, command, (NETWORK,)), SIDES[about["dataset"]]
    return protocol and (convnet(protocol.matching_width, side), convnet(protocol.width, side))


def _of_stream(
    source: Source, about: dict[str, object], ipc: str, networks: tuple[str, str], own: pd.DataFrame
) -> Measured:
    (condensed_on, trained), whole = networks, ipc == ALL
    return Measured(
        metric=ACCURACY if whole else f"accuracy_after_{about['steps']}_steps",
        dataset=about["dataset"],
        ipc=ipc,
        condenser=about["condenser"],
        condensed_on="" if whole else condensed_on,
        trained=trained,
        value=interval(own),
        networks=own["network_replicate"].nunique(),
        training=training_of(protocol_of(about["protocol"], source.making.command, OTHER_STREAM)),
        protocol=about["protocol"],
        league="" if whole else league_of_rows(own),
        source=source,
    )
