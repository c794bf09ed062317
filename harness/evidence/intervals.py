"""Means with intervals over memories: what a comparison of condensers may claim.

A memory is one (class_order, memory_replicate). The networks trained on one memory share its luck, so their rows are
averaged within the memory first and every interval is over memories, never over rows: five memories with three
networks each are n = 5, not n = 15.

Values are fractions, 0 to 1; only text and tables show percent.
"""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from condensers.core.leagues import LEAGUES, NOT_SAID
from harness.core.checks import leagues_of
from harness.core.protocols import NAIVE, WHOLE
from harness.core.seeds import seed_of

Method = Literal["t", "bootstrap"]

MEMORY = ["class_order", "memory_replicate"]
RANDOM = "random"
NO_MEMORY = "-"  # stands for the league of lines without a memory
UNSAID = "league not said: files do not say whether networks trained on real labels made them (--trained-on-real)"
SAME = ["dataset_checksum", "steps", "protocol"]
CONFIDENCE = 0.95
RESAMPLES = 9999
HEADINGS = {
    "accuracy": "final accuracy",
    "accuracy_bootstrap": "bootstrap",
    "average_accuracy": "average accuracy",
    "above_random": "above random",
}


@dataclass(frozen=True)
class Interval:
    """A mean over memories with its 95 % confidence interval, as fractions.

    Attributes:
        mean: mean of the memory means; nan if there is no memory, or if one holds a nan.
        low: lower end; nan for fewer than two memories.
        high: upper end; nan for fewer than two memories.
        n: number of memories.
        method: `t`, `bootstrap BCa`, `bootstrap percentile`, or `none`.
    """

    mean: float
    low: float
    high: float
    n: int
    method: str

    def columns(self, name: str) -> dict[str, float]:
        """As columns of a CSV: the mean as `name`, `name_low`, `name_high`, and the number of memories as `name_n`."""
        return {name: self.mean, f"{name}_low": self.low, f"{name}_high": self.high, f"{name}_n": self.n}

    def __str__(self) -> str:
        """In percent: `34.4 [33.1, 35.6] n=5`."""
        if self.n == 0:
            return "n=0"
        if self.n == 1:
            return f"{100 * self.mean:z.1f} (n=1, no interval)"
        return f"{100 * self.mean:z.1f} [{100 * self.low:z.1f}, {100 * self.high:z.1f}] n={self.n}"


def interval(values: pd.Series | pd.DataFrame, method: Method = "t") -> Interval:
    """The mean over memories and its 95 % confidence interval.

    `t` is Student's interval over the memory means. `bootstrap` resamples memories (bias-corrected and accelerated, or
    percentile where that is undefined) and assumes no shape of the distribution, but is far too narrow for few
    memories.
    On 4000 sets of n independent normal memory means with 2000 resamples each (`pytest
    tests/harness/evidence -k coverage` checks n = 5), a nominal 95 % interval covers the true mean in

    | n | t | bootstrap BCa | bootstrap percentile |
    |---|---|---|---|
    | 3 | 95 % | 73 % | 75 % |
    | 5 | 96 % | 84 % | 84 % |
    | 10 | 95 % | 90 % | 91 % |
    | 20 | 95 % | 93 % | 93 % |

    Args:
        values: a series indexed by `class_order`, `memory_replicate` and possibly more, or rows of records of one
            condenser, metric and step.
        method: `t` or `bootstrap`.

    Raises:
        ValueError: an unknown method, or a frame that mixes condensers, metrics or steps.
    """
    if method not in ("t", "bootstrap"):
        raise ValueError(f"interval method {method!r} is unknown; choose t or bootstrap")
    if isinstance(values, pd.DataFrame):
        _one_of_each(values, [name for name in ("condenser", "metric", "step") if name in values])
        values = values.set_index(MEMORY)["value"]
    means = _means(values, MEMORY).to_numpy()
    mean = means.mean() if len(means) else np.nan
    if len(means) < 2 or np.isnan(mean):
        return Interval(float(mean), np.nan, np.nan, len(means), "none")
    low, high, used = _student(means) if method == "t" else _bootstrap(means)
    return Interval(float(mean), low, high, len(means), used)


def _means(values: pd.Series, level: list[str]) -> pd.Series:
    # pandas' mean would drop the nan of a network that diverged, and so flatter its memory.
    return values.groupby(level=level).agg(lambda group: group.to_numpy(float).mean())


def _student(means: np.ndarray) -> tuple[float, float, str]:
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(means) - 1) * stats.sem(means)
    return float(means.mean() - half), float(means.mean() + half), "t"


def _bootstrap(means: np.ndarray) -> tuple[float, float, str]:
    if np.ptp(means) > 0:
        low, high = _resampled(means, "BCa")
        if np.isfinite(low) and np.isfinite(high):
            return low, high, "bootstrap BCa"
    return *_resampled(means, "percentile"), "bootstrap percentile"


