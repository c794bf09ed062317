"""Rank statistics of a proxy: against SciPy, and against cases worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.evidence import ranking
from harness.evidence.intervals import Interval
from harness.evidence.ranking import (
    TOP,
    Correlation,
    chosen,
    correlation,
    crossed,
    difference,
    flat,
    noise_ceiling,
    ranking_summary,
    top_correlations,
)

# Ties throughout a resample are not worth a word to the user.
pytestmark = pytest.mark.filterwarnings("error")

SCIPY = {"spearman": stats.spearmanr, "kendall": stats.kendalltau}
NAN = math.nan


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(ranking, "RESAMPLES", 99)


def named(values, prefix="net"):
    return pd.Series(values, index=[f"{prefix}{at:03}" for at in range(len(values))], dtype=float)


def noisy_pair(n, seed=0, noise=0.5, decimals=9):
    generator = np.random.default_rng(seed)
    true = generator.uniform(0.1, 0.9, n)
    return [named((true + noise * generator.normal(size=n) * 0.2).round(decimals)) for _ in range(2)]


def bootstrapped(sides, statistic):
    """SciPy's interval of a statistic of paired sides; its width is what ends may differ by a part of."""
    return stats.bootstrap(
        sides,
        statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=1000,
        random_state=np.random.default_rng(3),
    ).confidence_interval


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("method", SCIPY)
@pytest.mark.parametrize("decimals", [9, 1])
def test_correlations_are_scipys_with_and_without_ties(method, decimals):
    proxy, whole = noisy_pair(40, decimals=decimals)
    assert (proxy.nunique() < 20) == (decimals == 1)
    found = correlation(proxy, whole, method)
    assert found.value == pytest.approx(SCIPY[method](proxy, whole).statistic)
    assert (found.n, found.method) == (40, method)
    assert -1 <= found.low < found.value < found.high <= 1


def test_ties_by_hand():
    # Midranks 1 2.5 2.5 4 5 against 1 2 3 4 5: 9.5 / sqrt(9.5 * 10). Of 10 pairs 9 agree and 1 ties: 9 / sqrt(9 * 10).
    proxy, whole = named([0.1, 0.2, 0.2, 0.3, 0.4]), named([0.1, 0.2, 0.3, 0.4, 0.5])
    assert correlation(proxy, whole).value == pytest.approx(math.sqrt(0.95))
    assert correlation(proxy, whole, "kendall").value == pytest.approx(math.sqrt(0.9))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("method", SCIPY)
def test_diverged_networks_rank_below_all_and_tie(method):
    whole = named([0.1, 0.3, 0.2, 0.5, 0.4, 0.6])
    with_nan = correlation(named([NAN, 0.2, NAN, 0.1, 0.5, 0.6]), whole, method)
    assert with_nan == correlation(named([0.0, 0.2, 0.0, 0.1, 0.5, 0.6]), whole, method)
    assert with_nan.n == 6
    # On the other side as well.
    assert correlation(whole, named([NAN, 0.2, NAN, 0.1, 0.5, 0.6]), method).value == pytest.approx(with_nan.value)


@pytest.mark.usefixtures("quick")
def test_architectures_are_paired_by_name_whatever_their_order():
    proxy, whole = noisy_pair(30)
    expected = correlation(proxy, whole)
    assert correlation(proxy.sample(frac=1, random_state=1), whole.sample(frac=1, random_state=2)) == expected
    assert correlation(proxy.to_numpy(), whole.to_numpy()) == expected
    # Architectures of one side only are not compared.
    more = pd.concat([whole, named([0.0, 1.0, 0.5], "other")])
    assert correlation(proxy, more) == expected


def test_intervals_are_those_of_scipys_bootstrap():
    proxy, whole = noisy_pair(60)
    found = correlation(proxy, whole)
    expected = bootstrapped((proxy, whole), lambda x, y: stats.spearmanr(x, y).statistic)
    # Resamples differ: ends agree to a small part of the width.
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.15 * (expected.high - expected.low))
    assert correlation(proxy, whole) == found


def test_a_difference_is_scipys_of_one_set_of_resamples():
    proxy, whole = noisy_pair(60)
    other, _ = noisy_pair(60, noise=2.0)
    found = difference(proxy, other.sample(frac=1, random_state=1), whole[3:])

    def gap(x, y, z):
        return stats.spearmanr(x, z).statistic - stats.spearmanr(y, z).statistic

    expected = bootstrapped((proxy[3:], other[3:], whole[3:]), gap)
    assert found.value == pytest.approx(gap(proxy[3:], other[3:], whole[3:]))
    assert found.n == 57
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.15 * (expected.high - expected.low))


