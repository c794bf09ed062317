"""League tables as `harness.table` wrote them, and what their accuracy cost."""

from dataclasses import replace

import pandas as pd

from condensers import registry
from condensers.core.leagues import LEAGUES
from condensers.core.recipe import Condenser
from harness.evidence.published import NOT_RUN, VERDICTS
from harness.evidence.sources import BELOW_BEST, grouped
from harness.report import charts
from harness.report.content import Figure, Found, Section, Source, drawn, percent, slug

POINT = ["dataset", "images per class", "condensed on", "trained", "scored on", "protocol"]
FAMILIES = {
    "selection": "picks real images",
    "matching": "matches features",
    "gradients": "matches gradients",
    "unrolling": "unrolls training",
}
OTHER = "not registered here"
ALIKE = 1.5  # costs that differ by less are about the same


def section(found: Found) -> Section:
    """A table for each point and league, and a chart of costs for each point; files with most verdicts first."""
    ordered = replace(found, sources=sorted(found.sources, key=_verdicts_and_lines, reverse=True))
    figures, problems = drawn(ordered, "table.csv", _figures)
    intro = (
        "Each table is of one league, so that no column mixes what may not be compared. Accuracies are means over "
        "memories, with 95 % intervals over memories; networks are averaged within each. A published number stands "
        "beside its verdict where there is one."
    )
    return Section("leagues", "League tables", intro, figures, problems=problems)


def _verdicts_and_lines(source: Source) -> tuple[int, int]:
    """How many lines have a verdict other than `not run`, and how many lines there are."""
    known = source.frame["verdict"] if "verdict" in source.frame else pd.Series(dtype=object)
    return int(known.isin(set(VERDICTS) - {NOT_RUN}).sum()), len(source.frame)


def _figures(source: Source) -> list[Figure]:
    points = list(grouped(source.frame, POINT))
    # Within a league, condensers that decode several images from one have another table.
    tables = [
        _table(source, about, league, int(decoded), own)
        for about, rows in points
        for (league, decoded), own in rows.groupby(["league", "decoded per stored"], sort=False)
    ]
    return [*tables, *(_costs(source, about, rows) for about, rows in points)]


def _lengths(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """The column of iterations, if a point has a condenser at several lengths; otherwise no column."""
    several = "iterations" in rows and rows["condenser"].duplicated().any()
    return {"iterations": rows["iterations"].astype(int)} if several else {}


def _below(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """How far each is below the best, paired by memory, and which that is if not among these; nothing of older ones."""
    found = {f"{name} (points)": 100 * rows[name] for name in BELOW_BEST if name in rows}
    return found | ({"best": rows["best"]} if found and "best" in rows and not rows[BELOW_BEST[0]].eq(0).any() else {})


def _table(source: Source, about: dict[str, object], league: str, decoded: int, own: pd.DataFrame) -> Figure:
    several = f"; {decoded} images decoded from a stored one" if decoded > 1 else ""
    numbers = pd.DataFrame(
        {
            "condenser": own["condenser"],
            **_lengths(own),
            **percent(own),
            **_below(own),
            "memories": own["memories"].astype(int),
            "networks": own["networks"].astype(int),
            "published": own["published"],
            "verdict": own["verdict"],
            "time (s)": own["seconds"],
            "operations (FLOP)": own["flop"],
            "hidden images": own["hidden_images"].astype(int),
        }
    ).sort_values("accuracy (%)", ascending=False)
    decoding = f", {decoded} images decoded from one" if decoded > 1 else ""
    title = f"{source.path.parent.name}: {_where(about)}, {league} league{decoding}"
    return Figure(
        slug("table", source.path.parent, *about.values(), league, decoded),
        title,
        f"{LEAGUES.get(league, league).capitalize()}{several}. {_how(about)} Time is that of the whole run, which "
        "recipes with one schedule share; hidden images are those that networks were trained on meanwhile.",
        title,
        (source,),
        numbers if (numbers["published"] != "").any() else numbers.drop(columns=["published", "verdict"]),
        kind="league",
    )


def _costs(source: Source, about: dict[str, object], rows: pd.DataFrame) -> Figure:
    numbers = pd.DataFrame(
        {
            "condenser": rows["condenser"],
            **_lengths(rows),
            "family": [family_of(name) for name in rows["condenser"]],
            "league": rows["league"],
            "operations (FLOP)": rows["flop"],
            **percent(rows),
        }
    ).sort_values("operations (FLOP)")
    points = numbers[numbers["operations (FLOP)"] > 0]
    if "iterations" in points:
        names = points["condenser"] + ", " + points["iterations"].astype(str) + " it."
        points = points.drop(columns="iterations").assign(condenser=names)
    best = _best(points)
    alt = (
        f"{_where(about)}: accuracy against operations for {len(points)} condensers. Nothing cheaper is better than "
        f"{', '.join(points.loc[best, 'condenser'])}."
    )
    frame = points.set_axis(["condenser", "family", "league", "flop", "mean", "low", "high"], axis=1).assign(best=best)
    return Figure(
        slug("cost", source.path.parent, *about.values()),
        f"{source.path.parent.name}: {_where(about)}, accuracy against cost",
        "Operations are those of networks, their training included, as if a memory were made alone; terms of "
        "objectives, such as Gram matrices and ridge readouts, are not counted. Named: what nothing cheaper beats. "
        "Diamonds: open league. What takes no operations, as random images do, is in the numbers only.",
        alt,
        (source,),
        numbers,
        charts.costs(frame, alt, [one for one in (*FAMILIES.values(), OTHER) if one in set(points["family"])])
        if len(points)
        else None,
        kind="chart" if len(points) else "table",
    )


def _best(points: pd.DataFrame) -> pd.Series:
    """Which points nothing cheaper beats. Of several at about one cost only the best, or their names would overlap."""
    best = pd.Series(False, points.index)
    top, last = -1.0, None
    for place, flop, accuracy in zip(points.index, points["operations (FLOP)"], points["accuracy (%)"], strict=True):
        if accuracy > top:
            best[place], top = True, accuracy
            if last is not None and flop < ALIKE * points.loc[last, "operations (FLOP)"]:
                best[last] = False
            last = place
    return best


def family_of(name: str) -> str:
    """How a condenser works, in words."""
    try:
        made: Condenser = registry.condenser(name)
    except ValueError:  # a plugin's condenser, or one of older code
        return OTHER
    return FAMILIES.get(getattr(made, "loop", "selection"), OTHER)


def _where(about: dict[str, object]) -> str:
    return f"{about['dataset']}, {about['images per class']} per class"


def _how(about: dict[str, object]) -> str:
    made, trained = about["condensed on"], about["trained"]
    networks = f"Condensed and scored on {made}" if made == trained else f"Condensed on {made}, scored on {trained}"
    return f"{networks}, {about['scored on']} images, protocol {about['protocol']}."
