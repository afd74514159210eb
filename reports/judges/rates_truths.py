"""Made-up searches for learning rates whose answer is known: for the planted truths of `transfers`."""

from collections.abc import Callable, Sequence

import numpy as np

from reports.finding import Finding
from reports.judges.transfers import transfers
from results.search import Net

DEPTHS, RATES = (18, 66, 258), (0.001, 0.01, 0.1, 1.0)


def searched(errors: Sequence[Sequence[float]], spread: float, seeds: int) -> Callable[[np.random.Generator], Finding]:
    """Judges searches whose mean training errors are these, a row a depth of `DEPTHS` and a column a rate of `RATES`.

    Args:
        errors: In 0..1; losses go with them.
        spread: Standard deviation between seeds, as a fraction.
        seeds: Of each net.
    """

    def draw(rng: np.random.Generator) -> Finding:
        arm = []
        for depth, means in zip(DEPTHS, errors, strict=True):
            found = np.clip(rng.normal(means, spread, (seeds, len(RATES))), 0.0, 1.0)
            places = tuple(range(100, 100 + seeds))
            arm.append(Net("planted", "resnet", depth, (), places, RATES, 2.5 * found, found, 1 / 1437))
        return transfers(arm)

    return draw
