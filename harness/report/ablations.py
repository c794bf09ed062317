"""Grids of variants and searches over weights, as `harness.ablate` wrote them."""

import pandas as pd

from harness.evidence.sources import grouped
from harness.report import charts
from harness.report.content import Figure, Found, Section, Source, drawn, percent, slug

POINT = ["grid", "dataset", "images per class", "condensed on", "trained", "scored on", "protocol"]


def section(found: Found) -> Section:
    """A chart for each grid, and a table for each search."""
    grids, damaged = drawn(found, "ablate.csv", _grids)
    searches, others = drawn(found, "trials.csv", _searches)
    intro = (
        "Variants of one objective, condensed in lockstep: they share networks, real images and augmentations, so that "
        "differences are paired by memory. None of the intervals is corrected for there being so many."
    )
    return Section("ablations", "Ablations", intro, [*grids, *searches], problems=[*damaged, *others])


def _grids(source: Source) -> list[Figure]:
    return [_grid(source, about, rows) for about, rows in grouped(source.frame, POINT)]


def _grid(source: Source, about: dict[str, object], rows: pd.DataFrame) -> Figure:
    ends = ["difference", "difference_low", "difference_high"]
    above = 100 * rows[ends].where(rows["variant"] != rows["base"], axis=0)  # the base has no difference from itself
    numbers = pd.DataFrame(
        {
            "variant": rows["variant"],
            "difference (points)": above["difference"],
            "low (points)": above["difference_low"],
            "high (points)": above["difference_high"],
            **percent(rows, low="accuracy_low", high="accuracy_high"),
            "memories": rows["memories"].astype(int),
            "networks": rows["networks"].astype(int),
        }
    )
    if "published" in rows and (rows["published"] != "").any():
        numbers = numbers.assign(published=rows["published"], verdict=rows["verdict"])
    base = rows["base"].iloc[0]
    title = f"{about['grid']}, {about['dataset']}, {about['images per class']} per class"
    alt = f"{title}: differences of {len(rows)} variants from “{base}”, with intervals."
    frame = numbers.iloc[:, :4].set_axis(["name", "mean", "low", "high"], axis=1)
    paper = f"{rows['paper'].iloc[0]}. " if rows["paper"].iloc[0] else ""
    return Figure(
        slug("grid", source.path.parent, *about.values()),
        title,
        f"{paper}Difference in accuracy from “{base}” in points, paired by memory; condensed on "
        f"{about['condensed on']}, "
        f"scored on {about['trained']}, {about['scored on']} images, protocol {about['protocol']}.",
        alt,
        (source,),
        numbers,
        charts.intervals(frame, alt, f"points above “{base}”", reference=0.0),
    )


def _searches(source: Source) -> list[Figure]:
    best = source.frame.sort_values("accuracy", ascending=False)
    numbers = pd.DataFrame(
        {
            "trial": best["trial"].astype(int),
            "recipe": best["condenser"],
            "status": best["status"],
            "accuracy (%)": 100 * best["accuracy"],
            "iterations": best["iteration"].astype(int),
        }
    )
    first = source.frame.iloc[0]
    title = f"A search over weights, {first['dataset']}, {first['images per class']} per class"
    note = (
        f"Accuracies on {first['validation']} held-out training images per class, on which the best was chosen: its "
        "own is too high. Trials that were pruned were looked at for the last time after so many iterations."
    )
    return [Figure(slug("weights", source.path.parent), title, note, title, (source,), numbers, kind="table")]
