"""What a tabulation has shown: a table for each league, table.csv, and accuracy against cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from condensers import registry
from condensers.core.leagues import LEAGUES
from condensers.core.recipe import league_of
from harness.core.estimates import duration
from harness.core.points import Point, cell_key
from harness.core.progress import say
from harness.core.protocols import marked
from harness.core.records import write_csv
from harness.evidence.costs import cost_figure
from harness.evidence.differences import FILE, MEASURED, OTHER, differences, write
from harness.evidence.intervals import Interval, above, interval
from harness.evidence.scores import accuracies_of, cost_of, published_accuracy, published_beside
from harness.evidence.sources import BELOW_BEST
from harness.table.tabulation import Tabulation

N = "memories x networks"
APART = ("condenser", "condensed on", "iterations")  # what differs between lines of one data set, size and evaluation
POINT = [  # columns that identify a line of table.csv
    *("dataset", "condenser", "images per class", "condensed on", "trained", "iterations", "scored on", "protocol"),
]


@dataclass(frozen=True)
class Entry:
    """One condenser at one point: a line of table.csv.

    Attributes:
        scores: accuracies of all networks, as fractions, indexed by memory.
        networks: how many were trained on each memory.
        published: the published number as text; empty if there is none.
        cost: costs in the memories' metadata, averaged over memories.
    """

    condenser: str
    point: Point
    scores: pd.Series
    networks: int
    published: str
    verdict: str
    scored_on: str
    cost: dict[str, float]

    @property
    def accuracy(self) -> Interval:
        """Mean accuracy, with its interval over memories."""
        return interval(self.scores)

    @property
    def rivals(self) -> tuple[object, ...]:
        """What entries must share to be compared: data, size, evaluation, league, and images decoded from one."""
        condenser, point = registry.condenser(self.condenser), self.point
        return point.dataset.identity, point.ipc, point.scoring.network, league_of(condenser), condenser.decoded


def report(tabulation: Tabulation) -> None:
    """Print a table for each league, and write table.csv, differences.csv and cost.png."""
    # Memories that are the same at several points have one line.
    found = {cell_key(point, 0, name): (point, name) for point in tabulation.points for name in point.names}
    entries = [_entry(tabulation, point, name) for point, name in found.values()]
    best = _best(entries)
    frame = pd.DataFrame([_line(entry, best[entry.rivals]) for entry in entries])
    path = tabulation.out / "table.csv"
    lost = _lost(path, frame)
    write_csv(path, frame)
    every_two = write(tabulation.out / FILE, _differences(entries, frame))
    for (league, decoded), own in frame.groupby(["league", "decoded per stored"], sort=False):
        more = f"; {decoded} images decoded from one" if decoded > 1 else ""
        say(f"{league} league: {LEAGUES[league]}{more}\n{_shown(own)}\n")
    where = "the test set" if tabulation.tested else "held-out training images"
    say(f"percent on {where}, 95 % t-intervals over memories; networks are averaged within each memory")
    say("what is below the best is paired by memory; the best was picked by these numbers, and no interval is widened")
    say("time is that of a whole lockstep run, which recipes with one schedule share; verdicts: see --help")
    cost_figure(frame, tabulation.out / "cost.png")
    if lost:
        say(f"{path.name} had {lost} lines of other points: their own command writes them again, from their rows")
    say(f"rows: {tabulation.records.path}   table: {path}   accuracy against cost: {tabulation.out / 'cost.png'}")
    if every_two:
        say(every_two)


def _lost(path: Path, frame: pd.DataFrame) -> int:
    """How many lines of the earlier table at `path` the new one lacks."""
    try:
        earlier = _points(pd.read_csv(path, keep_default_na=False))
    except (OSError, ValueError, KeyError, AttributeError):  # there is none, or none that this command wrote
        return 0
    return len(earlier - _points(frame))


def _points(frame: pd.DataFrame) -> set[tuple]:
    """What identifies the lines of a table. Raises KeyError for a table without these columns."""
    about = frame[POINT].assign(protocol=frame["protocol"].map(marked))
    return set(about.itertuples(index=False, name=None))


def _entry(tabulation: Tabulation, point: Point, name: str) -> Entry:
    scores = accuracies_of(point, name, tabulation.records)
    return Entry(
        condenser=name,
        point=point,
        scores=scores,
        networks=point.scoring.networks,
        **published_beside(point, name, interval(scores), tabulation.tested),
        scored_on="test" if tabulation.tested else "validation",
        cost=cost_of(point, name),
    )


def _best(entries: Sequence[Entry]) -> dict[tuple[object, ...], Entry]:
    """The most accurate entry among rivals, by what they share; the first of several equals."""
    best: dict[tuple[object, ...], Entry] = {}
    for entry in sorted(entries, key=lambda entry: -np.nan_to_num(entry.accuracy.mean)):
        best.setdefault(entry.rivals, entry)
    return best


def _line(entry: Entry, best: Entry) -> dict[str, object]:
    condenser, point, accuracy = registry.condenser(entry.condenser), entry.point, entry.accuracy
    below = above(best.scores, entry.scores)
    return {
        "dataset": point.dataset.name,
        "condenser": entry.condenser,
        "league": league_of(condenser),
        "images per class": point.ipc,
        "decoded per stored": condenser.decoded,
        "condensed on": point.condensed_on,
        "trained": point.scoring.network,
        "iterations": _iterations(point, entry.condenser),
        "accuracy": accuracy.mean,
        "low": accuracy.low,
        "high": accuracy.high,
        "memories": accuracy.n,
        "networks": entry.networks,
        "best": best.condenser + _apart(entry, best),
        **dict(zip(BELOW_BEST, (below.mean, below.low, below.high), strict=True)),
        "published": entry.published,
        "published accuracy": published_accuracy(point, entry.condenser, entry.scored_on == "test"),
        "verdict": entry.verdict,
        "scored on": entry.scored_on,
        "protocol": point.scoring.protocol,
        **entry.cost,
    }


def _differences(entries: Sequence[Entry], frame: pd.DataFrame) -> pd.DataFrame:
    """The differences between every two rivals; `frame` has the lines of the entries."""
    about = [name for name in (*POINT, "league", "decoded per stored") if name not in APART]
    columns = [*about, *APART, *(OTHER + name for name in APART), *MEASURED]
    by_rivals: dict[tuple[object, ...], list[tuple[Entry, dict]]] = {}
    for entry, line in zip(entries, frame.to_dict("records"), strict=True):
        by_rivals.setdefault(entry.rivals, []).append((entry, line))
    rows = [
        {name: own[0][1][name] for name in about} | row
        for own in by_rivals.values()
        for row in differences([({name: line[name] for name in APART}, entry.scores) for entry, line in own])
    ]
    return pd.DataFrame(rows, columns=columns)


def _apart(entry: Entry, best: Entry) -> str:
    """The network that the best was condensed on and its iterations, where they are others than the entry's own."""
    made_on = best.point.condensed_on
    network = f", condensed on {made_on}" if made_on != entry.point.condensed_on else ""
    own, others = (_iterations(one.point, one.condenser) for one in (entry, best))
    return network + (f", {others} iterations" if own and others and own != others else "")


