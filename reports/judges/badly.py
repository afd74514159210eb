"""What a verdict needs that rests on a net doing badly, whether it supports a claim or refutes one.

A bad error is the net's own only where its learning rate suits it, where more steps of the same kind would not mend it,
and where it did not vanish with more steps. A net that diverges at every rate needs none of this.
"""

from collections.abc import Callable

import numpy as np

from reports.finding import Finding, Verdict, points
from reports.judges.ladders import Ladder
from reports.protocol import DEEP, LASTS, MARGIN, NEVER
from results import stats

# By the number of steps, how much worse the net is than what it is held against; None where that is not known.
Gap = Callable[[int], stats.Difference | None]


def at_steps(steps: int | None) -> str:
    """Every verdict on a training says after how many steps."""
    return f"at {steps} steps" if steps else "at an unknown number of steps"


def untried(depth: int = DEEP) -> str:
    """The reason of a finding on nets that are too shallow for its claim."""
    return f"{NEVER} tried at {depth} layers or more"


def or_infinite(value: float) -> float:
    """How bad a net did: what could not be estimated is above all numbers."""
    return value if np.isfinite(value) else np.inf


def decided(base: Finding, verdict: Verdict, told: str, ladder: Ladder, j: int, gap: Gap) -> Finding:
    """The verdict that rests on depth number `j` of this ladder doing badly; inconclusive where that is in doubt."""
    if reason := doubt(ladder, j, gap):
        return base.but(reason=in_doubt(told, ladder, j, reason))
    return beyond_doubt(base, verdict, told, ladder, j)


def beyond_doubt(base: Finding, verdict: Verdict, told: str, ladder: Ladder, j: int) -> Finding:
    """The same where `doubt` is known to say nothing."""
    none = f" (no rate of {ladder.tried[j].rates} trains it)" if ladder.tried[j].untrained else ""
    return base.but(verdict=verdict, reason=f"{told}{none}, {at_steps(ladder.steps)}")


def in_doubt(told: str, ladder: Ladder, j: int, reason: str) -> str:
    """A reason that ends with why depth number `j` does not count; trials that failed are told in `told` already."""
    told = f"{told}, {at_steps(ladder.steps)}"
    return told if ladder.broken[j] else f"{told}, but {reason}"


def doubt(ladder: Ladder, j: int, gap: Gap) -> str:
    """Why depth number `j` doing badly decides nothing; empty where it does."""
    reason = unfit(ladder, j)
    return reason if reason or ladder.tried[j].hopeless else _fleeting(ladder, gap)


def unless_unfit(base: Finding, told: str, ladder: Ladder, j: int, otherwise: Finding) -> Finding:
    """`otherwise`, or inconclusive where depth number `j` may do better than it did: see `unfit`."""
    reason = unfit(ladder, j)
    return base.but(reason=in_doubt(told, ladder, j, reason)) if reason else otherwise


def unfit(ladder: Ladder, j: int) -> str:
    """Why an error of depth number `j` need not be the net's own: its learning rate, or that it has not converged."""
    tried, net = ladder.tried[j], f"{ladder.subject} of {ladder.depths[j]} layers"
    if ladder.broken[j]:
        return f"{ladder.broken[j]} of {len(ladder.seeds)} trials of {net} failed"
    if tried.hopeless:
        return ""
    if tried.rates < 2:
        return f"one learning rate was tried for {net}"
    if 2 * ladder.diverged[j] > len(ladder.seeds) and tried.inside:
        return f"{net} diverges at the learning rate that its search found best; at a lower one it may train"
    if 2 * ladder.diverged[j] > len(ladder.seeds):
        return f"{net} may train at a lower learning rate than the {tried.rates} tried"
    if not tried.inside:
        return f"the best learning rate of {net} may lie beyond the {tried.rates} tried"
    return "" if ladder.converged(j) else f"{net} is {ladder.convergence[j]}"


def _fleeting(ladder: Ladder, gap: Gap) -> str:
    """Why the gap may be gone with more steps; empty where it is there at N, 2N and 4N steps, and does not close."""
    now, half, quarter = (gap(ladder.steps // k) if ladder.steps % k == 0 else None for k in (1, 2, 4))
    if now is None or half is None or quarter is None:
        first = ladder.epochs // 2 if half is not None and ladder.epochs % 2 == 0 else ladder.epochs
        epochs = ", ".join(str(first * k) for k in (1, 2, 4))
        if {ladder.steps / 2, ladder.steps / 4} <= {one.steps for one in ladder.shorter}:
            return "more steps may close the gap: not every seed has an error at fewer, so nothing says how it goes"
        return f"more steps may close the gap: a study with epochs = [{epochs}] would tell"
    if not (now.estimable and now.low > MARGIN):
        return f"the gap is not above {points(MARGIN)} for sure"
    if now.value < LASTS * quarter.value:
        return f"the gap closes: {points(quarter.value)} at {ladder.steps // 4} steps, {points(now.value)} now"
    return ""


def rise(ladder: Ladder, j: int, reference: int = 0) -> Gap:
    """Of depth number `j` above depth number `reference`."""
    deep, shallow = ladder.depths[j], ladder.depths[reference]
    return _apart(ladder, deep, ladder, shallow)


def above(ladder: Ladder, other: Ladder, depth: int) -> Gap:
    """Of a net above another net of the same depth."""
    return _apart(ladder, depth, other, depth)


def error(ladder: Ladder, j: int) -> Gap:
    """Of depth number `j` above no error at all."""

    def at(steps: int) -> stats.Difference | None:
        own = _errors(ladder, ladder.depths[j], steps)
        return None if own is None else stats.difference(own, np.zeros(len(own)), resolution=ladder.resolution)

    return at


def _apart(one: Ladder, depth: int, other: Ladder, reference: int) -> Gap:
    def at(steps: int) -> stats.Difference | None:
        worse, better = _errors(one, depth, steps), _errors(other, reference, steps, diverged=False)
        if worse is None or better is None:
            return None
        return stats.difference(worse, better, images=one.images, resolution=one.resolution)

    return at


def _errors(ladder: Ladder, depth: int, steps: int, diverged: bool = True) -> np.ndarray | None:
    """Errors by seed of this depth after so many steps; None where not every seed has one.

    Args:
        diverged: Whether a seed that diverged counts, as the worst error. In the net that a gap is counted from, it
            would make the gap small, and an earlier gap that is small makes the later one look lasting.
    """
    same = next((one for one in (ladder, *ladder.shorter) if one.steps == steps), None)
    if same is None or depth not in same.depths or same.seeds != ladder.seeds:
        return None
    j = same.depths.index(depth)
    errors: np.ndarray = same.errors[:, j]
    if same.broken[j] or (same.diverged[j] and not diverged) or np.isnan(errors).any():
        return None
    return errors
