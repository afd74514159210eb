"""The best learning rate of one net, out of what a search tried: by training loss, never by an error that is judged.

Pure: what was tried goes in, the best rate comes out, or the rate to try next. No torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

# A net whose training error is this share of chance or more trains nothing. Assumed: it tells 86 % from 90 %.
NOTHING = 0.95
# Nobody trains beyond these: a net that ends at the lowest is trained by nothing there.
LEAST, MOST = 1e-5, 100.0
# How far beyond a grid of one rate the next one is.
USUAL_STEP = math.sqrt(10)
# And at least, so that rates of two digits always go on.
LEAST_STEP = 1.25


@dataclass(frozen=True)
class Tried:
    """One rate, tried on the search's seeds.

    Attributes:
        lr: The rate.
        losses: Training loss at the end, one a seed; infinite where the seed diverged or failed.
        errors: Training error likewise, in 0..1. Finite with an infinite loss: the net ended, and its outputs overflow.
    """

    lr: float
    losses: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def loss(self) -> float:
        """Mean over the seeds; infinite where one of them diverged: no rate is good that fails one in so few."""
        mean = math.fsum(self.losses) / len(self.losses)
        return mean if math.isfinite(mean) else math.inf

    @property
    def error(self) -> float:
        """Mean over the seeds; infinite where one of them diverged."""
        return math.fsum(self.errors) / len(self.errors)

    def learns(self, chance: float) -> bool:
        """Whether the mean error is clearly under that of chance; where a seed diverged, that is not known: True."""
        return not self.error >= NOTHING * chance if math.isfinite(self.error) else True


@dataclass(frozen=True)
class Best:
    """What a search found for a net.

    Attributes:
        lr: The best rate, of two significant digits; where no rate has a loss, the lowest.
        state: "inside" the grid; "higher" or "lower", the best may be beyond it; "untrained": no rate tried trains the
            net, down to `LEAST`, where it ends and guesses; "hopeless": it diverges at every rate, down to there.
        next: The rate that would extend the grid; None where nothing is left to try.
    """

    lr: float
    state: Literal["inside", "higher", "lower", "untrained", "hopeless"]
    next: float | None = None


def best(tried: Sequence[Tried], chance: float) -> Best:
    """The rate with the lowest mean training loss: a parabola in log rate through it and its neighbours.

    Where a neighbour diverged there is no parabola, and the best of the rates tried stands. A net that guesses at the
    rate of the lowest loss has no best rate: losses of guesses differ by luck, or overflow, so lower rates are tried
    whatever they are.

    Args:
        tried: At least one; in any order, each rate once.
        chance: Training error of guessing, 1 - 1 / classes.
    """
    grid = sorted(tried, key=lambda each: each.lr)
    losses = [each.loss for each in grid]
    i = losses.index(min(losses))
    if i == len(grid) - 1 and math.isfinite(losses[i]):
        return _beyond(grid[i].lr, "higher", grid)
    learns = math.isfinite(losses[i]) and grid[i].learns(chance)
    # A lower rate at which it diverged bounds nothing: still lower ones may do better.
    if not (learns and any(map(math.isfinite, losses[:i]))):
        # One of 66 plain layers guesses from 0.1 down to 0.003, and begins to learn at 0.001.
        found = _beyond(grid[i].lr, "lower", grid)
        if learns or found.next:
            return found
        if not any(math.isfinite(each.error) for each in grid):
            return Best(grid[i].lr, "hopeless")
        return found if grid[0].learns(chance) else Best(grid[i].lr, "untrained")
    near = grid[i - 1 : i + 2]
    if not all(math.isfinite(each.loss) for each in near):
        return Best(grid[i].lr, "inside")
    return Best(rounded(math.exp(_vertex([(math.log(each.lr), each.loss) for each in near]))), "inside")


def _vertex(points: Sequence[tuple[float, float]]) -> float:
    """Where the parabola through three points has its lowest value; the middle one is none above its neighbours."""
    (x0, y0), (x1, y1), (x2, y2) = points
    left, right = (x1 - x0) * (y2 - y1), (x2 - x1) * (y1 - y0)
    bend = left - right
    if not bend > 0:
        return x1
    return 0.5 * ((x0 + x1) * left - (x1 + x2) * right) / bend


def _beyond(lr: float, side: Literal["higher", "lower"], grid: Sequence[Tried]) -> Best:
    """The best may be beyond an edge: extends the grid by its own step there."""
    ends = grid[-2:] if side == "higher" else grid[:2]
    step = max(LEAST_STEP, ends[1].lr / ends[0].lr) if len(ends) > 1 else USUAL_STEP
    following = rounded(grid[-1].lr * step if side == "higher" else grid[0].lr / step)
    return Best(lr, side, following if LEAST <= following <= MOST else None)


def rounded(lr: float) -> float:
    """A rate of two significant digits: no search of a few seeds knows it better."""
    return float(f"{lr:.2g}")
