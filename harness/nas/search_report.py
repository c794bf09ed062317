"""What searches say in the end: which architectures won and, where whole-set accuracies are known, their regret.

The regret of a search is what the whole-set test accuracy of its best architecture so far (by validation accuracy on
the proxy) lacks to the best that is known in the space. Means are over search replicates, with Student's 95 %
interval. A search whose choice has no known whole-set accuracy yet is left out of the mean, and the count beside the
interval says so.
"""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from harness.core.progress import say
from harness.core.records import write_csv
from harness.evidence.figures import COLOURS, MARKERS, NAME, blank, head, plain, save_figure
from harness.evidence.intervals import MEMORY, Interval, interval
from harness.evidence.ranking import FEWEST, flat
from harness.nas.samplers import METHODS
from harness.nas.search import records_of, whole_accuracies
from harness.nas.survey import Survey
from harness.nas.winners import say_winners, winners

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CHECKPOINTS = (5, 10, 20, 40)
GRID = 60  # points of a curve against minutes
MARKED = 6  # points of a curve with a mark and an interval


def report_searches(survey: Survey, cells: Collection[str]) -> None:
    """Write search_winners.csv and search_summary.csv and print both, from the records of the cells.

    Where whole-set accuracies are known, also search_regret.csv and the figures.
    """
    known, rows = whole_accuracies(survey), finished(survey, cells)
    found, judged = winners(survey, rows), is_table(known, rows)
    rows = with_regret(rows, known) if judged else with_minutes(rows)
    _write(survey.out / "search_winners.csv", found)
    rests = f"{len(known)} of the {len(survey.space)} architectures of {survey.space.name}"
    if judged:
        _write(survey.out / "search_regret.csv", rows)
        _figures(survey, rows, rests)
    _say_summary(survey, summary(rows), found, known if judged else known.head(0))
    if judged:
        say("regret in points of whole-set test accuracy; mean and 95 % interval over searches, n where not all count")
        say(f"best: {100 * known.max():.1f} %, of {rests}, trained as {survey.whole_name}")
    say_winners(survey, found)
    say(f"rows: {survey.out / 'search*.csv'}" + judged * f"  figures: {survey.out / 'search-*.png'}")


def finished(survey: Survey, cells: Collection[str]) -> pd.DataFrame:
    """The rows of these searches."""
    rows = records_of(survey).read()
    return rows[rows["cell"].isin(cells)]


def is_table(known: pd.Series, rows: pd.DataFrame) -> bool:
    """Whether at least FEWEST known whole-set accuracies are of architectures that no search chose.

    Those that --train-winner adds are of the searches' own choices, and tell nothing about regret.
    """
    return int((~known.index.isin(rows["best"])).sum()) >= FEWEST


def _figures(survey: Survey, rows: pd.DataFrame, rests: str) -> None:
    for proxy, own in rows.groupby("proxy", sort=False):
        title = f"{own['dataset'].iloc[0]}, {survey.space.name}: searches on {proxy}"
        figure(own, title, rests, survey.out / f"search-{proxy.replace(':', '_')}.png")


def _say_summary(survey: Survey, rows: list[dict[str, object]], found: pd.DataFrame, known: pd.Series) -> None:
    """Write and print a row per proxy and sampler."""
    for row in rows:
        own = found[(found["proxy"] == row["proxy"]) & (found["sampler"] == row["sampler"])]
        row["validation_accuracy"] = over_searches(own["validation_accuracy"])
    _write(survey.out / "search_summary.csv", pd.DataFrame(map(flat, rows)).assign(known=len(known)))
    say(pd.DataFrame(map(_shown, rows)).to_string(index=False))


def with_minutes(rows: pd.DataFrame) -> pd.DataFrame:
    """The trials in order, with a column `minutes`: the training time of their search so far."""
    rows = rows.sort_values(["proxy", "search_replicate", "sampler", "trial"], ignore_index=True)
    return rows.assign(minutes=rows.groupby("cell")["seconds"].cumsum() / 60)


def with_regret(rows: pd.DataFrame, known: pd.Series) -> pd.DataFrame:
    """The trials `with_minutes`, and `whole_accuracy` and `regret` of the best architecture of their search so far.

    Both are nan before the first complete trial, and where the accuracy is not known.

    Args:
        rows: rows of `search.csv`.
        known: whole-set accuracies as fractions, by architecture name.
    """
    rows = with_minutes(rows)
    whole = rows["best"].map(known).astype(float)
    return rows.assign(whole_accuracy=whole, regret=known.max() - whole)


def summary(rows: pd.DataFrame) -> list[dict[str, object]]:
    """A row per proxy and sampler: what its searches took and, where it is known, their regret.

    Regret is given after some numbers of trials, and after equal minutes: as many as the shortest search on the proxy
    took, whichever its sampler.

    Args:
        rows: the result of `with_minutes` or `with_regret`.
    """
    shortest = rows.groupby(["proxy", "cell"])["minutes"].max().groupby("proxy").min()
    return [
        _summarise(own) | (_regrets(own, shortest[proxy]) if "regret" in rows else {})
        for (proxy, _), own in rows.groupby(["proxy", "sampler"], sort=False)
    ]


def _summarise(rows: pd.DataFrame) -> dict[str, object]:
    searches, trained = rows["cell"].nunique(), rows[rows["epochs_trained"] > 0]
    counts = {status: int((rows["status"] == status).sum()) for status in ("pruned", "repeated", "diverged")}
    return {
        **rows.iloc[0][["proxy", "sampler", "dataset", "space"]],
        "searches": searches,
        "trials": int(rows["trial"].max()) + 1,
        **{status: count / searches for status, count in counts.items()},
        "epochs_saved": 1 - trained["epochs_trained"].sum() / trained["epochs"].sum(),
        "minutes": rows["seconds"].sum() / 60 / searches,
    }