def _iterations(point: Point, name: str) -> int:
    """How many iterations the memories of a condenser took; 0 where real images are picked."""
    made = registry.condenser(name)
    return made.schedule(point.plans[0].schedule, point.ipc).iterations if made.makes_pixels else 0


def _shown(frame: pd.DataFrame) -> str:
    """The table for the terminal: only columns whose values differ, or that a reader looks for."""
    always = ["condenser", "accuracy", "below the best", N, "time", "hidden images"]
    shown = frame[["dataset", "images per class", "condensed on", "trained", "condenser"]].copy()
    if frame.groupby(["dataset", "images per class", "condenser"])["iterations"].nunique().max() > 1:
        shown["iterations"] = frame["iterations"]
    shown["accuracy"] = _percent(frame[["accuracy", "low", "high", "memories"]])
    shown["below the best"] = _percent(frame[[*BELOW_BEST, "memories"]]).where(frame["below best"] != 0, "-")
    shown[N] = frame["memories"].astype(str) + "x" + frame["networks"].astype(str)
    shown["published"], shown["verdict"] = frame["published"], frame["verdict"]
    shown["time"] = [duration(seconds) for seconds in frame["seconds"]]
    shown["hidden images"] = [f"{images:.2g}" if images else "-" for images in frame["hidden_images"]]
    kept = [name for name in shown if name in always or (shown[name] != "").any()]
    kept = [name for name in kept if name in always or name in ("published", "verdict") or shown[name].nunique() > 1]
    return shown[kept].to_string(index=False)


def _percent(ends: pd.DataFrame) -> pd.Series:
    """Means with their intervals, from four columns: mean, low, high and memories."""
    measured = [Interval(*row, "t") for row in ends.itertuples(index=False)]
    return pd.Series([str(own).removesuffix(f" n={own.n}") for own in measured], ends.index)
