"""Every section's numbers, computed once more from rows alone with pandas and SciPy, as the page has them.

`numbers.csv` is written by the code that draws the page, so only a second computation finds a wrong mean.
"""

import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.core.paths import ROOT
from harness.report.__main__ import main
from harness.report.flags import Report

RESULTS = ROOT / "results"
MEMORY = ["class_order", "memory_replicate"]
ENDS = ("mean", "low", "high")


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    main(Report(folders=(RESULTS,), out=out, data_root=out / "no data"))
    found = pd.read_csv(out / "numbers.csv", keep_default_na=False)
    return found.assign(folder=found["rows"].str.removeprefix(f"{RESULTS}/"))


def lines_of(numbers: pd.DataFrame, kind: str, file: str) -> pd.DataFrame:
    """The lines of all figures of a kind that rest on a file, numbers as numbers."""
    own = numbers[numbers["figure"].str.startswith(f"{kind}-") & (numbers["folder"] == file)]
    wide = own.pivot(index=["figure", "line"], columns="column", values="value")
    assert len(wide)
    return wide.reset_index(level=0)


def rows_of(file: str) -> pd.DataFrame:
    return pd.read_csv(RESULTS / file, keep_default_na=False, na_values={"ratio": [""]})


def student(values: object) -> tuple[float, float, float]:
    means = np.asarray(values, dtype=float)
    if len(means) < 2:
        return means.mean(), math.nan, math.nan
    if not np.ptp(means):  # of which SciPy makes nan
        return means[0], means[0], means[0]
    return (means.mean(), *stats.t.interval(0.95, len(means) - 1, means.mean(), stats.sem(means)))


def same(line: pd.Series, columns: tuple[str, ...], expected: tuple[float, ...], times: float = 1.0) -> None:
    found = [float(line[name]) if line[name] != "" else math.nan for name in columns]
    assert found == pytest.approx([times * value for value in expected], nan_ok=True, abs=1e-9)


def by_memory(rows: pd.DataFrame, value: str = "value") -> pd.Series:
    return rows.groupby(MEMORY)[value].mean()


@pytest.mark.parametrize("folder", ["tables/digits-quick", "tables/cifar10-quick", "ablations/digits-search-test"])
def test_league_tables(numbers, folder):
    rows = rows_of(f"{folder}/results.csv")
    for _, line in lines_of(numbers, "table", f"{folder}/table.csv").iterrows():
        parts = rows[rows["condenser"] == line["condenser"]].groupby("ipc_stored")
        (size,) = [size for size, _ in parts if f"-{size}-convnet" in line["figure"]]
        own = parts.get_group(size)
        same(line, ("accuracy (%)", "low (%)", "high (%)"), student(by_memory(own)), 100)
        assert ("-strict-" in line["figure"]) == (
            (own["ipc_stored"] == own["ipc_decoded"]).all() and not own["trained_on_real"].any()
        )


@pytest.mark.parametrize("study", ["cifar10-test", "cifar10-terms"])
def test_studies(numbers, study):
    file = f"study/{study}/results.csv"
    means = {name: by_memory(own) for name, own in rows_of(file).groupby("condenser")}
    for _, line in lines_of(numbers, "accuracy", file).iterrows():
        same(line, ("accuracy (%)", "low (%)", "high (%)"), student(means[line["condenser"]]), 100)
    for _, line in lines_of(numbers, "difference", file).iterrows():
        expected = student(means[line["condenser"]] - means["dm"])
        same(line, ("difference (points)", "low (points)", "high (points)"), expected, 100)


@pytest.mark.parametrize(
    "stream",
    [
        *("cifar100-5steps-bench", "cifar100-5steps-quick", "cifar100-10steps-quick", "cifar100-replay-bench"),
        *("cifar100-replay-augmented", "digits-strategies"),
    ],
)
def test_streams(numbers, stream):
    file = f"continual/{stream}/results.csv"
    rows = rows_of(file)
    for _, line in lines_of(numbers, "curve", file).iterrows():
        seen = (rows["classes_seen"] == int(line["classes seen"])) & (rows["metric"] == "accuracy")
        expected = student(by_memory(rows[seen & (rows["condenser"] == line["condenser"])]))
        same(line, ("accuracy (%)", "low (%)", "high (%)"), expected, 100)
    for _, line in lines_of(numbers, "last", file).iterrows():
        own = rows[rows["condenser"] == line["condenser"]]
        last = own[own["step"] == own["steps"]]
        for metric, name in (("accuracy", "final accuracy"), ("forgetting", "forgetting")):
            columns = (f"{name} (%)", f"{name} low (%)", f"{name} high (%)")
            same(line, columns, student(by_memory(last[last["metric"] == metric])), 100)
        average = student(by_memory(own[own["metric"] == "accuracy"]))
        same(line, ("average over steps (%)", "average over steps low (%)"), average[:2], 100)