def test_a_difference_may_be_clear_where_intervals_overlap():
    better, whole = noisy_pair(60)
    worse = better + 0.5 * (better - whole)
    one, other, gap = correlation(better, whole), correlation(worse, whole), difference(better, worse, whole)
    assert one.low < other.high
    assert gap.low > 0
    assert difference(better, better, whole).high == 0


@pytest.mark.usefixtures("quick")
def test_a_difference_needs_architectures_that_all_have():
    proxy, whole = noisy_pair(6)
    assert str(difference(proxy[:5], proxy[1:], whole)) == "none (n=4, fewer than 5)"


@pytest.mark.usefixtures("quick")
def test_intervals_of_differences_cover_roughly_what_they_say():
    generator = np.random.default_rng(1)

    def sides(n):
        """Two proxies that share half of what leads them astray, and the whole set."""
        true, shared = generator.normal(size=n), 0.5 * generator.normal(size=n)
        noise = generator.normal(size=(3, n)) * np.array([[0.3], [0.7], [0.3]])
        return [named(side) for side in (true + shared + noise[0], true + shared + noise[1], true + noise[2])]

    better, worse, whole = sides(200_000)
    truth = stats.spearmanr(better, whole).statistic - stats.spearmanr(worse, whole).statistic
    found = [difference(*sides(40)) for _ in range(200)]
    # 99 resamples cover a little less than many.
    assert 0.87 < np.mean([one.low <= truth <= one.high for one in found]) < 0.99


@pytest.mark.usefixtures("quick")
def test_intervals_cover_roughly_what_they_say():
    rank, inside = 0.76, 0
    pearson = 2 * math.sin(math.pi * rank / 6)
    generator = np.random.default_rng(0)
    for _ in range(200):
        pairs = generator.multivariate_normal([0, 0], [[1, pearson], [pearson, 1]], size=36)
        found = correlation(*pairs.T)
        inside += found.low <= rank <= found.high
    # 99 resamples cover a little less than the 96 % of many.
    assert 0.87 < inside / 200 < 0.99


def test_intervals_narrow_with_more_architectures():
    few, many = (correlation(*noisy_pair(n)) for n in (30, 480))
    assert 2.5 < (few.high - few.low) / (many.high - many.low) < 7


@pytest.mark.parametrize("n", [0, 1, 4])
def test_too_few_architectures_have_no_correlation(n):
    proxy, whole = noisy_pair(n)
    found = correlation(proxy, whole)
    assert math.isnan(found.value)
    assert math.isnan(found.low)
    assert found.n == n
    assert str(found) == f"none (n={n}, fewer than 5)"


@pytest.mark.parametrize("method", SCIPY)
def test_a_side_that_ties_throughout_has_no_correlation(method):
    # As a proxy does on which every network diverged, or sits at chance.
    for proxy in (named([NAN] * 6), named([0.1] * 6)):
        found = correlation(proxy, noisy_pair(6)[1], method)
        assert math.isnan(found.value)
        assert str(found) == "none (n=6, all tie)"


def test_resamples_that_tie_throughout_are_left_out():
    # One resample in three holds five ties.
    found = correlation(named([0.1, 0.1, 0.1, 0.1, 0.9]), named([0.1, 0.2, 0.3, 0.4, 0.9]))
    assert 0 < found.low <= found.value <= found.high <= 1


def test_a_correlation_reads_in_one_line():
    assert str(Correlation(0.7612, 0.57, 0.8741, 36, "spearman")) == "0.76 [0.57, 0.87] n=36"
    assert str(correlation(*[named(range(9))] * 2)) == "1.00 [1.00, 1.00] n=9"


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("by", ["proxy", "whole"])
@pytest.mark.parametrize("method", SCIPY)
def test_top_k_by_either_rank(by, method):
    sides = dict(zip(("proxy", "whole"), noisy_pair(34), strict=True))
    found = top_correlations(**sides, by=by, method=method)
    # 36 are more than there are.
    assert list(found) == [30, 20, 10, 5]
    for k, result in found.items():
        top = sides[by].sort_values().index[-k:]
        expected = SCIPY[method](sides["proxy"][top], sides["whole"][top]).statistic
        assert result.value == pytest.approx(expected)
        assert (result.n, result.method) == (k, method)


