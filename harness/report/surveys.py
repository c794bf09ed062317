"""Architecture search: how proxies rank, architecture by architecture, and what searches end with."""

import re
from collections.abc import Iterator

import pandas as pd

from harness.core.protocols import WHOLE
from harness.core.rows import NetworkRow
from harness.evidence.scatter import NORMS
from harness.evidence.surveys import is_first, paired
from harness.report import charts
from harness.report.content import Figure, Found, Section, Source, drawn, slug

AFTER = re.compile(r"regret_after_(\d+)")
PREFERRED = "ours"


def section(found: Found) -> Section:
    """Correlations with their ceilings, scatters, and the regret of searches."""
    parts = [
        drawn(found, kind, draw)
        for kind, draw in (
            ("summary.csv", _correlations),
            (NetworkRow.__name__, lambda found, source: list(_scatters(source))),
            ("search_summary.csv", _searches),
        )
    ]
    intro = (
        "Architectures are trained on a proxy instead of the whole set. A proxy is good if it ranks them as the whole "
        "set does; the whole set itself, trained once more, is the ceiling."
    )
    figures, problems = ([one for part in side for one in part] for side in zip(*parts, strict=True))
    return Section("search", "Architecture search", intro, figures, problems=problems)


def _correlations(found: Found, source: Source) -> list[Figure]:
    rows = source.frame
    numbers = pd.DataFrame(
        {
            "proxy": rows["proxy"],
            "Spearman": rows["spearman"],
            "low": rows["spearman_low"],
            "high": rows["spearman_high"],
            "architectures": rows["spearman_n"].astype(int),
            "Kendall": rows["kendall"],
            "noise ceiling": rows.get("noise_ceiling"),
            "chosen": rows["chosen"].str.split().str[0],
            "accuracy of the chosen (%)": 100 * rows["accuracy"],
            "regret (points)": 100 * rows["regret"],
            "stored images": rows["stored_images"].astype(int),
        }
    ).sort_values("Spearman", ascending=False)
    ceiling = float(rows["noise_ceiling"].iloc[0]) if "noise_ceiling" in rows else None
    band = (
        (float(rows["noise_ceiling_low"].iloc[0]), float(rows["noise_ceiling_high"].iloc[0]))
        if {"noise_ceiling_low", "noise_ceiling_high"} <= set(rows)
        else None
    )
    name = _name(rows)
    best = numbers.iloc[0]
    alt = f"{name}: Spearman's rank correlation of {len(rows)} proxies; the highest is that of {best['proxy']}."
    frame = numbers[["proxy", "Spearman", "low", "high"]].set_axis(["name", "mean", "low", "high"], axis=1)
    figure = Figure(
        slug("correlation", source.path.parent, name),
        f"{name}: does a proxy rank like the whole set?",
        "Spearman's rank correlation with a 95 % interval over architectures. The dashed line is the ceiling: two "
        "runs on the whole set."
        if ceiling is not None
        else "Spearman's rank correlation with a 95 % interval over architectures; no ceiling has been measured.",
        alt,
        (source,),
        numbers.dropna(axis=1, how="all"),
        charts.intervals(frame, alt, "Spearman's correlation", reference=ceiling, band=band, digits=".2f"),
    )
    return [figure]


def _scatters(source: Source) -> Iterator[Figure]:
    rows = source.frame
    for (checksum, space, recipe), first in rows[is_first(rows)].groupby(
        ["dataset_checksum", "space", "recipe"], sort=False
    ):
        mine = (rows["dataset_checksum"] == checksum) & (rows["space"] == space)
        own = rows[mine & ((rows["proxy"] != WHOLE) | (rows["recipe"] == recipe))]
        proxies = [name for name in dict.fromkeys(own["proxy"]) if name != WHOLE]
        if proxies and not first["architecture"].duplicated().any():
            yield _scatter(source, own, [*proxies, *([WHOLE] if _twice(own) else [])], recipe)


