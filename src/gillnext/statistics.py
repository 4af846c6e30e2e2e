"""Means and intervals: Student's t over training seeds, which are the unit of replication; bootstrap over images.

Letters: S seeds, N images, B resamples; in `components` B groups, A in each, K values in those.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gillnext.runtime import seeds

LEVEL = 0.95
RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` seeds with the half width of its 95% interval (None where n < 2)."""

    mean: float
    half: float | None
    n: int

    @property
    def low(self) -> float:
        return self.mean - self.half if self.half is not None else -math.inf

    @property
    def high(self) -> float:
        return self.mean + self.half if self.half is not None else math.inf

    def excludes(self, value: float) -> bool:
        """Whether the interval is known and does not hold `value`."""
        return self.half is not None and not self.low <= value <= self.high


@functools.cache
def quantile(freedom: int, level: float = LEVEL) -> float:
    """Student's t((1 + level)/2): how many deviations half an interval of that level is wide."""
    from scipy import special  # takes longer than most of what needs no interval

    return float(special.stdtrit(freedom, 0.5 + level / 2))


def estimate(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Mean and half width t((1 + level)/2, n − 1)·s/√n of a list of seeds' values (at least one)."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return Estimate(mean, None, n)
    known = spread([values])
    return Estimate(mean, quantile(known.freedom, level) * known.deviation / math.sqrt(n), n)


def differences(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """first − second, seed by seed; the lists must be of one length."""
    return [a - b for a, b in zip(first, second, strict=True)]


def paired(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """The estimate of the differences first − second, seed by seed; the lists must be of one length."""
    return estimate(differences(first, second))


@dataclass(frozen=True)
class Ratio:
    """How many times as large: a ratio of geometric means with the ends of its 95% interval (0 and ∞ where none is
    known).
    """

    value: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        return self.high < math.inf


def _logs(values: Sequence[float]) -> list[float]:
    return [math.log(value) for value in values]


def paired_ratio(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """first / second, seed by seed: the t interval of the logarithms' differences. All values must be above 0."""
    found = paired(_logs(first), _logs(second))
    return Ratio(math.exp(found.mean), math.exp(found.low), math.exp(found.high))


def ratio(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """first / second of two independent lists of values above 0: Welch's interval of their logarithms, by SciPy."""
    from scipy.stats import ttest_ind

    mean = estimate(_logs(first)).mean - estimate(_logs(second)).mean
    if min(len(first), len(second)) < 2:
        return Ratio(math.exp(mean), 0.0, math.inf)
    ends = ttest_ind(_logs(first), _logs(second), equal_var=False).confidence_interval(LEVEL)
    return Ratio(math.exp(mean), math.exp(ends.low), math.exp(ends.high))


def wilson(share: float, n: int) -> list[float]:
    """The 95% interval of a share of `n` things, each counted right or wrong (Wilson 1927, by SciPy): [low, high]."""
    from scipy.stats import binomtest  # takes as long as the rest of this module's imports together

    ends = binomtest(round(share * n), n).proportion_ci(method="wilson")
    return [round(float(end), 6) for end in ends]


@dataclass(frozen=True)
class Spread:
    """A standard deviation over seeds or runs, and the degrees of freedom that it is known with (0: not known)."""

    deviation: float
    freedom: int


def spread(groups: Iterable[Sequence[float]]) -> Spread:
    """The pooled standard deviation within groups of values; groups of one add nothing."""
    squares, freedom = 0.0, 0
    for values in groups:
        mean = math.fsum(values) / len(values)
        squares += math.fsum((v - mean) ** 2 for v in values)
        freedom += len(values) - 1
    return Spread(math.sqrt(squares / freedom) if freedom else 0.0, freedom)


@dataclass(frozen=True)
class Component:
    """The standard deviation that one source adds, with the ends of its 95% interval, and its degrees of freedom."""

    deviation: float
    low: float
    high: float
    freedom: int


def components(values_BAK: np.ndarray, sources: Sequence[str]) -> dict[str, Component]:
    """The variance components of a balanced nested design, by the names in `sources`: of B groups, of A subgroups in
    each, and of K values in each subgroup. A source with one member in every group is left out: its variance cannot be
    told from that of the source above it.

    Analysis of variance (Searle, Casella & McCulloch 1992). The σ² of the lowest source is its mean square. That of a
    source above is (its mean square − the one below) / (the number of values in each of its means), or 0 where that is
    negative. Intervals: by χ² for the lowest source, Tukey's and Williams' for the others (Boardman 1974).
    """
    from scipy import stats

    B, A, K = values_BAK.shape
    means_BA, means_B = values_BAK.mean(2), values_BAK.mean((1, 2))
    parts = (
        (means_B - values_BAK.mean(), A * K, B - 1),
        (means_BA - means_B[:, None], K, B * (A - 1)),
        (values_BAK - means_BA[..., None], 1, B * A * (K - 1)),
    )
    squares = {
        source: (each * float((apart**2).sum()) / freedom, each, freedom)
        for source, (apart, each, freedom) in zip(sources, parts, strict=True) if freedom
    }  # fmt: skip
    found, known = {}, list(squares.values())
    for (source, (square, each, freedom)), below in zip(squares.items(), [*known[1:], None], strict=True):
        tails = np.array([0.5 + LEVEL / 2, 0.5 - LEVEL / 2])
        under = below[0] if below is not None else 0.0
        least = under * (stats.f.ppf(tails, freedom, below[2]) if below is not None else 1.0)
        ends = freedom * (square - least) / stats.chi2.ppf(tails, freedom)
        deviation, low, high = np.sqrt(np.maximum([square - under, *ends], 0.0) / each)
        found[source] = Component(float(deviation), float(low), float(high), freedom)
    return found


def resamples(images: int, *names: str | int) -> np.ndarray:
    """How often each of `RESAMPLES` resamples draws each of (N,) images, (B, N); `names` seed the draw."""
    draws_BN = seeds.rng("bootstrap", *names).integers(images, size=(RESAMPLES, images))
    return np.stack([np.bincount(draw, minlength=images) for draw in draws_BN]).astype(np.float64)


def _ends(means_B: np.ndarray) -> tuple[float, float]:
    low, high = np.nanquantile(means_B, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def interval(weights_BN: np.ndarray, sums_N: np.ndarray, counts_N: np.ndarray) -> tuple[float, float]:
    """The 95% percentile interval of sum/count over resamples; those that draw none of what is counted are left out."""
    with np.errstate(invalid="ignore"):
        return _ends((weights_BN @ sums_N) / (weights_BN @ counts_N))


def bootstrap(sums_SN: np.ndarray, counts_N: np.ndarray, *names: str | int) -> tuple[float, float]:
    """The image-level 95% percentile interval of the mean over seeds of sum/count, over resampled images.

    `sums_SN`: per seed and image the sum of a box score; `counts_N`: boxes of an image. Every resample
    draws the same images for all seeds. `names` seed the draw."""
    weights_BN = resamples(counts_N.shape[0], *names)
    return _ends((weights_BN @ sums_SN.T.astype(np.float64)).mean(1) / (weights_BN @ counts_N))
