"""The rules by which ladders of errors are judged: pure functions from a ladder to a finding.

No frames and no files, so that `planted` can put made-up truths of known answer through the very rules that
judge the records. Thresholds are in `protocol`, their statistics in `results.stats`.
"""

import math
from collections.abc import Sequence

import numpy as np

from reports.finding import DepthRow, Finding, HarmRow, Verdict, apart, counted, known, percent, points, shown
from reports.judges import badly
from reports.judges.badly import at_steps, or_infinite
from reports.judges.ladders import Ladder
from reports.protocol import DEEP, MARGIN, NOT_TRAINED, REFERENCE, TRAINED
from results import stats

SUPPORTED, REFUTED, INCONCLUSIVE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE


def start(claim: str, measure: str, ladder: Ladder) -> Finding:
    """A finding with everything but the judgement."""
    return Finding(
        claim,
        ladder.subject,
        measure,
        INCONCLUSIVE,
        "",
        n=len(ladder.seeds),
        steps=ladder.steps or None,
        study=ladder.study,
        setting=ladder.setting,
        trials=ladder.trials,
    )


def cannot(ladder: Ladder, deep: int = DEEP, floor_counts: bool = True) -> str:
    """Why no rule on depth can be applied to this ladder; empty when one can.

    Args:
        floor_counts: Whether errors that are all at the floor are evidence.
    """
    if ladder.missing:
        depth, seed = ladder.missing[0]
        return f"{counted(len(ladder.missing), 'trial')} no record yet, such as {depth} layers with seed {seed}"
    if len(ladder.depths) < 2:
        return f"one depth only ({ladder.depths[0]} layers)" if ladder.depths else "no depths"
    if ladder.depths[0] > REFERENCE:
        return f"no net of 18 layers to compare with: the shallowest has {ladder.depths[0]}"
    if ladder.depths[-1] < deep:
        return badly.untried(deep)
    if len(ladder.seeds) < 2:
        return ONE_SEED
    if ladder.broken[0]:
        trials = f"{ladder.broken[0]} of {len(ladder.seeds)} trials of {ladder.depths[0]} layers"
        return f"{trials} failed: nothing to compare with"
    if sum(ladder.diverged) == ladder.errors.size:
        return "every trial diverged: nothing tells the depths apart"
    if at_floor(ladder):
        nothing = f"all errors are under {percent(MARGIN)}: nothing tells the depths apart, nor shows that it could"
        return "" if floor_counts else nothing
    if np.ptp(ladder.errors) == 0:
        return f"all values are equal ({percent(float(ladder.errors[0, 0]))}): nothing tells the depths apart"
    return ""


def at_floor(ladder: Ladder) -> bool:
    """Whether all errors are under the margin: no depth can be better by it, and each is as good as equal."""
    return float(np.nanmax(ladder.errors, initial=0.0)) < MARGIN


def against(ladder: Ladder, j: int) -> tuple[stats.Difference, DepthRow]:
    """Depth number `j` against the shallowest: the paired difference, and its row of details."""
    found = stats.difference(
        ladder.errors[:, j],
        ladder.errors[:, 0],
        images=ladder.images,
        resolution=ladder.resolution,
        beside=ladder.spread_beside(j),
    )
    # The worst rank of a diverged net serves the tests; as an effect it would be a made-up number.
    failed = any(ladder.diverged[i] or ladder.broken[i] for i in (0, j))
    effect, low, high = shown(found, failed)
    return found, DepthRow(
        depth=ladder.depths[j],
        effect=effect,
        low=low,
        high=high,
        n=found.n,
        diverged=ladder.diverged[j],
        broken=ladder.broken[j],
        convergence=ladder.convergence[j] if ladder.diverged[j] < len(ladder.seeds) else "diverged",
    )


# At one rate for all depths a ladder compares recipes, not depths.
ONE_RATE = "but one learning rate was tried"
ONE_SEED = "one seed only: the spread between seeds is unknown"


def refuted(base: Finding, ladder: Ladder, told: str) -> Finding:
    """The verdict "refuted" by nets that do well, with its reason; inconclusive where one learning rate was tried.

    What rests on a net doing badly needs more: see `badly`.
    """
    if ladder.rates < 2:
        return base.but(reason=f"{told}, {at_steps(ladder.steps)}, {ONE_RATE}")
    return base.but(verdict=REFUTED, reason=f"{told}, {at_steps(ladder.steps)}")