def _regrets(rows: pd.DataFrame, equal: float) -> dict[str, object]:
    most = int(rows["trial"].max()) + 1
    after = {k: rows[rows["trial"] == k - 1] for k in sorted({*CHECKPOINTS, most}) if k <= most}
    return {
        **{f"regret_after_{k}": over_searches(own["regret"]) for k, own in after.items()},
        "equal_minutes": equal,
        "regret_at_equal_minutes": over_searches(at_minutes(rows, equal)),
    }


def at_minutes(rows: pd.DataFrame, minutes: float) -> pd.Series:
    """Regret of each search after so many minutes; a search that had finished no trial by then is left out."""
    return rows[rows["minutes"] <= minutes].groupby("cell")["regret"].nth(-1)


def over_searches(regrets: pd.Series) -> Interval:
    """Mean of the known regrets with its interval over searches; nan is unknown."""
    values = regrets.dropna().to_numpy(float)
    # `interval` averages over memories; here each search stands for one.
    return interval(pd.Series(values, pd.MultiIndex.from_product([[0], range(len(values))], names=MEMORY)))


def figure(rows: pd.DataFrame, title: str, about: str, path: Path) -> None:
    """Regret of one proxy's searches against trials and against minutes: a line per sampler, with 95 % intervals.

    Args:
        rows: the result of `with_regret`, for one proxy.
        title: what is searched on what.
        about: which whole-set accuracies are known, in words.
        path: the PNG to write.

    Raises:
        ValueError: a path that cannot be written.
    """
    canvas = blank(9, 4.4)
    panels = canvas.subplots(1, 2, sharey=True, gridspec_kw={"wspace": 0.08, "top": 0.82, "left": 0.08, "right": 0.98})
    for sampler, own in rows.groupby("sampler"):
        for axes, curve in zip(panels, (_by_trials(own), _by_minutes(own)), strict=True):
            _draw(axes, 100 * curve, sampler)
    for axes, what in zip(panels, ("trials", "minutes of training"), strict=True):
        plain(axes).set(xlabel=what, ylim=(0, None))
    panels[0].set_ylabel("below the best whole-set accuracy (points)")
    panels[1].legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=NAME)
    head(canvas, 0.08, title, [_said(rows, about)])
    save_figure(canvas, path, bbox_inches="tight", pad_inches=0.12)


def _draw(axes: "Axes", curve: pd.DataFrame, sampler: str) -> None:
    place = list(METHODS).index(sampler)
    # Each sampler has its marks and intervals at other points of the axis, or they would hide each other.
    every = max(1, len(curve) // MARKED)
    marked = curve.iloc[place * every // len(METHODS) :: every]
    colour, own = COLOURS[place], {"color": COLOURS[place], "marker": MARKERS[place], "markersize": 4}
    axes.plot(curve.index, curve["mean"], linewidth=1.6, color=colour)
    axes.vlines(marked.index, marked["low"], marked["high"], color=colour, linewidth=1.2, alpha=0.65)
    axes.plot(marked.index, marked["mean"], linestyle="none", **own)
    axes.plot([], [], label=sampler, linewidth=1.6, **own)


def _said(rows: pd.DataFrame, about: str) -> str:
    missing = rows["regret"].isna().mean()
    left_out = f"; {missing:.0%} of the choices are none of them, and left out" if missing else ""
    searches = rows["search_replicate"].nunique()
    return f"{searches} searches each, bars: 95 % interval; known whole-set accuracies: {about}{left_out}"


def _by_trials(rows: pd.DataFrame) -> pd.DataFrame:
    later = rows[rows["trial"] >= _first(rows)]
    return _curve({trial + 1: over_searches(own["regret"]) for trial, own in later.groupby("trial")})


def _by_minutes(rows: pd.DataFrame) -> pd.DataFrame:
    """From when every search has done its first trials to the end of the longest; finished ones keep their regret."""
    start, end = rows.loc[rows["trial"] == _first(rows), "minutes"].max(), rows["minutes"].max()
    return _curve({at: over_searches(at_minutes(rows, at)) for at in np.linspace(start, end, GRID)})


def _first(rows: pd.DataFrame) -> int:
    # Earlier trials are left out: their regret is so large that it would squeeze the rest of the axis.
    return min(CHECKPOINTS[0] - 1, rows["trial"].max())


def _curve(points: dict[float, Interval]) -> pd.DataFrame:
    return pd.DataFrame({x: {end: getattr(at, end) for end in ("mean", "low", "high")} for x, at in points.items()}).T


def _shown(row: dict[str, object]) -> dict[str, str]:
    equal = {"equal minutes": f"{row['equal_minutes']:.2f}"} if "equal_minutes" in row else {}
    return {
        "proxy": row["proxy"],
        "sampler": row["sampler"],
        "minutes": f"{row['minutes']:.2f}",
        "pruned": f"{row['pruned']:.1f}",
        "repeated": f"{row['repeated']:.1f}",
        "epochs saved": f"{row['epochs_saved']:.0%}",
        **{
            name.replace("_", " "): str(value).removesuffix(f" n={row['searches']}")
            for name, value in row.items()
            if isinstance(value, Interval)
        },
        **equal,
    }


def _write(path: Path, frame: pd.DataFrame) -> None:
    write_csv(path, frame)
