"""The rule on a thousand layers: does a net of that depth train, and its plain twin not?"""

import math

import numpy as np

from reports.finding import Finding, SeedRow, Verdict, counted, known, percent
from reports.judges import badly
from reports.judges.badly import at_steps
from reports.judges.ladders import Ladder
from reports.judges.rules import ONE_SEED, measure_words, mostly_diverged, refuted, start
from reports.protocol import NEVER, NOT_TRAINED, THOUSAND, TRAINED
from results import stats


def trains(claim: str, measure: str, ladder: Ladder, twin: Ladder | None) -> Finding:
    """Whether a net of about 1000 layers trains and its plain twin does not.

    Supported: the error is at most `TRAINED` in all seeds and so is the upper bound of its mean; the twin's is above
    `NOT_TRAINED` in all seeds and so is its lower bound (or most of its seeds diverged). Refuted: the net
    stays above `TRAINED` in most seeds and so does the lower bound of its mean, or most seeds diverge, or the twin
    trains in all seeds as well. What rests on one of the two doing badly decides nothing where `badly.doubt` speaks
    against it.
    """
    base = start(claim, measure, ladder).but(trials=(*ladder.trials, *(twin.trials if twin else ())))
    deep = [d for d in ladder.depths if THOUSAND[0] <= d <= THOUSAND[1]]
    if not deep:
        return base.but(reason=f"{NEVER} tried at about 1000 layers ({at_steps(ladder.steps)})")
    j = ladder.depths.index(deep[-1])
    errors = ladder.errors[:, j]
    when = at_steps(ladder.steps)
    if np.isnan(errors).any():
        without = counted(int(np.isnan(errors).sum()), "seed")
        return base.but(reason=f"{without} no record yet at {deep[-1]} layers ({when})")
    if len(errors) < 2:
        return base.but(reason=f"{ONE_SEED} ({when})")
    bound = stats.bounds(errors, ladder.resolution)
    worst = float(errors.max())
    base = base.but(n=bound.n, details=tuple(_seeds(ladder, j)))
    if not (ladder.diverged[j] or ladder.broken[j]):
        shown = (known(100 * value) for value in (bound.value, bound.low, bound.high))
        base = base.but(**dict(zip(("effect", "low", "high"), shown, strict=True)), unit="%")
    over = int((errors > TRAINED).sum())
    words = f"{deep[-1]} layers reach {percent(worst)} {measure_words(measure)} in the worst of {bound.n} seeds"
    if mostly_diverged(ladder, j) or (2 * over > bound.n and bound.low > TRAINED):
        lost = zip((ladder.diverged[j], ladder.broken[j]), ("diverged", "failed"), strict=True)
        ended = "".join(f", {count} {how}" for count, how in lost if count)
        stay = f"{over} of {bound.n} seeds stay above {percent(TRAINED)}{ended} at {deep[-1]} layers"
        return badly.decided(base, Verdict.REFUTED, stay, ladder, j, badly.error(ladder, j))
    if over:
        some = f"{over} of {bound.n} seeds are above {percent(TRAINED)} at {deep[-1]} layers"
        return base.unclear(f"{some} (mean at least {percent(bound.low)}), {when}")
    if bound.high > TRAINED:
        return base.unclear(f"{words}, but the bound of the mean reaches {percent(bound.high)}, {when}")
    return _twin(base, words, ladder, deep[-1], twin)


def _seeds(ladder: Ladder, j: int) -> list[SeedRow]:
    rows = zip(ladder.seeds, ladder.errors[:, j], strict=True)
    subject, depth = ladder.subject, ladder.depths[j]
    return [
        SeedRow(subject=subject, depth=depth, seed=s, error=float(e) if e < 1 else math.nan, failed=bool(e >= 1))
        for s, e in rows
    ]


def _twin(base: Finding, words: str, ladder: Ladder, depth: int, twin: Ladder | None) -> Finding:
    """The second half of `trains`: the residual net does; what of the plain one?"""
    when = at_steps(ladder.steps)
    if twin is None or depth not in twin.depths:
        return base.but(reason=f"{words}, but no plain net of that depth and recipe was tried, {when}")
    j = twin.depths.index(depth)
    errors = twin.errors[:, j]
    base = base.but(details=(*base.details, *_seeds(twin, j)))
    if np.isnan(errors).any() or len(errors) < 2:
        return base.but(reason=f"{words}, but the plain twin has too few seeds, {when}")
    if twin.broken[j]:
        lost = f"{twin.broken[j]} of {len(errors)} trials failed"
        return base.but(reason=f"{words}; of the plain twin {lost}, {when}")
    bound = stats.bounds(errors, twin.resolution)
    low = 1.0 if mostly_diverged(twin, j) else bound.low
    failed = f"{twin.diverged[j]} of {len(errors)} diverged"
    if errors.min() > NOT_TRAINED and (low > NOT_TRAINED or float(np.ptp(errors)) == 0):
        how = failed if twin.diverged[j] else f"best {percent(float(errors.min()))}"
        told = f"{words}; the plain twin does not train ({how})"
        return badly.decided(base, Verdict.SUPPORTED, told, twin, j, badly.above(twin, ladder, depth))
    if errors.max() <= TRAINED and bound.high <= TRAINED:
        return refuted(base, twin, f"{words}, but so does the plain twin ({percent(float(errors.max()))})")
    between = failed if twin.diverged[j] else f"{percent(float(errors.mean()))} on average"
    return base.but(reason=f"{words}; the plain twin ends between: {between}, {when}")