def mostly_diverged(ladder: Ladder, j: int) -> bool:
    """Whether more than half of the seeds diverged: then the typical net of this depth has no error at all.

    The t interval of two failures and a success is wider than the scale, so this is said apart.
    """
    return 2 * ladder.diverged[j] > len(ladder.seeds)


def _untrained(ladder: Ladder, measure: str) -> str:
    """Why no difference says anything good of depth: the shallowest net, which they are counted from, fails itself.

    A seed that diverged there is enough, as one that failed is for `cannot`: its worst rank flatters each deeper
    net. Empty when the shallowest net trains.
    """
    error, failed = float(ladder.errors[:, 0].mean()), ladder.diverged[0]
    if error <= NOT_TRAINED and not failed:
        return ""
    how = f"{failed} of {len(ladder.seeds)} seeds diverged" if failed else f"{percent(error)} {measure_words(measure)}"
    return f"the net of {ladder.depths[0]} layers itself does not train: {how} {at_steps(ladder.steps)}"


def told_apart(ladder: Ladder) -> bool:
    """Whether some depth of these nets is surely worse than the shallowest: the test can fail on nets like these.

    By the test of `no_harm` itself (Holm over the depths). A depth of which a trial ended without a result says
    nothing: a time limit is no error.
    """
    if cannot(ladder, ladder.depths[-1]) or _untrained(ladder, "train_error"):
        return False
    deeper = [j for j in range(1, len(ladder.depths)) if not ladder.broken[j]]
    adjusted = stats.holm([against(ladder, j)[0].p_above(MARGIN) for j in deeper])
    level = stats.level(len(ladder.seeds))
    return any(mostly_diverged(ladder, j) or p < level for j, p in zip(deeper, adjusted, strict=True))


def _losses(ladder: Ladder) -> str:
    """The losses of the shallowest and the deepest nets, for where their errors are at the floor; never judged."""
    if not ladder.losses or not math.isfinite(ladder.losses[0] + ladder.losses[-1]):
        return ""
    first, last = (f"{ladder.losses[j]:.2g} at {ladder.depths[j]} layers" for j in (0, -1))
    return f"Losses, not judged: {first}, {last}"


def no_harm(claim: str, measure: str, ladder: Ladder, others: Sequence[Ladder] = ()) -> Finding:
    """Whether every deeper depth is at most `MARGIN` worse than the shallowest (intersection-union test).

    Supported: the one-sided upper bound of the rise is under the margin at every depth. Refuted: at some depth
    most seeds diverged, or the rise is above the margin (Holm over the depths, since any one of them refutes), and
    nothing of `badly.doubt` speaks against it. A shallowest net that does not train itself: inconclusive.
    Errors that are all at the floor support it where the test can fail: where it does on one of the `others`, other
    nets of the study after as many steps or more.
    """
    base = start(claim, measure, ladder)
    floor = at_floor(ladder)
    if floor:
        base = base.but(beside=_losses(ladder))
    if reason := cannot(ladder, floor_counts=floor and any(told_apart(other) for other in others)):
        return base.but(reason=f"{reason} ({at_steps(ladder.steps)})")
    if reason := _untrained(ladder, measure):
        return base.but(reason=reason)
    compared = [against(ladder, j) for j in range(1, len(ladder.depths))]
    adjusted = stats.holm([found.p_above(MARGIN) for found, _ in compared])
    rows = []
    for j, ((found, row), p) in enumerate(zip(compared, adjusted, strict=True), start=1):
        worse = mostly_diverged(ladder, j) or p < stats.level(found.n)
        state = "worse" if worse else "no harm" if found.estimable and found.high < MARGIN else "unclear"
        if worse and badly.doubt(ladder, j, badly.rise(ladder, j)):
            state = "in doubt"
        rows.append(HarmRow(**vars(row), holm_p=p, state=state))
    return _no_harm_verdict(base.but(details=tuple(rows)), rows, ladder)


