"""What difference the planned seeds could see, said before a run. From the study alone, or with measured spreads."""

import math
from collections.abc import Iterator

from bench.plan.study import Study
from bench.plan.words import counted
from results import stats
from results.columns import SETTING
from results.convergence import MARGIN
from results.tables import Frames

# Standard deviation of an error between seeds, as fractions: a CIFAR ResNet's 0.14 to 0.20 points, 0.5 points for
# short runs (docs/published-results.md, "Seeds needed"), 2 points where training is marginal (assumed).
SPREADS = (0.002, 0.005, 0.02)


def lines(study: Study, frames: Frames) -> Iterator[str]:
    """A line a setting that has records, else a line an assumed spread.

    Args:
        study: For its seeds, architectures and depths.
        frames: For the spreads measured so far.
    """
    trials = [trial for trial in study.trials if trial.purpose == "train"]
    seeds = len({trial.seed for trial in trials})
    arms = {trial.architecture for trial in trials}
    depths = sorted({trial.depth for trial in trials})
    sizes = ((len(trials), "training"), (len(arms), "architecture"), (len(depths), "depth"), (seeds, "seed"))
    yield f"{study.name}: {', '.join(counted(*size) for size in sizes)} each"
    if seeds < 2:
        yield "one seed: no spread between seeds, so no interval and no verdict on errors; take three or more"
        return
    yield (
        f"smallest difference of error that {stats.look(seeds)} paired seeds see (one-sided level "
        f"{stats.level(seeds):g}, power 0.9); the claims' margin is {100 * MARGIN:g} points:"
    )
    for spread in SPREADS:
        seen = stats.visible_difference(seeds, spread)
        yield f"  spread between seeds {100 * spread:.1f} points (assumed): {_points(seen)}{_needed(spread)}"
    yield from _measured(seeds, frames)


def _needed(spread: float) -> str:
    """At which look the margin of the claims can be seen at this spread."""
    needed = next((n for n in stats.LOOKS if stats.visible_difference(n, spread) <= MARGIN), None)
    points = f"{100 * MARGIN:g} points"
    return f"; {needed} seeds see {points}" if needed else f"; not even {max(stats.LOOKS)} seeds see {points}"


def _measured(seeds: int, frames: Frames) -> Iterator[str]:
    known = frames.trials[frames.trials["comparable"] & (frames.trials["status"] == "ok")]
    for _, rows in known.groupby(list(SETTING), sort=True):
        name, depth, lr = (rows.iloc[0][column] for column in ("architecture", "depth", "lr"))
        spread = rows["train_error"].std()
        if len(rows) > 1 and math.isfinite(spread) and spread > 0:
            seen = stats.visible_difference(seeds, float(spread))
            known_by = f"measured at learning rate {lr:g}"
            yield f"  {name}, {depth} layers: spread {100 * spread:.2f} points ({known_by}): {_points(seen)}"


def _points(value: float) -> str:
    return f"{100 * value:.2f} points" if math.isfinite(value) else "nothing"
