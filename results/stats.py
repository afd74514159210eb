"""Intervals, differences and trends: pure functions on arrays, scipy underneath.

What cannot be estimated (one value, all equal, missing) comes back as NaN with the reason in words: never an
exception, never a zero. No frames, no verdicts.
"""

import functools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from results.moderated import Prior, moderated

# Conventional; fixed before any run: of a verdict over all its looks, and of two-sided intervals.
ALPHA = 0.05

# At how many seeds a verdict is looked for, and the one-sided level of each look. By n of 8 seeds it has spent
# ALPHA * ln(1 + (e - 1) * n / 8): the Pocock-type function of K. K. G. Lan and D. L. DeMets, Discrete sequential
# boundaries for clinical trials, Biometrika 1983. The levels are those of t statistics. Of normal ones they would be
# 0.0249, 0.0207 and 0.0248, which spend 0.055 with t: the spread is estimated anew, so looks agree less.
LOOKS = {3: 0.0248, 5: 0.0173, 8: 0.0208}


def look(seeds: int) -> int:
    """The last look that so many seeds reach; their own number where they reach none."""
    return max((at for at in LOOKS if at <= seeds), default=seeds)


def level(seeds: int) -> float:
    """One-sided level of a test on so many seeds: that of their look; before the first, a look of its own."""
    return LOOKS.get(look(seeds), ALPHA)


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: The estimate; NaN when there is none.
        low, high: Its interval; NaN when it cannot be estimated.
        n: Values that it rests on.
        reason: Why there is no interval; empty when there is one.
    """

    value: float
    low: float
    high: float
    n: int
    reason: str = ""

    @property
    def estimable(self) -> bool:
        """Whether there is an interval."""
        return not self.reason


def none(value: float, n: int, reason: str) -> Estimate:
    """A value without an interval."""
    return Estimate(value, math.nan, math.nan, n, reason)


def _unfit(values: NDArray[np.float64], resolution: float) -> str:
    """Why a spread cannot be estimated from these values; empty when it can."""
    if len(values) == 0:
        return "no values"
    if not np.isfinite(values).all():
        return "a value is missing"
    if len(values) == 1:
        return "one value only"
    if not resolution > 0 and np.ptp(values) == 0:
        return "all values are equal"
    return ""


def _error_of_mean(
    spread: float, n: int, sampling: float, level: float, freedom: float = math.nan
) -> tuple[float, float]:
    """Standard error of a mean whose variance is `spread` / n, estimated, plus `sampling`, known; and its freedom.

    Degrees of freedom after Welch and Satterthwaite: the known part has infinitely many; `spread` has n - 1 of them, or
    those that are given. With few seeds the freedom gained may outweigh the variance added: then the seeds stand alone,
    since an interval must not be narrower for what is added to it.
    """
    seeds = spread / n
    total = seeds + sampling
    own = n - 1 if math.isnan(freedom) else freedom
    both = math.sqrt(total), (own * (total / seeds) ** 2 if seeds > 0 else math.inf)
    return max(both, (math.sqrt(seeds), own), key=lambda pair: quantile(pair[1], level) * pair[0])


def _interval(mean: float, spread: float, n: int, sampling: float, level: float) -> Estimate:
    error, freedom = _error_of_mean(spread, n, sampling, level)
    half = quantile(freedom, level) * error
    return Estimate(mean, mean - half, mean + half, n)


def quantile(freedom: float, level: float) -> float:
    """Of Student's t."""
    # Beyond a million the t quantile is the normal one to six digits, and stdtrit takes no infinity.
    return float(special.ndtri(level)) if freedom > 1e6 else float(special.stdtrit(freedom, level))


def sampling_variance(error: float, images: float) -> float:
    """Variance of an error rate measured on so many images, after Agresti and Coull (1998): two hits and misses added.

    Args:
        error: Fraction in 0..1.
        images: Number of test images; NaN or zero adds nothing.
    """
    if not images > 0 or not math.isfinite(error):
        return 0.0
    share = (error * images + 2) / (images + 4)
    return share * (1 - share) / images