@pytest.mark.parametrize("folder", sorted(path.parent for path in (RESULTS / "continual").glob("*/differences.csv")))
def test_every_two_of_a_stream(numbers, folder):
    rows = pd.read_csv(folder / "results.csv")
    last = rows[(rows["step"] == rows["steps"]) & (rows["metric"] == "accuracy")]
    means = {name: by_memory(own) for name, own in last.groupby("condenser")}
    lines = lines_of(numbers, "pairs", f"continual/{folder.name}/differences.csv")
    assert {frozenset(pair) for pair in zip(lines["line"], lines["above"], strict=True)} == {
        frozenset(pair) for pair in combinations(means, 2)
    }
    for _, line in lines.iterrows():
        expected = student(means[line["line"]] - means[line["above"]])
        same(line, ("difference (points)", "low (points)", "high (points)"), expected, 100)


def test_ablations(numbers):
    rows, grids = rows_of("ablations/digits-quick/results.csv"), rows_of("ablations/digits-quick/ablate.csv")
    named = grids.astype({"variant": str, "base": str})
    means = {name: by_memory(own) for name, own in rows.groupby("condenser")}
    for _, line in lines_of(numbers, "grid", "ablations/digits-quick/ablate.csv").iterrows():
        of_grid = [own for name, own in named.groupby("grid") if f"digits-quick-{slug(name)}-digits-" in line["figure"]]
        (grid,) = of_grid
        condenser = grid.set_index("variant")["condenser"]
        base = grid["base"].iloc[0]
        own = means[condenser[line["variant"]]]
        same(line, ("accuracy (%)", "low (%)", "high (%)"), student(own), 100)
        if line["variant"] != base:
            columns = ("difference (points)", "low (points)", "high (points)")
            same(line, columns, student(own - means[condenser[base]]), 100)


def slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower())


@pytest.mark.parametrize("survey", ["nas/digits", "nas/digits-recipes"])
def test_correlations_of_proxies(numbers, survey):
    rows = pd.read_csv(RESULTS / survey / "results.csv")
    whole = rows[is_whole(rows)].set_index("architecture")
    scatters = lines_of(numbers, "scatter", f"{survey}/results.csv").set_index("architecture")
    for _, line in lines_of(numbers, "correlation", f"{survey}/summary.csv").iterrows():
        proxy = rows[(rows["proxy"] == line["proxy"]) & ~is_whole(rows)]
        mean = proxy.groupby("architecture")["validation_accuracy"].mean()
        sides = pd.concat([mean, whole["test_accuracy"]], axis=1, join="inner", keys=["proxy", "whole"])
        same(line, ("Spearman",), (stats.spearmanr(sides["proxy"], sides["whole"]).statistic,))
        same(line, ("Kendall",), (stats.kendalltau(sides["proxy"], sides["whole"]).statistic,))
        if line["proxy"] != "random" and survey == "nas/digits":
            _same_above_random(line, sides, rows)
        best = sides[sides["proxy"] == sides["proxy"].max()]["whole"].mean()
        same(line, ("accuracy of the chosen (%)", "regret (points)"), (best, sides["whole"].max() - best), 100)
        drawn = scatters[f"{line['proxy']}, as proxy (%)"].astype(float)
        sides.index = sides.index.str.removeprefix("ConvNet-")
        assert (drawn.reindex(sides.index) / 100).tolist() == pytest.approx(sides["proxy"].tolist())
        assert (scatters["on the whole set (%)"].astype(float).reindex(sides.index) / 100).tolist() == pytest.approx(
            sides["whole"].tolist()
        )


def _same_above_random(line, sides, rows):
    other = rows[rows["proxy"] == "random"].set_index("architecture")["validation_accuracy"].reindex(sides.index)
    mine, its = (stats.spearmanr(side, sides["whole"]).statistic for side in (sides["proxy"], other))
    same(line, ("above random (correlation)",), (mine - its,))
    low, high = (float(line[f"above random {end} (correlation)"]) for end in ("low", "high"))
    assert low < mine - its < high
    assert (line["memories"], line["networks"]) == ("1", "1")


def is_whole(rows: pd.DataFrame) -> pd.Series:
    return (rows["proxy"] == "whole") & (rows["network_replicate"] == 0)


