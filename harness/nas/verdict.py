"""What a survey says in the end: a summary row and a figure per proxy, and tables on the terminal.

The accuracy of an architecture on a proxy is that on the validation split, averaged over memories and networks; on the
whole set it is the test accuracy of the first network. A second whole-set network, measured on the validation split as
proxies are, gives the noise ceiling.
"""

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from harness.core.progress import say
from harness.core.protocols import WHOLE
from harness.core.records import write_csv
from harness.evidence.ranking import TOP, Correlation, correlation, difference, flat, ranking_summary
from harness.evidence.scatter import choice, scatter
from harness.evidence.surveys import is_first, networks_of, paired
from harness.nas.survey import Survey

if TYPE_CHECKING:
    import pandas as pd


def report(survey: Survey, cells: Collection[str]) -> None:
    """Write summary.csv and the figures, and print the tables, from the records of the survey's cells."""
    import pandas as pd

    rows = survey.records.read()
    rows = rows[rows["cell"].isin(cells)]
    found = [summarise(survey, rows, name) | _above(rows, name, survey.proxies[0]) for name in survey.proxies]
    path = survey.out / "summary.csv"
    write_csv(path, pd.DataFrame(map(flat, found)))
    for row in found:
        scatter(paired(rows, row["proxy"]), row, survey.out / f"scatter-{row['proxy'].replace(':', '_')}.png")
    say(format_tables(found))
    say(f"rows: {survey.records.path}  summary: {path}  figures: {survey.out / 'scatter-*.png'}")


def summarise(survey: Survey, rows: "pd.DataFrame", proxy: str) -> dict[str, object]:
    """One row on one proxy: what was trained on what, `ranking_summary`, and what it took.

    `spearman_test` compares test accuracies on both sides, as papers do; nothing is chosen by it. `minutes` is
    the time of training all architectures on the proxy, summed over memories and networks, on whichever machines did
    it; condensing is not counted.
    """
    sides, networks = paired(rows, proxy), networks_of(rows, proxy)
    second = rows[(rows["proxy"] == WHOLE) & (rows["network_replicate"] == 1)]
    replicate = second.set_index("architecture")["validation_accuracy"] if len(second) else None
    ranked = ranking_summary(sides["proxy"], sides["whole"], replicate=replicate, chance=chance(survey))
    # With only a part of the space trained, its best by whole-set rank need not be the best of the space.
    hidden = () if len(sides) == len(survey.space) else [f"top_{k}_by_whole" for k in TOP]
    first = networks.iloc[0]
    return {
        "proxy": proxy,
        "dataset": survey.dataset.name,
        "dataset_checksum": survey.dataset.checksum,
        "validation": survey.validation,
        "space": survey.space.name,
        "space_size": len(survey.space),
        "whole_recipe": survey.whole_name,
        **first[["recipe", "epochs", "steps", "ipc_stored", "ipc_decoded", "stored_images", "stored_bytes"]],
        "memories": networks["memory_replicate"].nunique(),
        "networks": networks["network_replicate"].nunique(),
        "minutes": networks["seconds"].sum() / 60,
        "whole_minutes": rows.loc[is_first(rows), "seconds"].sum() / 60,
        **{name: value for name, value in ranked.items() if name not in hidden},
        "spearman_test": correlation(sides["proxy_test"], sides["whole"]),
    }


def _above(rows: "pd.DataFrame", proxy: str, first: str) -> dict[str, Correlation]:
    """How much better a proxy ranks than the first one given, under the key `above_first`; empty for the first."""
    if proxy == first:
        return {}
    one, other = paired(rows, proxy), paired(rows, first)
    return {"above_first": difference(one["proxy"], other["proxy"], one["whole"])}


def chance(survey: Survey) -> float:
    """The accuracy up to which a network counts as at chance: 1 / classes, plus two standard errors of the split."""
    even = 1 / survey.dataset.classes
    return even + 2 * math.sqrt(even * (1 - even) / len(survey.dataset.test))


def format_tables(found: Sequence[dict[str, object]]) -> str:
    """The summary rows for the terminal."""
    import pandas as pd

    tables = [pd.DataFrame(_shown(row, len(found) > 1) for row in found), pd.DataFrame(map(_tops, found))]
    return "\n".join([*(table.to_string(index=False) for table in tables if len(table.columns) > 1), *_notes(found)])


def _shown(row: dict[str, object], several: bool) -> dict[str, str]:
    # One digit more: proxies differ by little, and it must be seen on which side of zero an end lies.
    above = _interval(row["above_first"], row["architectures"], digits=3) if "above_first" in row else "-"
    return {
        "proxy": row["proxy"],
        "Spearman": _interval(row["spearman"], row["architectures"]),
        **({"above the first": above} if several else {}),
        "Kendall": _interval(row["kendall"], row["architectures"]),
        "chosen": choice(row),
        "accuracy": f"{100 * row['accuracy']:.1f}",
        "regret": f"{100 * row['regret']:z.1f}",
        "memories x networks": f"{row['memories']}x{row['networks']}",
        "minutes": f"{row['minutes']:.1f}",
        "steps": f"{row['steps']}",
        "images": f"{row['stored_images']}",
        "kB": f"{row['stored_bytes'] / 1000:.0f}",
    }


def _tops(row: dict[str, object]) -> dict[str, str]:
    names = {f"top {k} by {by}": (f"top_{k}_by_{by}", k) for by in ("proxy", "whole") for k in TOP}
    return {"proxy": row["proxy"]} | {said: _interval(row[name], k) for said, (name, k) in names.items() if name in row}


def _interval(found: Correlation, usual: int, digits: int = 2) -> str:
    return found.text(digits).removesuffix(f" n={usual}")


def _notes(found: Sequence[dict[str, object]]) -> list[str]:
    row = found[0]
    rests = f"{row['architectures']} of the {row['space_size']} architectures of {row['space']}"
    waits = "" if row["architectures"] == row["space_size"] else "; the top by whole-set rank waits for all of them"
    ceiling = (
        f"a second whole-set run {row['noise_ceiling']}; what had no noise of its own could reach its square root"
        if "noise_ceiling" in row
        else "none without --whole-replicates 2"
    )
    lost = [
        f"{side} {row[f'diverged_{key}']} and {row[f'at_chance_{key}']}"
        for side, key, row in (*((row["proxy"], "proxy", row) for row in found), ("whole set", "whole", row))
    ]
    return [
        f"rank correlations, and Spearman's above that of the first proxy, with 95 % intervals (bootstrap over "
        f"architectures) rest on {rests}{waits}",
        "the luck of memories and of training is in none of these intervals, none is widened for there being others, "
        "and those of a top take its selection as given",
        f"noise ceiling of Spearman: {ceiling}",
        f"whole set: {row['whole_recipe']}, {row['whole_minutes']:.1f} minutes, best {100 * row['best']:.1f} %",
        "chosen on the validation split; accuracy and regret in percent: its test accuracy, trained on the whole set, "
        "of one network and so without an interval",
        "minutes are those of training on the proxy, all memories and networks; condensing is not counted",
        f"diverged and at chance: {', '.join(lost)}; ties get their mean rank, diverged networks the lowest",
    ]