@pytest.mark.usefixtures("quick")
def test_the_rank_that_selects_matters():
    # The proxy is right on its own five best, and wrong on the five best of all.
    proxy = named([1, 2, 3, 4, 5, 10, 9, 8, 7, 6])
    whole = named([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    found = {by: top_correlations(proxy, whole, by, sizes=[5, 10]) for by in ("proxy", "whole")}
    assert found["proxy"][10] == found["whole"][10] == correlation(proxy, whole)
    assert found["whole"][5].value == pytest.approx(-1)
    proxy[:] = [10, 11, 12, 13, 14, 5, 4, 3, 2, 1]
    assert top_correlations(proxy, whole, "proxy", [5])[5].value == pytest.approx(1)
    assert top_correlations(proxy, whole, "whole", [5])[5].value == pytest.approx(-1)


@pytest.mark.usefixtures("quick")
def test_all_that_tie_with_the_kth_are_in():
    proxy, whole = named([9, 8, 7, 6, 5, 5, 5, 1, NAN, NAN]), noisy_pair(10)[1]
    found = top_correlations(proxy, whole, "proxy", sizes=[4, 5, 8, 9])
    assert {k: result.n for k, result in found.items()} == {4: 4, 5: 7, 8: 8, 9: 10}
    assert found[5].value == pytest.approx(stats.spearmanr(proxy[:7], whole[:7]).statistic)


@pytest.mark.usefixtures("quick")
def test_the_noise_ceiling_is_the_correlation_of_two_replicates():
    first, second = noisy_pair(50)
    assert noise_ceiling(first, second, "kendall") == correlation(first, second, "kendall")


@pytest.mark.usefixtures("quick")
def test_an_error_free_proxy_reaches_the_root_of_the_ceiling():
    generator = np.random.default_rng(0)
    true = generator.normal(size=4000)
    first, second = (true + generator.normal(size=4000) for _ in range(2))
    pearson = stats.pearsonr(true, first).statistic
    assert pearson == pytest.approx(math.sqrt(stats.pearsonr(first, second).statistic), abs=0.03)
    rank, ceiling = correlation(true, first).value, noise_ceiling(first, second).value
    assert rank == pytest.approx(math.sqrt(ceiling), abs=0.03)


def test_the_chosen_architecture_and_its_regret():
    found = chosen(named([0.3, 0.6, 0.5]), named([0.8, 0.7, 0.75]))
    assert found.architectures == ("net001",)
    assert (found.accuracy, found.best, found.regret) == pytest.approx((0.7, 0.8, 0.1))


def test_ties_for_the_best_are_averaged():
    found = chosen(named([0.6, 0.6, 0.5]), named([0.8, 0.7, 0.75]))
    assert found.architectures == ("net000", "net001")
    assert (found.accuracy, found.regret) == pytest.approx((0.75, 0.05))


def test_choosing_with_diverged_networks():
    # On the proxy: never chosen, unless nothing else is there, and then all are.
    assert chosen(named([NAN, 0.2]), named([0.9, 0.6])).regret == pytest.approx(0.3)
    nothing = chosen(named([NAN, NAN]), named([0.9, 0.6]))
    assert (nothing.accuracy, nothing.regret) == pytest.approx((0.75, 0.15))
    # On the whole set: the chosen one's nan is kept, another's is not the best.
    lost = chosen(named([0.5, 0.2]), named([NAN, 0.6]))
    assert math.isnan(lost.accuracy)
    assert math.isnan(lost.regret)
    assert math.isnan(chosen(named([0.5, 0.5]), named([NAN, 0.6])).accuracy)
    assert chosen(named([0.5, 0.2]), named([0.6, NAN])).regret == 0


def test_a_summary_is_one_row_on_one_proxy():
    proxy, whole = noisy_pair(40)
    replicate = whole + named(np.random.default_rng(1).normal(0, 0.01, 40))
    proxy.iloc[0], proxy.iloc[1], whole.iloc[2] = NAN, 0.11, NAN
    proxy = pd.concat([proxy.iloc[:38], named([0.99], "unpaired")])
    row = ranking_summary(proxy, whole, replicate=replicate, chance=0.12)
    assert {name: row[name] for name in ("architectures", "unpaired", "diverged_proxy", "diverged_whole")} == {
        "architectures": 38,
        "unpaired": 3,
        "diverged_proxy": 1,
        "diverged_whole": 1,
    }
    paired = proxy.index[:38]
    assert row["at_chance_proxy"] == (proxy[paired] <= 0.12).sum() >= 1
    assert row["at_chance_whole"] == (whole[paired] <= 0.12).sum()
    assert row["spearman"] == correlation(proxy, whole)
    assert (row["kendall"].method, row["kendall"].n) == ("kendall", 38)
    for by in ("proxy", "whole"):
        tops = {k: row[f"top_{k}_by_{by}"] for k in TOP}
        assert tops == top_correlations(proxy, whole, by)
    # Like with like: over the architectures of the row, not over all 40.
    assert row["noise_ceiling"] == noise_ceiling(whole.iloc[:38], replicate.iloc[:38])
    choice = chosen(proxy[paired], whole[paired])
    assert [row[name] for name in ("chosen", "accuracy", "best", "regret")] == list(vars(choice).values())


@pytest.mark.usefixtures("quick")
def test_a_summary_of_a_search_that_has_just_begun():
    row = ranking_summary([0.3, 0.4], [0.5, 0.7])
    assert str(row["spearman"]) == "none (n=2, fewer than 5)"
    assert row["regret"] == 0
    assert not [name for name in row if name.startswith(("top_", "at_chance", "noise"))]


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: correlation(*noisy_pair(9), "pearson"), "'pearson' is unknown; choose spearman or kendall"),
        (lambda: top_correlations(*noisy_pair(9), "test"), "'test' is unknown; choose proxy or whole"),
        (lambda: correlation([0.1] * 6, [0.1] * 7), "arrays of 6 and 7 accuracies"),
        (lambda: correlation(named([0.1] * 6), np.ones(6)), "a series and an array cannot be paired"),
        (lambda: correlation(pd.Series([1.0, 2], ["a", "a"]), named([1])), "a is there twice: average replicates"),
        (lambda: chosen(named([0.1], "a"), named([0.1], "b")), "no architecture has both"),
        (lambda: ranking_summary(named([0.1], "a"), named([0.1], "b")), "no architecture has both"),
    ],
)
def test_errors_are_one_line(ask, words):
    with pytest.raises(ValueError, match=r"\S") as caught:
        ask()
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def crossed_pair(generator, condensers=13, replicates=3):
    """Two sides whose values are of condensers first, then of draws, and least of a memory."""
    alike = generator.normal(size=condensers)
    sides = [
        alike[:, None]
        + 0.9 * generator.normal(size=(condensers, 1))
        + 0.2 * generator.normal(size=(1, replicates))
        + 0.2 * generator.normal(size=(condensers, replicates))
        for _ in range(2)
    ]
    levels = np.indices((condensers, replicates)).reshape(2, -1)
    first = named(sides[0].ravel())
    factors = pd.DataFrame(dict(zip(("condenser", "replicate"), levels, strict=True)), index=first.index)
    return first, named(sides[1].ravel()), factors


