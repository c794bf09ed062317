"""Which architecture a search ends with: named, with its parameters, and trained on the whole set if asked for.

A search chooses by validation accuracy after training on its proxy alone. Of several searches on a proxy the one with
the best validation accuracy decides which architecture won; if several tie, the smallest wins. Its test accuracy, and
the regret of `harness.nas.search_report`, need networks trained on the whole set, which a search does without.
"""

import math
from dataclasses import replace

import pandas as pd

from harness.core.cells import unfinished
from harness.core.progress import say
from harness.nas import tables
from harness.nas.candidates import about, candidates, cells, run_all
from harness.nas.proxies import of_whole
from harness.nas.search import whole_networks
from harness.nas.survey import Survey
from search_spaces.spaces import Architecture

AXES = tuple(Architecture.__dataclass_fields__)
SEARCH = ["proxy", "sampler", "search_replicate"]
COLUMNS = [*SEARCH, "architecture", *AXES, "parameters", "macs", "validation_accuracy", "test_accuracy", "networks"]


def winners(survey: Survey, rows: pd.DataFrame) -> pd.DataFrame:
    """A row per search: the architecture it ends with, as columns of `search_winners.csv`.

    Those are the search (`proxy`, `sampler`, `search_replicate`), `architecture` and its axes, `parameters`, `macs` of
    an image, `validation_accuracy`, `test_accuracy` after whole-set training with the number of such `networks` (nan
    and 0 where no table has it), and whether it is the one that `won` on its proxy. A search without a network that was
    trained to the end has no row.

    Args:
        survey: what was searched.
        rows: rows of `search.csv`, of complete searches.
    """
    done = rows[rows["status"] == "complete"].set_index(["cell", "architecture"])["validation_accuracy"]
    last = rows.loc[rows.groupby("cell")["trial"].idxmax()]
    chosen = last[last["best"].notna() & (last["best"] != "")]
    tested = _tested(survey)
    found = [
        row[SEARCH].to_dict()
        | _described(survey, row["best"])
        | {"validation_accuracy": done[row["cell"], row["best"]]}
        | tested.get(row["best"], {"test_accuracy": math.nan, "networks": 0})
        for _, row in chosen.iterrows()
    ]
    frame = pd.DataFrame(found, columns=COLUMNS).sort_values(SEARCH, ignore_index=True)
    best = frame.sort_values(["validation_accuracy", "parameters"], ascending=[False, True], kind="stable")
    return frame.assign(won=frame.index.isin(best.drop_duplicates("proxy").index))


def _described(survey: Survey, name: str) -> dict[str, object]:
    architecture = next(one for one in survey.space if one.name == name)
    return vars(architecture) | about(survey, architecture)


def _tested(survey: Survey) -> dict[str, dict[str, float]]:
    """Mean test accuracy and number of the whole-set networks of each architecture; nan if one diverged."""
    by_name: dict[str, list[float]] = {}
    for row in whole_networks(survey):
        by_name.setdefault(row.architecture, []).append(row.test_accuracy)
    return {name: {"test_accuracy": sum(own) / len(own), "networks": len(own)} for name, own in by_name.items()}


def train_winners(survey: Survey, found: pd.DataFrame) -> None:
    """Train each proxy's winning architecture on the whole set, unless a table has it already.

    Args:
        survey: what was searched; `whole_replicates` networks are trained, and kept in its whole-set table.
        found: the result of `winners`.
    """
    names = set(found.loc[found["won"], "architecture"])
    alone = replace(survey, architectures=tuple(one for one in survey.space if one.name in names))
    every = cells(alone, candidates(alone, [of_whole(survey.on_device.train, survey.whole, survey.whole_name)]))
    tables.adopt(survey.records, survey.table, survey.dataset.identity, {cell.key for cell in every})
    left = len(unfinished(every, survey.records))
    say(f"{len(every)} networks of what won, {left} of them to be trained on the whole set as {survey.whole_name}")
    run_all(alone, every)


def say_winners(survey: Survey, found: pd.DataFrame) -> None:
    """Print what won on each proxy, with its parameters and accuracies."""
    for proxy in survey.proxies:
        own = found[found["proxy"] == proxy]
        say(
            "\n".join(_said(survey, own)) if len(own) else f"winner on {proxy}: none, no network was trained to the end"
        )


def _said(survey: Survey, own: pd.DataFrame) -> list[str]:
    row = own[own["won"]].iloc[0]
    same = int((own["architecture"] == row["architecture"]).sum())
    axes = ", ".join(f"{axis} {row[axis]}" for axis in AXES)
    return [
        f"winner on {row['proxy']}: {row['architecture']}",
        f"  {axes}; {row['parameters']:,} parameters, {row['macs']:,} multiply-accumulates an image",
        f"  validation accuracy {100 * row['validation_accuracy']:.1f} % after training on {row['proxy']} "
        f"({row['sampler']}, search {row['search_replicate']}); {same} of {len(own)} searches end with it",
        f"  {_said_of_test(survey, row)}",
    ]


def _said_of_test(survey: Survey, row: pd.Series) -> str:
    if not row["networks"]:
        return "test accuracy not known: --train-winner trains it on the whole set"
    mean = f"mean of {row['networks']} networks" if row["networks"] > 1 else "one network"
    return f"test accuracy {100 * row['test_accuracy']:.1f} %, trained on the whole set as {survey.whole_name} ({mean})"