def _resampled(means: np.ndarray, method: str) -> tuple[float, float]:
    # Not `rng`, which the oldest SciPy that we support lacks; newer ones still take `random_state`.
    found = stats.bootstrap(
        (means,),
        np.mean,
        method=method,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        random_state=np.random.default_rng(seed_of("bootstrap over memories")),
    ).confidence_interval
    return float(found.low), float(found.high)


def paired_difference(
    frame: pd.DataFrame, metric: str, a: str, b: str, *, step: int | None = None, method: Method = "t"
) -> Interval:
    """How much condenser `a` is above `b` in a metric, over the memories that both have.

    Condensers share class orders and memory seeds, so the difference of a pair is far steadier than either score.
    Networks are averaged within each memory first.

    Args:
        frame: records of one experiment.
        metric: e.g. `accuracy`.
        a: the condenser that is claimed to be better.
        b: the condenser it is compared with.
        step: one step, from 1; None averages each memory over the steps that both condensers have.
        method: as for `interval`.

    Returns:
        The mean difference a - b with its interval; n is the number of pairs.

    Raises:
        ValueError: a condenser is not in the frame, or the frame is not of one experiment.
    """
    one_experiment(frame)
    rows = frame[(frame["metric"] == metric) & ((frame["step"] == step) | (step is None))]
    one, other = (_of(frame, rows, name) for name in (a, b))
    one, other = one.align(other, join="inner")
    return interval(one - other, method)


def _of(frame: pd.DataFrame, rows: pd.DataFrame, condenser: str) -> pd.Series:
    known = sorted(frame["condenser"].unique())
    if condenser not in known:
        near = get_close_matches(condenser, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"no rows of condenser {condenser!r}; {hint}there are {', '.join(known)}")
    index = [*MEMORY, "step"]
    return _means(rows[rows["condenser"] == condenser].set_index(index)["value"], index)


def above(one: pd.Series, other: pd.Series) -> Interval:
    """By how much one is above the other, over the memories that both have: networks are averaged within each first.

    Args:
        one: accuracies as fractions, indexed by `class_order`, `memory_replicate` and possibly more.
        other: accuracies of the other, indexed in the same way: an equal index must mean the same draws.
    """
    mine, its = by_memory(one).align(by_memory(other), join="inner")
    return interval(mine - its)


def by_memory(values: pd.Series) -> pd.Series:
    """Means within each memory, of values that are indexed by `class_order`, `memory_replicate` and possibly more."""
    return _means(values, MEMORY)


def average_incremental_accuracy(frame: pd.DataFrame) -> pd.Series:
    """Mean accuracy over all steps of a stream, as a fraction.

    Streams that have not reached their last step are left out: early steps are easy, and would flatter them.

    Args:
        frame: records of one experiment.

    Returns:
        One value per stream, indexed by condenser, class_order, memory_replicate and network_replicate.

    Raises:
        ValueError: the frame is not of one experiment.
    """
    one_experiment(frame)
    rows = frame[frame["metric"] == "accuracy"]
    index = ["condenser", *MEMORY, "network_replicate"]
    values = rows.set_index(index)["value"]
    steps = rows["steps"].iloc[0] if len(rows) else 0
    complete = values.groupby(level=index).transform("size") == steps
    return _means(values[complete], index)


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per condenser, the most accurate first.

    | column | what |
    |---|---|
    | condenser | |
    | league | of the memory: `strict`, `open` (see `condensers.core.leagues`), `not said`, or `-` if there is none |
    | accuracy | at the final step |
    | accuracy_bootstrap | the same, with the bootstrap's interval |
    | average_accuracy | average incremental accuracy |
    | forgetting | at the final step; only if recorded |
    | above_random | paired difference in final accuracy from `random` under the same strategy; None without it |
    | memories, networks | how many at the final step; networks over all memories |

    The columns from accuracy to above_random hold an `Interval` each.

    Args:
        frame: records of one experiment.

    Raises:
        ValueError: the frame is not of one experiment.
    """
    one_experiment(frame)
    average = average_incremental_accuracy(frame)
    rows = [_row(frame, average, name) for name in frame["condenser"].unique()]
    rows.sort(key=lambda row: -np.nan_to_num(row["accuracy"].mean, nan=-1))
    return pd.DataFrame(rows)


def _row(frame: pd.DataFrame, average: pd.Series, condenser: str) -> dict[str, object]:
    mine = frame[frame["condenser"] == condenser]
    final = mine[mine["step"] == mine["steps"]]
    scores = final[final["metric"] == "accuracy"]
    row = {
        "condenser": condenser,
        "league": league_of_rows(mine),
        "accuracy": interval(scores),
        "accuracy_bootstrap": interval(scores, "bootstrap"),
        "average_accuracy": interval(average[average.index.get_level_values("condenser") == condenser]),
    }
    if "forgetting" in set(frame["metric"]):
        row["forgetting"] = interval(final[final["metric"] == "forgetting"])
    if any(base_of(name)[0] == RANDOM for name in frame["condenser"].unique()):
        row["above_random"] = _above_random(frame, condenser)
    return row | {"memories": _memories(scores), "networks": len(scores)}


def _memories(scores: pd.DataFrame) -> int:
    """Number of memories: a file that served all class orders is one. Without a memory, class orders are counted."""
    made = set(scores["memory_checksum"][scores["condenser"] != WHOLE]) - {""}
    return len(made) or len(scores.drop_duplicates(MEMORY))


def served_by_one(rows: pd.DataFrame) -> list[str]:
    """Condensers whose one memory serves several class orders, as a file does: intervals are over the orders."""
    own = rows[~rows["condenser"].isin([WHOLE]) & (rows["memory_checksum"] != "")].groupby("condenser")
    counts = own[["memory_checksum", "class_order"]].nunique()
    return sorted(counts.index[(counts["memory_checksum"] == 1) & (counts["class_order"] > 1)])


def _above_random(frame: pd.DataFrame, condenser: str) -> Interval | None:
    reference = real_images(condenser, frame["condenser"].unique())
    if reference is None:
        return None
    last = int(frame["steps"].iloc[0])
    return paired_difference(frame, "accuracy", condenser, reference, step=last)


def real_images(condenser: str, names: Collection[str]) -> str | None:
    """The name of the real images that a condenser is compared with: `random` under the same strategy.

    Args:
        condenser: its name in the rows, with a strategy behind it in brackets if it has one.
        names: all that are in the rows.

    Returns:
        One of the names; None for real images themselves, if the rows have none, and for naive training, which has no
        memory that real images could replace.
    """
    base, strategy = base_of(condenser)
    reference = RANDOM + strategy
    return reference if base not in (RANDOM, NAIVE) and reference in names else None


def base_of(name: str) -> tuple[str, str]:
    """The condenser's own name, and the strategy behind it with its brackets, if there is one."""
    base, space, strategy = name.partition(" (")
    return base, space + strategy


