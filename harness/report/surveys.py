"""Architecture search: how proxies rank, architecture by architecture, and what searches end with."""

import math
import re
from collections.abc import Collection, Iterator, Sequence

import pandas as pd

from harness.core.protocols import WHOLE
from harness.core.rows import NetworkRow
from harness.evidence.scatter import NORMS
from harness.evidence.surveys import is_first, paired
from harness.report import charts
from harness.report.content import Figure, Found, Section, Source, drawn, records, shown, slug

AFTER = re.compile(r"regret_after_(\d+)")
PREFERRED = "ours"
ABOVE = "above_first"  # in a summary: Spearman's correlation less that of the first proxy, which has no such value
WHOLE_SET = ["dataset", "space", "whole_recipe"]  # what a proxy is compared with
MAKING = ["proxy", "recipe", "epochs", "ipc_stored", "ipc_decoded", "precision"]  # may be averaged if equal
SAID = {
    "ipc_stored": "{} per class",
    "ipc_decoded": "{} decoded",
    "recipe": "{}",
    "epochs": "{} epochs",
    "precision": "{}",
}  # how makings of one proxy are told apart
MOST_POINTS = 2000  # architectures of a scatter: all of a space of this project, with room


def section(found: Found) -> Section:
    """Correlations with their ceilings, scatters, and the regret of searches."""
    parts = [
        drawn(found, kind, draw)
        for kind, draw in (
            ("summary.csv", _correlations),
            (NetworkRow.__name__, _scatters),
            ("search_summary.csv", _searches),
        )
    ]
    intro = (
        "Architectures are trained on a proxy instead of the whole set. A proxy is good if it ranks them as the whole "
        "set does; the whole set itself, trained once more, is the noise ceiling."
    )
    figures, problems = ([one for part in side for one in part] for side in zip(*parts, strict=True))
    problems += [line for source in found.of(NetworkRow.__name__) for line in _undrawn(source)]
    return Section("search", "Architecture search", intro, figures, problems=problems)


def _correlations(source: Source) -> list[Figure]:
    return [_correlation(source, own) for _, own in source.frame.groupby(WHOLE_SET, sort=False)]


def _correlation(source: Source, rows: pd.DataFrame) -> Figure:
    numbers = _correlation_numbers(rows)
    ceiling, *band = (_ceiling(rows, name) for name in ("noise_ceiling", "noise_ceiling_low", "noise_ceiling_high"))
    name = f"{_name(rows)}, {rows['whole_recipe'].iloc[0]}"
    best = numbers["proxy"].iloc[0]
    alt = f"{name}: Spearman's rank correlation of {len(rows)} proxies; the highest is that of {best}."
    drawn = numbers[["proxy", "Spearman", "low", "high"]].set_axis(["name", "mean", "low", "high"], axis=1)
    measured = (
        "The dashed line is the noise ceiling, what a proxy as noisy as another run on the whole set reaches: no bound."
    )
    first = rows["proxy"].iloc[0]
    paired_too = f" Above {first}: over the same resamples, so it may be clear where intervals overlap."
    return Figure(
        slug("correlation", source.path.parent, name),
        f"{name}, {_number_of(numbers)} architectures: does a proxy rank like the whole set?",
        "Spearman's rank correlation with a 95 % interval over architectures; the luck of memories and of training is "
        f"in none. {'No ceiling has been measured.' if ceiling is None else measured}"
        + (paired_too if _compared(rows) else ""),
        alt,
        (source,),
        numbers.dropna(axis=1, how="all"),
        charts.intervals(
            drawn,
            alt,
            "Spearman's correlation",
            reference=ceiling,
            band=None if None in band else (band[0], band[1]),
            digits=".2f",
        ),
    )


def _correlation_numbers(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "proxy": rows["proxy"],
            "Spearman": rows["spearman"],
            "low": rows["spearman_low"],
            "high": rows["spearman_high"],
            "architectures": rows["spearman_n"].astype(int),
            "memories": rows["memories"].astype(int),
            "networks": rows["networks"].astype(int),
            **_above(rows),
            "Kendall": rows["kendall"],
            "noise ceiling": rows.get("noise_ceiling"),
            "chosen": [_chosen(names.split()) for names in rows["chosen"]],
            "accuracy of the chosen (%)": 100 * rows["accuracy"],
            "regret (points)": 100 * rows["regret"],
            "stored images": rows["stored_images"].astype(int),
        }
    ).sort_values("Spearman", ascending=False)


def _chosen(names: Sequence[str]) -> str:
    """The first of the architectures that tie for the choice, and how many more; their accuracy is their mean."""
    return f"{names[0]} (+{len(names) - 1})" if len(names) > 1 else "".join(names)


def _number_of(numbers: pd.DataFrame) -> str:
    """How many architectures were ranked: by some proxies fewer, in a survey that is not finished."""
    ends = dict.fromkeys((numbers["architectures"].min(), numbers["architectures"].max()))
    return " to ".join(shown(end, "architectures") for end in ends)


def _compared(rows: pd.DataFrame) -> bool:
    return ABOVE in rows and bool(rows[ABOVE].notna().any())