def mean_interval(values: ArrayLike, images: float = math.nan, resolution: float = 0.0) -> Estimate:
    """Mean over seeds with its two-sided 95 % interval.

    Args:
        values: One value per seed, shape (n,).
        images: Test images behind each value: adds the sampling of the test set.
        resolution: Smallest step of the measurement; seeds that agree within it are taken to spread as rounding does.

    Returns:
        The estimate; "not estimable" with one value, a missing one, or (without a resolution) all equal.
    """
    data = np.asarray(values, dtype=float)
    n, reason = len(data), _unfit(np.asarray(values, dtype=float), resolution)
    mean = float(data.mean()) if n else math.nan
    if reason:
        return none(mean, n, reason)
    spread = max(float(data.var(ddof=1)), resolution**2 / 12)
    return _interval(mean, spread, n, sampling_variance(mean, images), 1 - ALPHA / 2)


def bounds(values: ArrayLike, resolution: float = 0.0) -> Estimate:
    """Mean over seeds with one-sided bounds, each at the `level` of these seeds."""
    data = np.asarray(values, dtype=float)
    n, reason = len(data), _unfit(data, resolution)
    mean = float(data.mean()) if n else math.nan
    if reason:
        return none(mean, n, reason)
    return _interval(mean, max(float(data.var(ddof=1)), resolution**2 / 12), n, 0.0, 1 - level(n))


@dataclass(frozen=True)
class Difference(Estimate):
    """As `Estimate`, with one-sided bounds, each at the `level` of these seeds.

    Attributes:
        error: Standard error of the mean difference.
        freedom: Its degrees of freedom.
    """

    error: float = math.nan
    freedom: float = math.nan

    def p_above(self, margin: float) -> float:
        """p of "at most `margin`" against "above it"; NaN where nothing can be estimated."""
        if not self.estimable:
            return math.nan
        t = (self.value - margin) / self.error
        return float(special.ndtr(-t)) if self.freedom > 1e6 else float(special.stdtr(self.freedom, -t))


def variances_apart(apart: NDArray[np.float64], resolution: float = 0.0) -> list[float]:
    """Variance over seeds of each column of paired differences; at least that of rounding on both sides.

    Args:
        apart: Shape (seeds, columns).
        resolution: Smallest step of each of the two sides.
    """
    return [max(float(value), 2 * resolution**2 / 12) for value in apart.var(axis=0, ddof=1)]


def difference(
    treated: ArrayLike,
    reference: ArrayLike,
    images: float = math.nan,
    resolution: float = 0.0,
    beside: Prior | None = None,
) -> Difference:
    """Mean of the paired differences `treated - reference`.

    Args:
        treated: One value per seed, shape (n,).
        reference: The same seeds in the same order, shape (n,).
        images: Test images behind each value. Both sides' sampling is added as if independent, which is
            too careful when both nets are tested on the same images and fail on the same ones.
        resolution: As in `mean_interval`, of each of the two sides.
        beside: What the differences beside this one spread like, to moderate its variance by.
    """
    a, b = np.asarray(treated, dtype=float), np.asarray(reference, dtype=float)
    nan = math.nan
    if a.shape != b.shape:
        return Difference(nan, nan, nan, 0, "the seeds do not pair")
    apart = a - b
    n, reason = len(apart), _unfit(apart, resolution)
    mean = float(apart.mean()) if n else nan
    if reason:
        return Difference(mean, nan, nan, n, reason)
    spread, known = moderated(variances_apart(apart[:, None], resolution)[0], n - 1, beside)
    sampling = sampling_variance(float(a.mean()), images) + sampling_variance(float(b.mean()), images)
    error, freedom = _error_of_mean(spread, n, sampling, 1 - level(n), known)
    half = quantile(freedom, 1 - level(n)) * error
    return Difference(mean, mean - half, mean + half, n, "", error, freedom)


@dataclass(frozen=True)
class Trend:
    """Result of a trend test: p of "no trend" against "rises", blocks n, and why there is none."""

    p: float
    n: int
    reason: str = ""


