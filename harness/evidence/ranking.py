"""How well a proxy ranks architectures: its accuracies against those of the whole set.

Both sides are accuracies as fractions, 0 to 1, in series indexed by architecture name; arrays of one length, in one
order, are taken too. Only architectures with both count. Accuracies that are equal, missing or at chance:

- Ties get their mean rank, in Spearman's correlation and (as tau-b) in Kendall's.
- Diverged networks are nan, which ranks below every number and ties with every other nan. They are a result, and
  leaving them out would flatter the proxy. An architecture that was not run has no entry at all.
- Networks at chance are kept as measured. Those that predict one class tie exactly; the noise of the others is part of
  what a proxy has to rank. Diverged networks and those at chance are counted and reported.

Intervals resample architectures, in pairs, from a fixed seed, so that all proxies see the same resamples. They say
how far a figure depends on which architectures there were, not on the luck of condensing or of training.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from harness.core.seeds import seed_of
from harness.evidence.intervals import CONFIDENCE, Interval

Method = Literal["spearman", "kendall"]
Accuracies = pd.Series | np.ndarray

FEWEST = 5
TOP = (36, 30, 20, 10, 5)
# Not more resamples, because SciPy's Kendall takes one pair of rankings at a time and is slow.
RESAMPLES = 1999


@dataclass(frozen=True)
class Correlation:
    """A rank correlation with its 95 % confidence interval.

    Attributes:
        value: -1 to 1; nan for fewer than five architectures, or if all of one side tie.
        low: lower end; nan where the value is.
        high: upper end; nan where the value is.
        n: number of architectures.
        method: `spearman`, or `kendall` (tau-b).
    """

    value: float
    low: float
    high: float
    n: int
    method: Method

    def columns(self, name: str) -> dict[str, float]:
        """As columns of a CSV: the value as `name`, `name_low`, `name_high`, and their number as `name_n`."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high, f"{name}_n": self.n}

    def text(self, digits: int = 2) -> str:
        """Such as `0.76 [0.57, 0.87] n=36`, of two digits."""
        if np.isnan(self.value):
            return f"none (n={self.n}, {f'fewer than {FEWEST}' if self.n < FEWEST else 'all tie'})"
        value, low, high = (f"{number:z.{digits}f}" for number in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}] n={self.n}"

    def __str__(self) -> str:
        """As `text` says it."""
        return self.text()


@dataclass(frozen=True)
class Choice:
    """What an architecture search ends with.

    Attributes:
        architectures: those with the best proxy accuracy; several if they tie.
        accuracy: their mean whole-set accuracy, what drawing one of them gives on average; nan if one diverged.
        best: the best whole-set accuracy of the architectures that were compared, nan left out.
        regret: best - accuracy.
    """

    architectures: tuple[str, ...]
    accuracy: float
    best: float
    regret: float


def correlation(proxy: Accuracies, whole: Accuracies, method: Method = "spearman") -> Correlation:
    """Rank correlation over all architectures that both sides have; ties and nan as the module says.

    The interval is the percentile bootstrap's, over the resamples in which neither side ties throughout. It is too
    narrow for five architectures and about right from ten on (`pytest tests/harness/evidence -k cover` measures it).

    Args:
        proxy: accuracies after training on the proxy.
        whole: accuracies after training on the whole set.
        method: `spearman`, or `kendall` for tau-b.

    Raises:
        ValueError: an unknown method, or sides that cannot be paired.
    """
    return _correlation(_common(proxy, whole), method)


def crossed(proxy: pd.Series, whole: pd.Series, factors: pd.DataFrame, method: Method = "spearman") -> Correlation:
    """The correlation over pairs that are not independent, because they share levels of some factors.

    Memories of one condenser resemble each other, and so do memories of one draw of real images. Resampling memories
    one by one would treat thirteen condensers with three memories each as 39 independent findings. So the levels of
    each factor are resampled, each factor by itself, and a pair counts as often as the product of its levels' counts
    (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007). A factor of one level, such as one draw, cannot
    vary.

    Args:
        proxy: one side, by the pair's name.
        whole: the other.
        factors: the levels of each pair, by its name, a column per factor.
        method: as for `correlation`.

    Raises:
        ValueError: as for `correlation`, or a pair without levels.
    """
    sides = _common(proxy, whole)
    levels = factors.reindex(sides.index)
    if levels.isna().any(axis=None):
        raise ValueError(f"{levels.index[levels.isna().any(axis=1)][0]} has no levels of {', '.join(factors)}")
    generator = np.random.default_rng(seed_of("bootstrap over factors"))
    counts = np.ones((RESAMPLES, len(sides)), dtype=int)
    for column in levels:
        places, found = pd.factorize(levels[column])
        counts *= generator.multinomial(len(found), [1 / len(found)] * len(found), RESAMPLES)[:, places]
    return _estimate(sides, _statistic(method), method, [np.repeat(np.arange(len(sides)), row) for row in counts])