def _twice(rows: pd.DataFrame) -> bool:
    """Whether there is a second network of the whole set."""
    return bool(((rows["proxy"] == WHOLE) & ~is_first(rows)).any())


def _scatter(source: Source, rows: pd.DataFrame, proxies: list[str], recipe: str) -> Figure:
    parts = [_pairs(rows, proxy) for proxy in proxies]
    numbers = pd.concat(parts, ignore_index=True)
    frame = numbers.set_axis(["proxy", "architecture", "norm", "on_proxy", "on_whole"], axis=1)
    first = PREFERRED if PREFERRED in proxies else proxies[0]
    norms = [name for name in NORMS.values() if name in set(numbers["norm"])]
    first_row = rows.iloc[0]
    name = f"{first_row['dataset']}, {first_row['space']}"
    alt = (
        f"{name}: accuracy of every architecture on the whole set ({recipe}) against that on a proxy, for "
        f"{', '.join(proxies)}; a point per architecture."
    )
    return Figure(
        slug("scatter", source.path.parent, name, recipe),
        f"{name}: every architecture",
        "Validation accuracy on the proxy, test accuracy on the whole set, on scales of their errors. Diverged "
        "networks are drawn at zero. A norm in the legend can be picked out.",
        alt,
        (source,),
        numbers,
        charts.scatter(frame, alt, proxies, first, norms),
    )


def _pairs(rows: pd.DataFrame, proxy: str) -> pd.DataFrame:
    # An unfinished survey has architectures on one side only.
    whole = set(rows.loc[is_first(rows), "architecture"])
    sides = paired(rows[rows["architecture"].isin(whole)], proxy)
    return pd.DataFrame(
        {
            "proxy": proxy,
            "architecture": sides.index.str.removeprefix("ConvNet-"),
            "norm": sides["norm"].map(NORMS).fillna("other").to_numpy(),
            "on the proxy (%)": 100 * sides["proxy"].fillna(0).to_numpy(),
            "on the whole set (%)": 100 * sides["whole"].fillna(0).to_numpy(),
        }
    )


def _searches(found: Found, source: Source) -> list[Figure]:
    rows = source.frame
    steps = sorted(int(match[1]) for name in rows if (match := AFTER.fullmatch(name)))
    lines = [
        {
            "proxy": row["proxy"],
            "sampler": row["sampler"],
            "trials": step,
            "regret (points)": 100 * row[f"regret_after_{step}"],
            "low (points)": 100 * row[f"regret_after_{step}_low"],
            "high (points)": 100 * row[f"regret_after_{step}_high"],
            "searches": int(row["searches"]),
            "minutes of a search (min)": row["minutes"],
        }
        for row in rows.to_dict("records")
        for step in steps
    ]
    if not lines:
        return []
    numbers = pd.DataFrame(lines)
    return [_regret(source, proxy, own) for proxy, own in numbers.groupby("proxy", sort=False)]


def _regret(source: Source, proxy: str, numbers: pd.DataFrame) -> Figure:
    frame = pd.DataFrame(
        {
            "line": numbers["sampler"],
            "x": numbers["trials"],
            "mean": numbers["regret (points)"],
            "low": numbers["low (points)"],
            "high": numbers["high (points)"],
            "name": numbers["sampler"],
            "style": "",
        }
    )
    name = f"{_name(source.frame)}: searches on {proxy}"
    samplers = sorted(set(numbers["sampler"]))
    alt = f"{name}: regret after so many trials, for {', '.join(samplers)}, with bands of 95 % over searches."
    return Figure(
        slug("regret", source.path.parent, name),
        name,
        "How far the architecture that a search would choose lies below the best that is known, in points of test "
        "accuracy on the whole set; 95 % bands over searches.",
        alt,
        (source,),
        numbers,
        charts.curves(frame, alt, "trials", "regret (points)", samplers),
    )


def _name(rows: pd.DataFrame) -> str:
    return f"{rows['dataset'].iloc[0]}, {rows['space'].iloc[0]}"