def _no_harm_verdict(base: Finding, rows: list[HarmRow], ladder: Ladder) -> Finding:
    shallow, when = ladder.depths[0], at_steps(ladder.steps)
    states = {row.state for row in rows}
    worst = next(state for state in ("worse", "in doubt", "unclear", "no harm") if state in states)
    row = max((r for r in rows if r.state == worst), key=lambda r: (or_infinite(r.high), or_infinite(r.effect)))
    # Of nets that do no harm a reader asks for the deepest; the bound that decides is in the reason.
    told = rows[-1] if worst == "no harm" else row
    base = base.but(effect=known(told.effect), low=known(told.low), high=known(told.high), n=told.n)
    words = measure_words(base.measure)
    said = _compared(row, shallow, words)
    if worst == "worse":
        first = min(r.depth for r in rows if r.state == "worse")
        since = f" (worse already at {first} layers)" if first < row.depth else ""
        return badly.beyond_doubt(base, REFUTED, f"{said}{since}", ladder, ladder.depths.index(row.depth))
    if worst == "in doubt":
        j = ladder.depths.index(row.depth)
        return base.but(reason=badly.in_doubt(said, ladder, j, badly.doubt(ladder, j, badly.rise(ladder, j))))
    if worst == "unclear":
        why = f"the interval reaches over the margin of {points(MARGIN)}"
        if row.low > MARGIN:
            why = f"more than {points(MARGIN)}, but one of {len(rows)} depths looked at (Holm p = {row.holm_p:.2g})"
        return _open(base, f"{said}: {why}", said, ladder, row)
    where = f"every depth from {rows[0].depth} to {rows[-1].depth}" if len(rows) > 1 else f"{rows[0].depth}"
    return base.but(
        verdict=SUPPORTED,
        reason=f"at {where} layers the {words} is less than "
        f"{points(MARGIN)} above that of {shallow} layers (largest upper bound {points(row.high)}), {when}",
    )


def _open(base: Finding, told: str, said: str, ladder: Ladder, row: DepthRow) -> Finding:
    """The interval of a depth reaches over the margin. More seeds may decide, unless its net doing badly is in doubt.

    Args:
        told: Why it is open; `said`: what there is to say of the depth, in doubt or not.
    """
    j = ladder.depths.index(row.depth)
    # A depth of which a seed failed has no effect (NaN): its nets do badly, too.
    found = base.unclear(f"{told}, {at_steps(ladder.steps)}")
    return found if row.effect <= MARGIN else badly.unless_unfit(base, said, ladder, j, found)


def measure_words(measure: str) -> str:
    """ "train_error" as a reader says it."""
    return {"train_error": "training error", "test_error": "test error"}.get(measure, measure.replace("_", " "))


def _compared(row: DepthRow, shallow: int, words: str) -> str:
    """A depth against the shallowest one, from its row of details; failures are told instead of a number."""
    failures = [f"{row.diverged} of {row.n} seeds diverged"] if row.diverged else []
    failures += [f"{row.broken} of {row.n} trials failed"] if row.broken else []
    if failures:
        return f"at {row.depth} layers {' and '.join(failures)}"
    if not math.isfinite(row.effect):
        # Only of a depth that is worse for all that: see `degrades`.
        return f"at {row.depth} layers the {words} is above that of {shallow} layers, though a seed diverged there"
    return f"at {row.depth} layers the {words} is {apart(row.effect, row.low, row.high, f'that of {shallow} layers')}"


def _trainable(ladder: Ladder) -> str:
    """Between which depths trainability ends, in words."""
    train = [bool((errors <= TRAINED).all()) for errors in ladder.errors.T]
    fail = [bool((errors > NOT_TRAINED).all()) for errors in ladder.errors.T]
    good = [depth for j, depth in enumerate(ladder.depths) if all(train[: j + 1])]
    bad = [depth for j, depth in enumerate(ladder.depths) if all(fail[j:])]
    if not (good and bad):
        return ""
    between = [str(depth) for depth in ladder.depths if good[-1] < depth < bad[0]]
    named = " and ".join(filter(None, (", ".join(between[:-1]), *between[-1:])))
    partly = f"at {named} only in part, " if between else ""
    return f"; all seeds train up to {good[-1]} layers, {partly}none from {bad[0]} layers on"