def difference(proxy: pd.Series, other: pd.Series, whole: pd.Series, method: Method = "spearman") -> Correlation:
    """How much better `proxy` ranks than `other`: the correlation of the one less that of the other.

    It is over the architectures that all three have, and both proxies meet the same resamples. What is easy or hard to
    rank is common to both, so their own intervals may overlap although this one excludes 0. If each proxy is a single
    memory, the interval does not hold the luck of memories.

    Raises:
        ValueError: as for `correlation`.
    """
    sides = _common(proxy, whole).join(_common(other, whole)["proxy"].rename("other"), how="inner")
    statistic = _statistic(method)
    return _estimate(sides, lambda one, both, two: statistic(one, both) - statistic(two, both), method)


def _correlation(pairs: pd.DataFrame, method: Method) -> Correlation:
    return _estimate(pairs, _statistic(method), method)


def _statistic(method: Method) -> Callable[..., np.ndarray]:
    if method not in _STATISTICS:
        raise ValueError(f"correlation method {method!r} is unknown; choose {' or '.join(_STATISTICS)}")
    return _STATISTICS[method]


def _estimate(
    columns: pd.DataFrame,
    statistic: Callable[..., np.ndarray],
    method: Method,
    resamples: Sequence[np.ndarray] | None = None,
) -> Correlation:
    """A statistic of the columns' ranks, with its interval over resamples of rows.

    `resamples` gives the positions of each resample's rows; without them, rows are drawn with replacement.
    """
    sides, n = columns.fillna(-np.inf).rank().to_numpy().T, len(columns)
    value = float(statistic(*sides)) if n >= FEWEST else np.nan
    if np.isnan(value):
        return Correlation(np.nan, np.nan, np.nan, n, method)
    # Not SciPy's bootstrap, which gives no interval as soon as all values of one resample are tied.
    if resamples is None:
        generator = np.random.default_rng(seed_of("bootstrap over architectures"))
        resampled = statistic(*sides[:, generator.integers(n, size=(RESAMPLES, n))])
    else:
        resampled = [statistic(*sides[:, places]) for places in resamples if len(places) >= FEWEST]
    low, high = np.nanquantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Correlation(value, float(low), float(high), n, method)


def _spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    # Not SciPy's spearmanr, which takes one pair at a time.
    ranks = (stats.rankdata(side, axis=-1) for side in (x, y))
    x, y = (rank - rank.mean(-1, keepdims=True) for rank in ranks)
    with np.errstate(invalid="ignore"):
        return (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))


_kendall = np.vectorize(lambda x, y: stats.kendalltau(x, y).statistic, signature="(n),(n)->()")
_STATISTICS = {"spearman": _spearman, "kendall": _kendall}


def _common(proxy: Accuracies, whole: Accuracies) -> pd.DataFrame:
    if isinstance(proxy, pd.Series) != isinstance(whole, pd.Series):
        raise ValueError("a series and an array cannot be paired: give two series, or two arrays in one order")
    sides = pd.Series(proxy, dtype=float), pd.Series(whole, dtype=float)
    if not isinstance(proxy, pd.Series) and len(proxy) != len(whole):
        raise ValueError(f"arrays of {len(proxy)} and {len(whole)} accuracies cannot be paired: give two series")
    for side in sides:
        if side.index.has_duplicates:
            raise ValueError(f"{side.index[side.index.duplicated()][0]} is there twice: average replicates first")
    # Sorted, so that the resamples do not depend on the order of rows.
    return pd.concat(sides, axis=1, join="inner", keys=["proxy", "whole"]).sort_index()


def top_correlations(
    proxy: Accuracies,
    whole: Accuracies,
    by: Literal["proxy", "whole"],
    sizes: Iterable[int] = TOP,
    method: Method = "spearman",
) -> dict[int, Correlation]:
    """Rank correlation over the k best architectures only, for every k up to the number of architectures.

    The papers report the correlation of the top 5 % (36 of 720) and do not say by which rank: `proxy` asks whether the
    proxy orders what it finds best, `whole` whether it orders what is best. All that tie with the k-th are in, so
    `n` may exceed k. The interval takes the selection as given.

    Args:
        proxy: accuracies after training on the proxy.
        whole: accuracies after training on the whole set.
        by: the side that selects.
        sizes: k, the numbers of architectures.
        method: as for `correlation`.

    Raises:
        ValueError: an unknown side or method, or sides that cannot be paired.
    """
    if by not in ("proxy", "whole"):
        raise ValueError(f"the top by {by!r} is unknown; choose proxy or whole")
    pairs = _common(proxy, whole)
    place = pairs[by].fillna(-np.inf).rank(method="min", ascending=False)
    return {k: _correlation(pairs[place <= k], method) for k in sizes if k <= len(pairs)}


