"""Variances of few seeds, shrunk towards what the cells beside them have in common: moderated t.

With three seeds a variance has two degrees of freedom, and a bound is wide by its luck. The cells of a ladder lend each
other theirs, as far as they are alike; where they are not, little is lent. Source: G. K. Smyth, Linear models and
empirical Bayes methods, Statistical Applications in Genetics and Molecular Biology 3, 2004, section 6.2; that the
freedom is at most that of all cells together is his limma's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

# Of two variances, nothing says how alike they are.
LEAST_CELLS = 3


@dataclass(frozen=True)
class Prior:
    """What the cells have in common.

    Attributes:
        variance: The typical one.
        freedom: Degrees of freedom that it is worth; infinite where the cells differ by no more than luck.
        most: Degrees of freedom of all cells together.
    """

    variance: float
    freedom: float
    most: float


def prior(variances: Sequence[float], freedom: int, shared: float = 0.0) -> Prior | None:
    """The prior of these cells; None where they are too few.

    Args:
        variances: One a cell, each above zero.
        freedom: Degrees of freedom of each: seeds minus one.
        shared: Correlation of two cells, 0..1: cells that are measured against one and the same share its luck, and
            their variances are, by its square, one and the same.
    """
    from scipy.optimize import brentq

    if len(variances) < LEAST_CELLS or freedom < 1:
        return None
    half = freedom / 2
    logs = np.log(np.asarray(variances, dtype=float)) - special.digamma(half) + math.log(half)
    excess = float(logs.var(ddof=1)) - float(special.polygamma(1, half))
    most = freedom * len(variances) / (1 + (len(variances) - 1) * shared**2)
    if excess <= 0:
        return Prior(math.exp(float(logs.mean())), math.inf, most)
    # 1/x < trigamma(x) < 1/x + 1/x^2 holds the root between these two.
    least, most_worth = 1 / excess, (1 + math.sqrt(1 + 4 * excess)) / (2 * excess)
    worth = float(brentq(lambda x: float(special.polygamma(1, x)) - excess, least, most_worth, rtol=1e-9))
    shift = float(special.digamma(worth)) - math.log(worth)
    return Prior(math.exp(float(logs.mean()) + shift), 2 * worth, most)


def moderated(variance: float, freedom: float, found: Prior | None) -> tuple[float, float]:
    """Variance of a cell and its degrees of freedom, moderated; its own where that is larger, or there is no prior."""
    if found is None:
        return variance, freedom
    if math.isinf(found.freedom):
        shrunk = found.variance
    else:
        shrunk = (found.freedom * found.variance + freedom * variance) / (found.freedom + freedom)
    # Never below what the cell itself shows: a cell that spreads more than the others is not talked down.
    return (shrunk, min(found.freedom + freedom, found.most)) if shrunk > variance else (variance, freedom)
