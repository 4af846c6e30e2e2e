"""Intervals against scipy, and the bootstrap against the normal approximation."""

import math

import numpy as np
import pytest
from scipy import stats

from gillnext.runtime import seeds
from gillnext.statistics import RESAMPLES, bootstrap, estimate, paired, paired_ratio, ratio


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_t_interval_equals_scipys(n):
    values = np.random.default_rng(n).normal(3, 2, n).tolist()
    low, high = stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=stats.sem(values))
    found = estimate(values)
    assert found.n == n
    assert (found.low, found.high) == pytest.approx((low, high))


def test_one_seed_has_no_interval():
    found = estimate([0.7])
    assert found.half is None and found.low == -math.inf and not found.excludes(0.0)


def test_paired_differences_equal_scipys_paired_test():
    first, second = [0.91, 0.88, 0.93, 0.90], [0.86, 0.87, 0.88, 0.84]
    interval = stats.ttest_rel(first, second).confidence_interval(0.95)
    found = paired(first, second)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.excludes(0.0)


def test_a_paired_ratio_is_the_t_test_of_logarithms():
    first, second = [2.1, 2.4, 2.2], [1.0, 1.1, 0.9]
    interval = stats.ttest_rel(np.log(first), np.log(second)).confidence_interval(0.95)
    found = paired_ratio(first, second)
    assert found.value == pytest.approx(stats.gmean(first) / stats.gmean(second))
    assert (found.low, found.high) == pytest.approx((math.exp(interval.low), math.exp(interval.high)))


def test_a_ratio_of_independent_values_has_welchs_interval():
    """Its degrees of freedom by Satterthwaite's formula."""
    first, second = np.array([30.0, 31, 29, 30.5]), np.array([10.0, 11.0])
    (a, va), (b, vb) = ((x.mean(), x.var(ddof=1) / len(x)) for x in map(np.log, (first, second)))
    freedom = (va + vb) ** 2 / (va**2 / 3 + vb**2 / 1)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(va + vb)
    found = ratio(first.tolist(), second.tolist())
    assert (found.value, found.low, found.high) == pytest.approx(tuple(np.exp([a - b, a - b - half, a - b + half])))


@pytest.mark.parametrize("made", [ratio, paired_ratio])
def test_a_ratio_of_single_values_has_no_interval(made):
    found = made([6.0], [2.0])
    assert found.value == pytest.approx(3) and (found.low, found.high) == (0, math.inf) and not found.known


def test_paired_lists_of_two_lengths_are_refused():
    with pytest.raises(ValueError):
        paired([1.0, 2.0], [1.0])


def test_bootstrap_is_near_the_normal_interval_of_a_proportion():
    hits = np.random.default_rng(0).binomial(1, 0.7, (1, 600))
    low, high = bootstrap(hits, np.ones(600), "arm")
    mean, error = hits.mean(), math.sqrt(hits.mean() * (1 - hits.mean()) / 600)
    # 1,000 resamples: the ends are known to about a tenth of the standard error.
    assert (low, high) == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=0.3 * error)
    assert (low, high) == bootstrap(hits, np.ones(600), "arm")


def test_bootstrap_divides_by_the_boxes_of_the_pictures_that_were_drawn():
    """Pictures of one to four boxes, two seeds: against a loop over the same draws."""
    rng = np.random.default_rng(2)
    boxes = rng.integers(1, 5, 40)
    hits = rng.binomial(boxes, 0.7, (2, 40))
    means = [
        np.mean([hits[seed][draw].sum() / boxes[draw].sum() for seed in range(2)])
        for draw in seeds.rng("bootstrap", "arm").integers(40, size=(RESAMPLES, 40))
    ]
    assert bootstrap(hits, boxes, "arm") == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