def noise_ceiling(first: Accuracies, second: Accuracies, method: Method = "spearman") -> Correlation:
    """Rank correlation of two replicates of the whole-set accuracies: what another whole-set run would reach.

    Read as a reliability r, it attenuates every correlation with *one* replicate: an error-free proxy reaches
    sqrt(r) on average, a proxy as noisy as a whole-set run r. With the mean of both replicates as the whole side,
    2r / (1 + r) takes the place of r (Spearman-Brown). Dividing a correlation by that square root frees it of the
    whole set's attenuation (Spearman 1904): exact for Pearson's, an approximation for ranks, and not done here. A
    reliability is of a range: use the ceiling over all architectures for the full-space figure only.

    Args:
        first: whole-set accuracies of one replicate.
        second: those of another, with other training seeds.
        method: as for `correlation`.

    Raises:
        ValueError: as for `correlation`.
    """
    return correlation(first, second, method)


def chosen(proxy: Accuracies, whole: Accuracies) -> Choice:
    """The architecture with the best proxy accuracy, what it reaches on the whole set, and what it misses.

    All that tie for the best are chosen, and their whole-set accuracies averaged. If every proxy accuracy is nan they
    all tie: a proxy that says nothing chooses at random.

    Args:
        proxy: *validation* accuracies after training on the proxy; test accuracies would choose on test.
        whole: test accuracies after training on the whole set.

    Raises:
        ValueError: no architecture has both, or sides that cannot be paired.
    """
    pairs = _common(proxy, whole)
    if pairs.empty:
        raise ValueError("no architecture has both a proxy and a whole-set accuracy, so none can be chosen")
    ranked = pairs["proxy"].fillna(-np.inf)
    top = pairs["whole"][ranked == ranked.max()]
    # pandas' mean would drop the nan of a network that diverged, and so flatter the choice.
    accuracy, best = float(top.to_numpy().mean()), float(pairs["whole"].max())
    return Choice(tuple(map(str, top.index)), accuracy, best, best - accuracy)


def ranking_summary(
    proxy: Accuracies, whole: Accuracies, *, replicate: Accuracies | None = None, chance: float | None = None
) -> dict[str, object]:
    """The summary row of one proxy.

    | key | what |
    |---|---|
    | architectures | how many have both accuracies |
    | unpaired | how many have one of them only |
    | diverged_proxy, diverged_whole | how many of the architectures are nan there |
    | at_chance_proxy, at_chance_whole | how many are at chance there; only if `chance` is given |
    | spearman, kendall | `Correlation` over all architectures |
    | top_36_by_proxy, top_36_by_whole, ... | Spearman's `Correlation` over the top k, where there are k |
    | noise_ceiling | that of `whole` and `replicate` over the same architectures; only if `replicate` is given |
    | chosen, accuracy, best, regret | as in `Choice` |

    Args:
        proxy: validation accuracies after training on the proxy.
        whole: accuracies after training on the whole set.
        replicate: those of a second whole-set run, for the noise ceiling.
        chance: the accuracy up to which a network counts as at chance: 1 / classes, and about two standard errors
            for the number of images it was measured on.

    Raises:
        ValueError: no architecture has both accuracies, or sides that cannot be paired.
    """
    pairs, choice = _common(proxy, whole), chosen(proxy, whole)
    row: dict[str, object] = {
        "architectures": len(pairs),
        "unpaired": len(proxy) + len(whole) - 2 * len(pairs),
        **{f"diverged_{side}": int(pairs[side].isna().sum()) for side in pairs},
    }
    if chance is not None:
        row |= {f"at_chance_{side}": int((pairs[side] <= chance).sum()) for side in pairs}
    row |= {method: correlation(proxy, whole, method) for method in _STATISTICS}
    for by in ("proxy", "whole"):
        row |= {f"top_{k}_by_{by}": found for k, found in top_correlations(proxy, whole, by).items()}
    if replicate is not None:
        runs = _common(whole, replicate)
        row["noise_ceiling"] = noise_ceiling(*(runs[runs.index.isin(pairs.index)][side] for side in runs))
    return row | {
        "chosen": choice.architectures,
        "accuracy": choice.accuracy,
        "best": choice.best,
        "regret": choice.regret,
    }


def flat(row: Mapping[str, object]) -> dict[str, object]:
    """A summary row as columns of a CSV: an interval or a correlation takes four, a tuple of names one."""
    found: dict[str, object] = {}
    for name, value in row.items():
        if isinstance(value, Interval | Correlation):
            found |= value.columns(name)
        else:
            found[name] = " ".join(value) if isinstance(value, tuple) else value
    return found