def degrades(claim: str, measure: str, ladder: Ladder) -> Finding:
    """Whether the error rises with depth: Page's trend over all depths, and the deepest worse by more than `MARGIN`.

    In the trend, errors of a seed within the margin of each other tie: a rise that no verdict counts as one is none.
    Supported: both (the intersection needs no correction), and nothing of `badly.doubt` speaks against the deepest.
    Refuted: no depth, tried up to `DEEP` layers or more, is worse than the shallowest by the margin (as `no_harm`), and
    the shallowest trains itself, at its best rate and converged where it errs by the margin or more. A rise may be
    shown by shallower nets alone.
    """
    base = start(claim, measure, ladder)
    if reason := cannot(ladder, deep=0, floor_counts=False):
        return base.but(reason=f"{reason} ({at_steps(ladder.steps)})")
    trend = stats.rising(ladder.errors, MARGIN)
    compared = [against(ladder, j) for j in range(1, len(ladder.depths))]
    last, row = compared[-1]
    when = at_steps(ladder.steps)
    base = base.but(
        effect=known(row.effect),
        low=known(row.low),
        high=known(row.high),
        n=last.n,
        details=tuple(row for _, row in compared),
    )
    if trend.reason:
        return base.but(reason=f"no trend can be tested: {trend.reason}, {when}")
    compared_in_words = _compared(row, ladder.depths[0], measure_words(measure))
    said = f"{compared_in_words}, trend test p = {trend.p:.2g}{_trainable(ladder)}"
    deepest = len(ladder.depths) - 1
    # The trend stands beside the bound, which keeps the level over all looks by itself.
    if trend.p < stats.ALPHA and (mostly_diverged(ladder, deepest) or last.p_above(MARGIN) < stats.level(last.n)):
        told = f"it rises with depth: {said}"
        return badly.decided(base, SUPPORTED, told, ladder, deepest, badly.rise(ladder, deepest))
    if ladder.depths[-1] < DEEP:
        return base.but(reason=f"no rise shown, and never tried at {DEEP} layers or more: {said}, {when}")
    if reason := _untrained(ladder, measure):
        return base.but(reason=reason)
    if all(found.estimable and found.high < MARGIN for found, _ in compared):
        limit = f"{points(MARGIN)} above that of {ladder.depths[0]} layers"
        told = f"at no depth up to {ladder.depths[-1]} layers is the {measure_words(measure)} {limit}"
        told = f"{told}, trend test p = {trend.p:.2g}"
        found = refuted(base, ladder, told)
        # A shallowest net that errs by more than the margin may do better than it did, and the deeper ones not.
        return badly.unless_unfit(base, told, ladder, 0, found) if ladder.errors[:, 0].mean() >= MARGIN else found
    return _open(base, f"neither shown nor excluded: {said}", said, ladder, row)


def better(claim: str, measure: str, ladder: Ladder) -> Finding:
    """Whether the deepest net is better than the shallowest by more than `MARGIN`.

    Supported: the lower bound of the gain is above the margin, and nothing of `badly.doubt` speaks against the
    shallowest. Refuted: the deepest is worse by more than the margin or mostly diverges, without such doubt; or the
    gain's upper bound is under the margin, the deepest at its best rate and converged. Inconclusive: a shallowest net
    that does not train, or that leaves nothing to gain.
    """
    base = start(claim, measure, ladder)
    if reason := cannot(ladder):
        return base.but(reason=f"{reason} ({at_steps(ladder.steps)})")
    if reason := _untrained(ladder, measure):
        return base.but(reason=reason)
    last = len(ladder.depths) - 1
    found = stats.difference(
        ladder.errors[:, 0],
        ladder.errors[:, last],
        images=ladder.images,
        resolution=ladder.resolution,
        beside=ladder.spread_beside(last),
    )
    when = at_steps(ladder.steps)
    rows = tuple(row for _, row in (against(ladder, j) for j in range(1, last + 1)))
    base = base.but(n=found.n, details=rows)
    words = f"{ladder.diverged[last]} of {found.n} seeds diverged at {ladder.depths[-1]} layers"
    if ladder.broken[last]:
        words = f"{ladder.broken[last]} of {found.n} trials failed at {ladder.depths[-1]} layers"
    elif not ladder.diverged[last]:
        gain = f"{abs(found.value) * 100:.1f} points {'lower' if found.value >= 0 else 'higher'}"
        words = f"{ladder.depths[-1]} layers end {gain} in {measure_words(measure)} than {ladder.depths[0]}"
        base = base.measured(found)
    if found.estimable and found.low > MARGIN:
        told = f"{words} (at least {points(found.low)})"
        return badly.decided(base, SUPPORTED, told, ladder, 0, badly.rise(ladder, 0, last))
    margin = f"the margin of {points(MARGIN)}"
    told = f"{words}: not better by {margin}"
    if mostly_diverged(ladder, last) or (found.estimable and found.high < -MARGIN):
        return badly.decided(base, REFUTED, told, ladder, last, badly.rise(ladder, last))
    shallow = stats.bounds(ladder.errors[:, 0], ladder.resolution)
    if shallow.high < MARGIN:
        least = f"{ladder.depths[0]} layers err {percent(shallow.value)} (at most {percent(shallow.high)})"
        return base.but(reason=f"{words}: nothing to gain, {least}, {when}", beside=_losses(ladder))
    if found.estimable and found.high < MARGIN:
        return badly.unless_unfit(base, told, ladder, last, refuted(base, ladder, told))
    return base.unclear(f"{words}: the interval reaches over {margin}, {when}")