def _above(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Columns: how far each proxy is above the first, paired by architecture; none if the summary lacks these."""
    named = f"above {rows['proxy'].iloc[0]}"
    ends = {"": "", " low": "_low", " high": "_high"}
    return {f"{named}{said} (correlation)": rows[f"{ABOVE}{end}"] for said, end in ends.items() if _compared(rows)}


def _ceiling(rows: pd.DataFrame, column: str) -> float | None:
    """The noise ceiling that all proxies of a chart have; None if there is none, or if it differs between proxies."""
    found = rows[column].unique() if column in rows else []
    return float(found[0]) if len(found) == 1 and math.isfinite(found[0]) else None


def _scatters(source: Source) -> Iterator[Figure]:
    for first, rows in _surveyed(source):
        if not _several(first):
            own = _labelled(rows)
            proxies = [name for name in dict.fromkeys(own["proxy"]) if name != WHOLE]
            parts = {name: _pairs(own, name) for name in [*proxies, *([WHOLE] if _twice(own) else [])]}
            if proxies and any(len(part) for part in parts.values()):
                yield _scatter(source, own.iloc[0], parts, first["recipe"].iloc[0])


def _surveyed(source: Source) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """For each space and whole-set training: the rows of first whole-set networks, and all rows of the survey."""
    rows = source.frame
    for values, first in rows[is_first(rows)].groupby(["dataset_checksum", "space", "recipe"], sort=False):
        checksum, space, recipe = values
        mine = (rows["dataset_checksum"] == checksum) & (rows["space"] == space)
        yield first, rows[mine & ((rows["proxy"] != WHOLE) | (rows["recipe"] == recipe))]


def _several(first: pd.DataFrame) -> bool:
    """Whether architectures have several first networks, so that it is open which of them a proxy goes with."""
    return bool(first["architecture"].duplicated().any())


def _undrawn(source: Source) -> Iterator[str]:
    """A line for each survey that has no scatter, because its architectures have several first networks."""
    for first, rows in _surveyed(source):
        if _several(first) and (rows["proxy"] != WHOLE).any():
            about = ", ".join(first[["dataset", "space", "recipe"]].iloc[0])
            yield (
                f"{source.path}: no scatter of {about}, for its architectures have several first networks on the whole "
                "set, as of two --seed, and rows do not say which a proxy goes with: give each --seed its own --out"
            )


def _labelled(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, with names of proxies that differ by size and recipe, and `#2` for a second memory of one draw."""
    of_memory = [*MAKING, "memory_replicate"]
    memories = rows.drop_duplicates([*of_memory, "memory_checksum"])
    number = memories.groupby(of_memory, sort=False).cumcount() + 1
    numbered = rows.merge(
        memories[[*of_memory, "memory_checksum"]].assign(number=number), on=[*of_memory, "memory_checksum"], how="left"
    )
    differing = {proxy: own.columns[own.nunique() > 1] for proxy, own in rows.groupby("proxy")[MAKING]}
    names = [_called(row, differing[row["proxy"]]) for row in records(numbered[[*MAKING, "number"]])]
    return numbered.assign(proxy=names)


def _called(row: dict[str, object], differing: Collection[str]) -> str:
    """A proxy's name, and what its makings differ in; the whole set's keeps its name."""
    apart = [words.format(row[name]) for name, words in SAID.items() if name in differing and row["proxy"] != WHOLE]
    return ", ".join([str(row["proxy"]), *apart]) + (f" #{row['number']}" if row["number"] > 1 else "")


def _twice(rows: pd.DataFrame) -> bool:
    """Whether there is a second network of the whole set."""
    return bool(((rows["proxy"] == WHOLE) & ~is_first(rows)).any())


def _scatter(source: Source, about: pd.Series, parts: dict[str, pd.DataFrame], recipe: str) -> Figure:
    proxies = list(parts)
    frame = pd.concat([part.assign(proxy=proxy) for proxy, part in parts.items()], ignore_index=True)
    numbers = _side_by_side(frame)
    drawn_ones = frame[frame["architecture"].isin(numbers["architecture"].head(MOST_POINTS))]
    fewer = f" The first {MOST_POINTS:,} are drawn." if len(numbers) > MOST_POINTS else ""
    first = PREFERRED if PREFERRED in proxies else proxies[0]
    norms = [name for name in NORMS.values() if name in set(frame["norm"])]
    name = f"{about['dataset']}, {about['space']}, {recipe}"
    alt = (
        f"{name}: accuracy of every architecture on the whole set against that on a proxy, for "
        f"{', '.join(proxies)}; a point per architecture."
    )
    return Figure(
        slug("scatter", source.path.parent, name),
        f"{name}: every architecture",
        "Validation accuracy on the proxy, test accuracy on the whole set, on scales of their errors. Diverged "
        f"networks are drawn at zero. A norm in the legend can be picked out.{fewer}",
        alt,
        (source,),
        numbers,
        charts.scatter(drawn_ones, alt, proxies, first, norms),
    )


def _pairs(rows: pd.DataFrame, proxy: str) -> pd.DataFrame:
    # An unfinished survey has architectures on one side only.
    whole = set(rows.loc[is_first(rows), "architecture"])
    sides = paired(rows[rows["architecture"].isin(whole)], proxy)
    return pd.DataFrame(
        {
            "architecture": sides.index.str.removeprefix("ConvNet-"),
            "norm": sides["norm"].map(NORMS).fillna("other").to_numpy(),
            "on_proxy": 100 * sides["proxy"].fillna(0).to_numpy(),
            "on_whole": 100 * sides["whole"].fillna(0).to_numpy(),
        }
    )


def _side_by_side(frame: pd.DataFrame) -> pd.DataFrame:
    """A line for each architecture, a column for each proxy."""
    wide = frame.pivot(index=["architecture", "norm", "on_whole"], columns="proxy", values="on_proxy").reset_index()
    ordered = wide.sort_values("on_whole", ascending=False)
    proxies = {proxy: f"{proxy}, as proxy (%)" for proxy in dict.fromkeys(frame["proxy"])}
    columns = ["architecture", "norm", "on_whole", *proxies]
    return ordered[columns].rename(columns=proxies | {"on_whole": "on the whole set (%)"})


def _searches(source: Source) -> list[Figure]:
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
            "searches": int(row.get(f"regret_after_{step}_n", row["searches"])),
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