def test_searches(numbers):
    trials, whole = rows_of("nas/digits-search/search.csv"), rows_of("nas/whole_digits.csv")
    accuracy = whole[whole["network_replicate"] == 0].set_index("architecture")["test_accuracy"].astype(float)
    for _, line in lines_of(numbers, "regret", "nas/digits-search/search_summary.csv").iterrows():
        own = trials[(trials["proxy"] == line["proxy"]) & (trials["sampler"] == line["sampler"])]
        best = own[own["trial"] == int(line["trials"]) - 1].sort_values("search_replicate")["best"]
        regret = accuracy.max() - accuracy.reindex(best).to_numpy()
        same(line, ("regret (points)", "low (points)", "high (points)"), student(regret), 100)


@pytest.mark.parametrize("analysis", ["digits-quick", "cifar10-quick", "digits-drift"])
def test_measures(numbers, analysis):
    rows = rows_of(f"analyses/{analysis}/results.csv")
    lines = lines_of(numbers, "measure", f"analyses/{analysis}/analysis.csv")
    metrics = [name for name in lines.columns if name in set(rows["metric"])]
    assert len(metrics) == 7
    for metric in metrics:
        for _, line in lines[lines[metric].notna()].iterrows():
            own = rows[(rows["condenser"] == line["memory"]) & (rows["metric"] == metric)]
            means = own.groupby("memory_replicate")["value"].mean()
            same(line, (metric, f"{metric} low", f"{metric} high"), student(means))


def test_drifts(numbers):
    rows = rows_of("analyses/digits-drift/results.csv")
    base = (rows["condenser"] == "herding") & (rows["memory_replicate"] == 0)  # as the command names it
    rows["condenser"] = rows["condenser"].mask(base, "herding (control)")
    for _, line in lines_of(numbers, "drift", "analyses/digits-drift/drift.csv").iterrows():
        metric = f"accuracy at drift {float(line['drift']):g}"
        own = rows[(rows["condenser"] == line["style of"]) & (rows["metric"] == metric)]
        means = own.groupby("memory_replicate")["value"].mean()
        if not float(line["drift"]):  # nothing drifts: all have the same networks
            assert means.nunique() == 1
            means = means.head(1)
        same(line, ("accuracy (%)", "low (%)", "high (%)"), student(means), 100)
        assert int(line["targets"]) == len(means)


def test_losses(numbers):
    rows, scores = rows_of("analyses/cifar10-quick/results.csv"), rows_of("tables/cifar10-quick/results.csv")
    accuracy = scores.groupby("memory_checksum")["value"].mean()
    for _, line in lines_of(numbers, "loss", "analyses/cifar10-quick/correlations.csv").iterrows():
        name, over = line["loss"].split(", over ")
        own = rows[rows["metric"] == f"loss of {name}"]
        loss = own.groupby(["memory_checksum", "condenser"])["value"].mean().reset_index("condenser")
        sides = loss.assign(accuracy=accuracy).dropna()
        if over == "condensers":
            sides = sides.groupby("condenser").mean()
        assert int(line["n"]) == len(sides)
        same(line, ("Spearman",), (-stats.spearmanr(sides["value"], sides["accuracy"]).statistic,))


def test_speeds(numbers):
    rows = rows_of("speed/cpu/speed.csv").dropna(subset=["ratio"])
    keys = ["dataset", "method", "ipc", "competitor", "precision"]
    lines = lines_of(numbers, "speed", "speed/cpu/speed.csv")
    known = {
        (what, f"{dataset}, {method}, {ipc}", competitor): np.log(own["ratio"])
        for (what, dataset, method, ipc, competitor, _), own in rows.groupby(["what", *keys])
    }
    for _, line in lines.iterrows():
        what = line["figure"].removeprefix("speed-").split("cpu-")[1].split("-")[0]
        expected = tuple(math.exp(end) for end in student(known[what, line["task"], line["competitor"]]))
        same(line, ("ratio (times)", "low (times)", "high (times)"), expected)


def test_the_leaderboard(numbers):
    rows, entries = rows_of("leaderboard/results.csv"), rows_of("leaderboard/submissions.csv")
    lines = lines_of(numbers, "leaderboard", "leaderboard/submissions.csv")
    assert set(lines["method"]) == set(entries["method"])
    for _, line in lines.iterrows():
        cells = entries[entries["method"] == line["method"]]["cell"]
        means = rows[rows["cell"].isin(cells)].groupby("memory_checksum")["value"].mean()
        same(line, ("accuracy (%)", "low (%)", "high (%)"), student(means), 100)
