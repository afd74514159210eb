"""Straight lines through costs: a + b x, and powers. Pure functions on arrays; what cannot be fitted says why."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from results import stats


@dataclass(frozen=True)
class Line:
    """A straight line fitted by least squares.

    Attributes:
        slope: With its two-sided 95 % interval.
        intercept: At x = 0.
        r2: Share of the (weighted) variance that the line explains.
    """

    slope: stats.Estimate
    intercept: float
    r2: float


def line(x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None) -> Line:
    """Fits y = a + b x; "not estimable" under three points, when x or y are all equal, or a value is missing.

    Args:
        x, y: Shape (n,).
        weights: Of the squared residuals, shape (n,); all alike by default.
    """
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    n = len(a)
    reason = ""
    if n < 3:
        reason = "fewer than three points"
    elif not (np.isfinite(a).all() and np.isfinite(b).all()):
        reason = "a value is missing"
    elif np.ptp(a) == 0:
        reason = "all points have the same x"
    elif np.ptp(b) == 0:
        reason = "all values are equal"
    if reason:
        return Line(stats.none(math.nan, n, reason), math.nan, math.nan)
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
    middle, mean = float(np.average(a, weights=w)), float(np.average(b, weights=w))
    sxx = float((w * (a - middle) ** 2).sum())
    slope = float((w * (a - middle) * b).sum()) / sxx
    intercept = mean - slope * middle
    rest = float((w * (b - intercept - slope * a) ** 2).sum())
    half = stats.quantile(n - 2, 1 - stats.ALPHA / 2) * math.sqrt(rest / (n - 2) / sxx)
    r2 = 1 - rest / float((w * (b - mean) ** 2).sum())
    return Line(stats.Estimate(slope, slope - half, slope + half, n), intercept, r2)


_NOT_ABOVE_ZERO = "a value is missing or not above zero"


def relative_line(x: ArrayLike, y: ArrayLike) -> Line:
    """As `line`, by the residuals' shares of y: a cost of 10 ms is missed by as few per cent as one of a second."""
    b = np.asarray(y, dtype=float)
    if not (b > 0).all():
        return Line(stats.none(math.nan, len(b), _NOT_ABOVE_ZERO), math.nan, math.nan)
    return line(x, b, 1 / b**2)


def log_line(x: ArrayLike, y: ArrayLike) -> Line:
    """As `line`, of log y against log x: the slope is the power of x that y grows with."""
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    if not ((a > 0).all() and (b > 0).all()):
        return Line(stats.none(math.nan, len(a), _NOT_ABOVE_ZERO), math.nan, math.nan)
    return line(np.log(a), np.log(b))
