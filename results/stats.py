"""Intervals, differences and trends: pure functions on arrays, scipy underneath.

What cannot be estimated (one value, all equal, missing) comes back as NaN with the reason in words: never an
exception, never a zero. No frames, no verdicts.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

CONFIDENCE = 0.95


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


def mean_interval(values: np.ndarray, confidence: float = CONFIDENCE, images: float = math.nan) -> Estimate:
    """Mean and two-sided t interval over seeds.

    Args:
        values: One value a seed, shape (n,).
        confidence: Of the two-sided interval.
        images: Test images that each value was measured on; adds the sampling of the test set.

    Returns:
        The estimate; "not estimable" with one value, a missing one, or values that are all equal.
    """
    values = np.asarray(values, dtype=float)
    n = len(values)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0, "no values")
    mean = float(values.mean())
    if n == 1:
        return Estimate(mean, math.nan, math.nan, 1, "one value only")
    if not np.isfinite(values).all():
        return Estimate(math.nan, math.nan, math.nan, n, "a value is missing")
    if np.ptp(values) == 0:
        return Estimate(mean, math.nan, math.nan, n, "all values are equal")
    half = float(special.stdtrit(n - 1, 0.5 + confidence / 2)) * float(values.std(ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)
