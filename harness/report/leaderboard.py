"""The leaderboard: memories that were entered by `harness.submit`."""

import pandas as pd

from condensers.core.leagues import LEAGUES
from harness.core.checks import check_leagues
from harness.core.rows import SubmissionRow
from harness.evidence.intervals import MEMORY, Interval, interval
from harness.evidence.sources import grouped
from harness.report.content import Figure, Found, Section, Source, drawn, slug

POINT = ["dataset", "dataset_checksum", "ipc_stored", "league", "network", "protocol", "precision"]


def section(found: Found) -> Section:
    """A table for each data set, size, league and protocol."""
    figures, problems = drawn(found, SubmissionRow.__name__, _figures)
    intro = (
        "Memories of any project, scored here by python -m harness.submit under a named protocol. Costs are as "
        "submitters state them. Intervals are over a method's memories, networks averaged within each."
    )
    return Section("leaderboard", "Leaderboard", intro, figures, problems=problems)


def _figures(source: Source) -> list[Figure]:
    return [_figure(source, about, rows) for about, rows in grouped(check_leagues(source.frame, source.path), POINT)]


def _figure(source: Source, about: dict[str, object], rows: pd.DataFrame) -> Figure:
    lines = [_line(method, own) for method, own in rows.groupby("method", sort=False)]
    numbers = pd.DataFrame(lines).sort_values("accuracy (%)", ascending=False)
    title = f"{about['dataset']}, {about['ipc_stored']} per class: {about['league']} league, as submitted"
    note = f"{LEAGUES[str(about['league'])].capitalize()}. Scored on {about['network']}, protocol {about['protocol']}."
    anchor = slug("leaderboard", source.path.parent, *about.values())
    return Figure(anchor, title, note, title, (source,), numbers, kind="table")


def _line(method: str, rows: pd.DataFrame) -> dict[str, object]:
    # Memories are counted by checksum: two people who submit under one method's name may use the same numbers.
    memories = rows.drop_duplicates("memory_checksum").assign(class_order=0)
    values = memories.assign(memory_replicate=range(len(memories))).set_index(MEMORY)["accuracy"]
    accuracy: Interval = interval(values)
    return {
        "method": method,
        "accuracy (%)": 100 * accuracy.mean,
        "low (%)": 100 * accuracy.low,
        "high (%)": 100 * accuracy.high,
        "memories": accuracy.n,
        "networks": _all_of(rows["networks"]),
        "cost as stated (min)": rows["cost_minutes"].mean(),
        "hardware": _all_of(rows["hardware"]),
        "paper": _all_of(rows["paper"]),
    }


def _all_of(values: pd.Series) -> object:
    """The value that all entries of a method share, or all their values as a text."""
    found = values.drop_duplicates().tolist()
    return found[0] if len(found) == 1 else " / ".join(map(str, found))
