"""Made-up searches for learning rates whose answer is known: for the planted truths of `transfers`, and of `badly`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reports.finding import Finding
from reports.judges import rules
from reports.judges.draws import NOISY, Draw, ladder, means, noisy
from reports.judges.ladders import Tried
from reports.judges.transfers import transfers
from results.search import Net, said_by

DEPTHS, RATES = (18, 66, 258), (0.001, 0.01, 0.1, 1.0)


def searched(errors: Sequence[Sequence[float]], spread: float, seeds: int) -> Draw:
    """Judges searches whose mean training errors are these, a row a depth of `DEPTHS` and a column a rate of `RATES`.

    Args:
        errors: In 0..1; losses go with them.
        spread: Standard deviation between seeds, as a fraction.
        seeds: Of each net.
    """

    def draw(rng: np.random.Generator) -> Finding:
        arm = []
        for depth, expected in zip(DEPTHS, errors, strict=True):
            found = np.clip(rng.normal(expected, spread, (seeds, len(RATES))), 0.0, 1.0)
            places = tuple(range(100, 100 + seeds))
            arm.append(Net("planted", "resnet", depth, (), places, RATES, 2.5 * found, found, 1 / 1437))
        return transfers(arm)

    return draw


def guessing(rates: Sequence[float], ends: Sequence[bool]) -> Draw:
    """Judges no harm where the deepest net of a thorough study guesses at some rates and diverges at the others.

    Args:
        rates: Rising.
        ends: At which of them it ends, with a loss that differs between rates by luck only.
    """

    def draw(rng: np.random.Generator) -> Finding:
        one = ladder(noisy(rng, means(0.05, 0.9), NOISY))
        losses = np.where(ends, rng.normal(2.3, 0.02, (1, len(rates))), np.inf)
        errors = np.where(ends, rng.normal(0.9, NOISY, (1, len(rates))), np.inf)
        state = Net("planted", "resnet", one.depths[-1], (), (100,), tuple(rates), losses, errors).best().state
        tried = (*one.tried[:-1], Tried(len(rates), *said_by(state)))
        return rules.no_harm("residual-no-harm", "train_error", replace(one, tried=tried))

    return draw
