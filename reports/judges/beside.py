"""A residual net beside `resnet`, the document's block, at equal depth: what someone with a block of her own asks."""

from collections.abc import Sequence
from dataclasses import replace

from reports.finding import Finding, PlacementRow, Verdict, known, percent, points
from reports.judges import badly, rules
from reports.judges.badly import at_steps
from reports.judges.ladders import Ladder
from reports.judges.pairs import failures, pair
from reports.protocol import DEEP, MARGIN, NEVER, NOT_TRAINED, TRAINED
from results import stats


def no_worse(claim: str, measure: str, arms: Sequence[tuple[Ladder, Ladder]]) -> list[Finding]:
    """Whether each net is at most `MARGIN` worse than its original at every depth of both (intersection-union test).

    Supported: the one-sided upper bound of its error above the original's is under the margin at every depth. Refuted:
    at some depth it is above the margin (Holm over the depths of all these nets), or only this net mostly diverges,
    and nothing of `badly.doubt` speaks against it. Where the original does not train, only a net that does is no worse.

    Args:
        arms: Nets, each with the original that it is held against.

    Returns:
        A finding for each of the nets, in their order, about that net.
    """
    common = [[depth for depth in mine.depths if depth in original.depths] for mine, original in arms]
    reasons = [_cannot(mine, original, depths) for (mine, original), depths in zip(arms, common, strict=True)]
    pairs = [
        [] if reason else [pair(original, mine, depth) for depth in depths]
        for (mine, original), depths, reason in zip(arms, common, reasons, strict=True)
    ]
    adjusted = iter(stats.holm([found.p_above(MARGIN) for own in pairs for found, _ in own]))
    judged = []
    for (mine, original), own, reason in zip(arms, pairs, reasons, strict=True):
        base = rules.start(claim, measure, mine).but(trials=(*mine.trials, *original.trials))
        if reason:
            judged.append(base.but(reason=f"{reason} ({at_steps(mine.steps)})"))
            continue
        rows = [
            replace(row, holm_p=p, state=_state(mine, original, row.depth, found, p))
            for (found, row), p in zip(own, adjusted, strict=False)
        ]
        judged.append(_verdict(base.but(details=tuple(rows)), rows, mine, original))
    return judged


def _cannot(mine: Ladder, original: Ladder, depths: list[int]) -> str:
    if mine.missing or original.missing:
        return "some trials have no record yet"
    if mine.seeds != original.seeds:
        return f"{mine.subject} has other seeds than {original.subject}"
    if len(mine.seeds) < 2:
        return rules.ONE_SEED
    return "" if depths and depths[-1] >= DEEP else f"{NEVER} tried together at {DEEP} layers or more"


def _state(mine: Ladder, original: Ladder, depth: int, found: stats.Difference, p: float) -> str:
    j, k = mine.depths.index(depth), original.depths.index(depth)
    if p < stats.level(found.n) or (rules.mostly_diverged(mine, j) and not rules.mostly_diverged(original, k)):
        return "in doubt" if badly.doubt(mine, j, badly.above(mine, original, depth)) else "worse"
    if original.broken[k]:
        return "nothing beside"
    lost = original.diverged[k] or original.errors[:, k].mean() > NOT_TRAINED
    if lost and not (mine.errors[:, j] <= TRAINED).all():
        return "neither trains"
    if -found.high > MARGIN and not badly.doubt(original, k, badly.above(original, mine, depth)):
        return "better"
    return "no worse" if found.estimable and found.high < MARGIN else "unclear"


def _verdict(base: Finding, rows: list[PlacementRow], mine: Ladder, original: Ladder) -> Finding:
    order = ("worse", "in doubt", "nothing beside", "neither trains", "unclear", "no worse", "better")
    worst = next(state for state in order if any(row.state == state for row in rows))
    row = max((r for r in rows if r.state == worst), key=lambda r: (r.failed, 0.0 if r.failed else r.effect, r.depth))
    base = base.but(effect=known(row.effect), low=known(row.low), high=known(row.high), n=row.n)
    when, j = at_steps(mine.steps), mine.depths.index(row.depth)
    lost = mine.diverged[j] + mine.broken[j]
    theirs = failures(original, mine, row.depth) - lost
    size = f"{points(abs(row.effect))} {'above' if row.effect >= 0 else 'below'} that of {original.subject}"
    how = f"the error is {size}"
    if row.failed:
        counts = [f"{lost} of {row.n} trials failed"] if lost else []
        how = " and ".join(counts + ([f"{theirs} of {row.n} of {original.subject} failed"] if theirs else []))
    told = f"at {row.depth} layers {how}"
    if worst == "worse":
        return badly.beyond_doubt(base, Verdict.REFUTED, told, mine, j)
    if worst == "in doubt":
        reason = badly.doubt(mine, j, badly.above(mine, original, row.depth))
        return base.but(reason=badly.in_doubt(told, mine, j, reason))
    if worst == "nothing beside":
        return base.but(reason=f"{told}: nothing to compare with, {when}")
    if worst == "neither trains":
        return base.but(reason=f"{told}, where {original.subject} does not train (to {percent(NOT_TRAINED)}), {when}")
    if worst == "unclear" and row.low > MARGIN:
        return base.unclear(f"{told}: more than {points(MARGIN)}, but not for sure among so many comparisons, {when}")
    if worst == "unclear":
        return base.unclear(f"{told}: the interval reaches over {points(MARGIN)}, {when}")
    better = [str(r.depth) for r in rows if r.state == "better"]
    gain = f"; better by more than that at {', '.join(better)} layers" if better else ""
    where = ", ".join(str(r.depth) for r in rows)
    limit = f"at most {points(MARGIN)} above {original.subject} at {where} layers"
    return base.but(verdict=Verdict.SUPPORTED, reason=f"{limit}{gain}, {when}")