def league_of_rows(rows: pd.DataFrame) -> str:
    """The league of the memory that rows are about; `-` if they are about none."""
    if not rows["ipc_stored"].any():
        return NO_MEMORY
    found = set(leagues_of(rows))
    return next(league for league in ("open", NOT_SAID, "strict") if league in found)


def format_table(table: pd.DataFrame) -> str:
    """A summary for the terminal: percent with one decimal, and a line that says what the intervals are."""
    if table.empty:
        return "no finished cells yet"
    shown = pd.DataFrame([{name: _shown(name, row) for name in table} for _, row in table.iterrows()])
    methods = sorted({score.method for score in table["accuracy"]} - {"none"})
    said = f"95 % intervals ({', '.join(methods)}) over memories" if methods else "no intervals below two memories"
    note = f"accuracies and forgetting in percent; {said}; networks are averaged within each memory"
    if "above_random" in table:
        note = f"above random in points, paired by class order; no interval is widened for there being others\n{note}"
    if methods:
        note = f"the bootstrap's intervals are far too narrow for few memories: quote the others\n{note}"
    found = sorted(set(table["league"]) & LEAGUES.keys(), reverse=True)
    unsaid = [UNSAID] if NOT_SAID in set(table["league"]) else []
    leagues = "; ".join([*(f"{name} league: {LEAGUES[name]}" for name in found), *unsaid])
    return f"{shown.rename(columns=HEADINGS).to_string(index=False)}\n{note}\n{leagues}"


def _shown(name: str, row: pd.Series) -> str:
    value = row[name]
    if not isinstance(value, Interval):
        return "-" if value is None else str(value)
    mean = f"{100 * value.mean:z.1f}" if value.n and name != "accuracy_bootstrap" else ""
    ends = "" if value.method == "none" else f"[{100 * value.low:z.1f}, {100 * value.high:z.1f}]"
    n = f"n={value.n}" if value.n != row["memories"] else ""
    return " ".join(filter(None, (mean, ends, n))) or "-"


def one_experiment(frame: pd.DataFrame) -> None:
    """Check that rows may be averaged: one data set, memory size, stream and protocol, and no row twice.

    Raises:
        ValueError: they may not; says which column mixes what.
    """
    _one_of_each(frame, SAME)
    # Checked step by step, because under a total budget the images per class shrink from step to step. Rows without a
    # memory (0 images stored) are left out: they can be compared with any size.
    for _, step in frame[frame["ipc_stored"] > 0].groupby("step"):
        _one_of_each(step, ["ipc_stored"])
    row = ["condenser", *MEMORY, "network_replicate", "step", "metric"]
    twice = frame[frame.duplicated(row)]
    if len(twice):
        said = ", ".join(f"{name} {twice.iloc[0][name]}" for name in row)
        raise ValueError(f"several rows have {said}: two configs in one file? select one config first")


def _one_of_each(frame: pd.DataFrame, columns: list[str]) -> None:
    for name in columns:
        found = sorted(map(str, frame[name].unique()))
        if len(found) > 1:
            raise ValueError(f"rows of several {name} values cannot be averaged ({', '.join(found)}): select one")
