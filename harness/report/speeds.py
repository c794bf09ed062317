"""How fast the core is beside plain loops."""

import pandas as pd

from harness.core.rows import TurnRow
from harness.evidence.ratios import MEASURED, mean_ratio
from harness.evidence.sources import grouped
from harness.report import charts
from harness.report.content import Figure, Found, Section, Source, drawn, slug

COMPARED = {
    "condense": "condensing: times the speed of the plain loop",
    "train": "training on a memory: times the speed of the plain loop",
    "lockstep": "in lockstep: times the speed of one recipe alone",
}
SIZES = {"real_batch": "{:g} real images", "networks": "{:g} networks"}  # in words, for lines that differ in them
TOLD = ("precision", "network", *SIZES, "commit")  # what tells lines of one task and competitor apart


def section(found: Found) -> Section:
    """Ratios with their intervals, by what was compared and where."""
    figures, problems = drawn(found, TurnRow.__name__, _figures)
    intro = (
        "Competitors take turns on one machine; a task is a data set, a method and images per class. Ratios are "
        "geometric means over turns, with 95 % intervals; one is the speed of what they are compared with, in equal "
        "arithmetic."
    )
    return Section("speed", "Speed", intro, figures, problems=problems)


def _figures(source: Source) -> list[Figure]:
    rows = source.frame[source.frame["ratio"].notna()]
    return [_figure(source, *key, own) for key, own in rows.groupby(["what", "machine", "device"], sort=False)]


def _figure(source: Source, what: str, machine: str, device: str, rows: pd.DataFrame) -> Figure:
    # Empty where it does not apply, and pandas leaves out groups that have nothing in a column.
    rows = rows.assign(
        **{name: rows[name].map(words.format, na_action="ignore").fillna("") for name, words in SIZES.items()}
    )
    lines = [_line(about, own) for about, own in grouped(rows, [*MEASURED, "network", *SIZES, "commit"])]
    numbers = _distinct(pd.DataFrame(lines))
    frame = numbers.iloc[:, :5].set_axis(["name", "series", "mean", "low", "high"], axis=1)
    best = numbers.loc[numbers["ratio (times)"].idxmax()]
    title = COMPARED.get(what, what)
    alt = f"{title}; the highest ratio is {best['ratio (times)']:.2f}, {best['competitor']}, {best['task']}."
    return Figure(
        slug("speed", source.path.parent, what, machine, device),
        title[:1].upper() + title[1:],
        f"On {machine}, {device}.",
        alt,
        (source,),
        numbers,
        charts.intervals(frame, alt, "ratio", reference=1.0, digits=".2f"),
    )


def _line(about: dict[str, object], rows: pd.DataFrame) -> dict[str, object]:
    middle, low, high = mean_ratio(rows["ratio"])
    return {
        "task": f"{about['dataset']}, {about['method']}, {about['ipc']}",
        "competitor": about["competitor"],
        "ratio (times)": middle,
        "low (times)": low,
        "high (times)": high,
        "turns": len(rows),
        "peak memory (GB)": rows["peak_bytes"].mean() / 1e9,
        **{name: about[name] for name in TOLD},
    }


def _distinct(numbers: pd.DataFrame) -> pd.DataFrame:
    """Tasks that say the precision, sizes, or the commit, where it tells lines apart."""
    for column in TOLD:
        twice = numbers.duplicated(["task", "competitor"], keep=False)
        told = twice & (numbers.groupby(["task", "competitor"])[column].transform("nunique") > 1)
        numbers["task"] = numbers["task"].where(~told, numbers["task"] + ", " + numbers[column])
    return numbers