def rising(blocks: ArrayLike, alike: float = 0.0) -> Trend:
    """Page's test that the columns rise from left to right, rows as blocks; ties share the mean rank.

    Values of a row that differ by no more than `alike` tie. That is asked of each pair: on a grid of such steps, equal
    values could fall on either side of an edge, and their noise would decide.

    p is the exact one over all orders of the ranks as they are, ties included (of up to `MOST_ORDERED` columns; beyond,
    scipy's normal one): three seeds whose only net that trains is the shallowest of three have p = 1/27, where scipy,
    whose ranks have no ties, says 0.09.

    Args:
        blocks: Shape (seeds, depths), depths in rising order. Failures must already hold the worst value.
        alike: In the unit of the values.

    Source: E. B. Page, Ordered hypotheses for multiple treatments, JASA 1963; `scipy.stats.page_trend_test`.
    """
    from scipy.stats import page_trend_test

    data = np.asarray(blocks, dtype=float)
    n = data.shape[0] if data.ndim == 2 else 0
    if data.ndim != 2 or n < 2:
        return Trend(math.nan, n, "fewer than two seeds")
    if data.shape[1] < 3:
        return Trend(math.nan, n, "fewer than three depths")
    if not np.isfinite(data).all():
        return Trend(math.nan, n, "a value is missing")
    if (np.ptp(data, axis=1) == 0).all():
        return Trend(math.nan, n, "all values are equal")
    apart = data[:, :, None] - data[:, None, :]
    # Doubled, so that they are whole numbers: a tie adds one half to each of the two.
    ranks = data.shape[1] + 1 + (apart > alike).sum(axis=2) - (apart < -alike).sum(axis=2)
    if data.shape[1] > MOST_ORDERED:
        return Trend(float(page_trend_test(ranks).pvalue), n)
    total = int((ranks * np.arange(1, data.shape[1] + 1)).sum())
    null = np.ones(1)
    for row in np.sort(ranks, axis=1).tolist():
        null = np.convolve(null, _null_of_block(tuple(row)))
    return Trend(min(1.0, float(null[total:].sum())), n)


# 2^12 sets of ranks already given out: still a moment.
MOST_ORDERED = 12


@functools.cache
def _null_of_block(ranks: tuple[int, ...]) -> NDArray[np.float64]:
    """The chance of each value of a block's share of Page's L (doubled: whole numbers), over all orders of its ranks.

    Column by column: the ways to each value depend on which ranks are used up, not on their order.
    """
    counts = Counter(ranks)
    kinds = tuple(counts)
    size = sum(rank * column for column, rank in enumerate(sorted(ranks), start=1)) + 1
    ways: dict[tuple[int, ...], NDArray[np.float64]] = {tuple(counts.values()): np.eye(1, size)[0]}
    for column in range(1, len(ranks) + 1):
        after: dict[tuple[int, ...], NDArray[np.float64]] = {}
        for left, here in ways.items():
            for i, rank in enumerate(kinds):
                if left[i]:
                    rest = (*left[:i], left[i] - 1, *left[i + 1 :])
                    moved = np.zeros(size)
                    moved[rank * column :] = here[: size - rank * column]
                    after[rest] = after.get(rest, 0.0) + left[i] * moved
        ways = after
    (total,) = ways.values()
    share: NDArray[np.float64] = total / total.sum()
    return share


def holm(p: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given; NaN stays NaN and is not counted.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    order = sorted((i for i, value in enumerate(p) if math.isfinite(value)), key=lambda i: p[i])
    adjusted = [math.nan] * len(p)
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p[i]))
        adjusted[i] = highest
    return adjusted


def most_failing(failed: int, n: int) -> float:
    """The highest failure rate that so many failures of `n` seeds leave open: one-sided 95 % bound, 1.0 if all failed.

    Source: C. J. Clopper and E. S. Pearson, Biometrika 1934.
    """
    return 1.0 if failed >= n else float(special.betaincinv(failed + 1, n - failed, 1 - ALPHA))


def visible_difference(seeds: int, spread: float) -> float:
    """The smallest margin that a paired one-sided test at the look of so many seeds clears, when nothing differs.

    Args:
        seeds: Pairs.
        spread: Standard deviation of one net's error between seeds; that of a difference is sqrt(2) times it.

    Returns:
        The margin, cleared with probability 0.9, in the unit of `spread`; NaN with fewer than two seeds.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct

    seeds = look(seeds)
    if seeds < 2 or not spread > 0:
        return math.nan
    bar = quantile(seeds - 1, 1 - level(seeds))
    shift = brentq(lambda ncp: float(nct.sf(bar, seeds - 1, ncp)) - 0.9, 0.0, 1000.0)
    return float(shift) * spread * math.sqrt(2 / seeds)
