"""Whether a net has converged: would more steps of the same kind change the picture?

By running training errors, not by losses: at 1 % error a loss may halve in every epoch and change no verdict, and at
80 % it may stand still by the schedule alone. No frames, no verdicts.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]

CONVERGED, NOT_CONVERGED, UNSTABLE = "converged", "not converged", "unstable"

# More than the spread between seeds (0.14 to 0.5 points, docs/published-results.md, 1g) and the sampling of 360 test
# images (0.9 points), less than any effect that the claims are about (5 to 80 points).
MARGIN = 0.02
# A fall of the running error in one epoch under which it is level.
LEVEL = MARGIN / 2
# Under this share of the peak learning rate the schedule brings the steps to a halt: a level error shows nothing there.
LEAST_RATE = 0.1
# So far above its own best epoch a seed may end.
MOST_ABOVE_BEST = MARGIN


@dataclass(frozen=True)
class Ending:
    """How one training ended, from its epochs; NaN where they are too few to tell. Errors are fractions in 0..1.

    Attributes:
        fall_working: Fall of the running error in the last epoch that ends at `LEAST_RATE` of the peak rate or more.
        fall_last: Fall of the running error in the last epoch.
        above_best: The last epoch's running error above the best epoch's.
    """

    fall_working: float = float("nan")
    fall_last: float = float("nan")
    above_best: float = float("nan")


def ending(errors: ArrayLike, rates: ArrayLike, peak: float) -> Ending:
    """The ending of one training.

    Args:
        errors: Running training error of each epoch, shape (epochs,).
        rates: Learning rate of each epoch's last step, shape (epochs,).
        peak: Peak learning rate.
    """
    error, rate = np.asarray(errors, dtype=float), np.asarray(rates, dtype=float)
    if len(error) < 2:
        return Ending()
    falls = np.append(np.nan, error[:-1] - error[1:])
    # The schedule's rounding must not decide where it passes through exactly a tenth.
    working = np.flatnonzero(rate >= LEAST_RATE * peak * (1 - 1e-9))
    fall = float(falls[working[-1]]) if len(working) else float("nan")
    return Ending(fall, float(falls[-1]), float(error[-1] - error.min()))


def convergence(status: Any, working: Numbers, last: Numbers, above: Numbers) -> str:
    """Whether the seeds of a cell have converged: "converged", "not converged" or "unstable".

    Converged: the mean of the running errors over the seeds fell by less than `LEVEL` in both epochs of `Ending`, and
    no seed ends more than `MOST_ABOVE_BEST` above its best epoch (else unstable). Seeds that diverged have converged,
    in their way: the others are looked at. Not converged where a trial broke off, or where epochs are too few to tell.

    Args:
        status: Of each seed.
        working, last, above: Of each seed, as in `Ending`.
    """
    ok = status == "ok"
    if not (ok | (status == "diverged")).all():
        return NOT_CONVERGED
    if not ok.any():
        return CONVERGED
    if (above[ok] > MOST_ABOVE_BEST).any():
        return UNSTABLE
    # A NaN is no level error.
    level = working[ok].mean() < LEVEL and last[ok].mean() < LEVEL
    return CONVERGED if level else NOT_CONVERGED