@pytest.mark.usefixtures("quick")
def test_a_correlation_over_factors_is_scipys_and_pairs_by_name():
    one, other, factors = crossed_pair(np.random.default_rng(0))
    found = crossed(one, other.sample(frac=1, random_state=0), factors.sample(frac=1, random_state=1))
    assert found.value == pytest.approx(stats.spearmanr(one, other).statistic)
    assert found == crossed(one, other, factors)
    assert found.n == len(one)
    assert np.isnan(crossed(one[:4], other[:4], factors).value)
    with pytest.raises(ValueError, match="net000 has no levels of condenser"):
        crossed(one, other, factors[["condenser"]].iloc[1:])


@pytest.mark.usefixtures("quick")
def test_intervals_over_factors_cover_where_those_over_pairs_do_not():
    generator = np.random.default_rng(1)
    truth = np.mean([stats.spearmanr(*crossed_pair(generator, 400)[:2]).statistic for _ in range(20)])
    sets = [crossed_pair(generator) for _ in range(120)]
    over_factors = np.mean([found.low <= truth <= found.high for found in (crossed(*own) for own in sets)])
    over_pairs = np.mean([found.low <= truth <= found.high for found in (correlation(*own[:2]) for own in sets)])
    assert over_factors >= 0.92
    assert over_pairs <= 0.88


@pytest.mark.usefixtures("quick")
def test_a_factor_of_one_level_or_of_one_per_pair_changes_nothing_but_the_draws():
    one, other = noisy_pair(40, noise=2)
    factors = pd.DataFrame({"all": 0, "each": range(40)}, index=one.index)
    found, plain = crossed(one, other, factors), correlation(one, other)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.12)


def test_a_summary_row_is_flat_in_a_file():
    row = {"proxy": "dm", "kendall": Correlation(0.5, 0.1, 0.9, 36, "kendall"), "chosen": ("one", "other")}
    assert flat(row | {"regret": Interval(0.02, 0.01, 0.03, 5, "t")}) == {
        "proxy": "dm",
        "kendall": 0.5,
        "kendall_low": 0.1,
        "kendall_high": 0.9,
        "kendall_n": 36,
        "chosen": "one other",
        "regret": 0.02,
        "regret_low": 0.01,
        "regret_high": 0.03,
        "regret_n": 5,
    }
