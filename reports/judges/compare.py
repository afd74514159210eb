"""Judges that set architectures side by side at the same depth: placements, and fully connected nets.

Twins share seeds, initial weights where shapes agree, and data order, so their differences are paired by seed.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from models.spec import ARCHITECTURES
from reports.finding import Finding, PlacementRow, TwinRow, Verdict, known, percent, points
from reports.judges import badly, rules
from reports.judges.badly import at_steps
from reports.judges.errors import (
    MEASURES,
    Deciding,
    Rule,
    apply,
    convolutional,
    harm_beside,
    headline_first,
    nothing,
)
from reports.judges.ladders import Ladder, ladders, tuned
from reports.judges.pairs import at_its_rate, ends, failures, pair, shown_error
from reports.protocol import DEEP, MARGIN, NOT_TRAINED, REFERENCE, TRAINED
from results import stats
from results.tables import Frames, with_random_labels

# Where the shortcut leaves and joins (He et al. 2016, figure 4) and what stands on it (their table 1).
_ORIGINAL = ARCHITECTURES["resnet"]
WHERE = tuple(
    name
    for name, row in ARCHITECTURES.items()
    if row.placement != _ORIGINAL.placement
    and replace(row, placement="post", **{f: getattr(_ORIGINAL, f) for f in ("name", "label", "source")}) == _ORIGINAL
)
WHAT = tuple(n for n, a in ARCHITECTURES.items() if a.shortcut in ("B", "C", "half", "dropout"))


def alike(claim: str, measure: str, original: Ladder, others: list[Ladder], kind: str = "placements") -> Finding:
    """Whether variants end within `MARGIN` of the original at every depth, shallow and deep.

    Supported: at every depth, both one-sided bounds of each variant's difference lie within the margin
    (intersection-union). Refuted: at some depth a variant differs by more than the margin (Holm over variants and
    depths), and nothing of `badly.doubt` speaks against the worse one of the two. The effect, where the deepest nets
    decide, is the interaction: how much more the variant differs deep than shallow; where another depth decides, the
    difference there. No number stands for nets of which one failed.

    Args:
        kind: What the variants are, in the plural: the finding's subject.
    """
    digests = tuple(digest for ladder in (original, *others) for digest in ladder.trials)
    base = rules.start(claim, measure, original).but(subject=kind, trials=digests)
    names = {ladder.subject: ladder for ladder in others}
    depths = [d for d in original.depths if all(d in ladder.depths for ladder in others)]
    if reason := _unpaired(original, others, depths):
        return base.but(reason=f"{reason} ({at_steps(original.steps)})")
    rows, differences = [], []
    for depth in depths:
        for other in others:
            found, row = pair(original, other, depth)
            rows.append(replace(row, state=_side(original, other, depth, found)))
            differences.append(found)
    both = [p for f in differences for p in (f.p_above(MARGIN), _flipped(f).p_above(MARGIN))]
    adjusted = stats.holm(both)
    for i, row in enumerate(rows):
        p = min(_p(adjusted[2 * i]), _p(adjusted[2 * i + 1]))
        apart = p < stats.level(row.n) or row.state == "diverged"
        state = _within(differences[i])
        if apart:
            state = "in doubt" if _doubt(original, names[row.subject], row.depth, differences[i]) else "apart"
        rows[i] = replace(row, holm_p=p, state=state)
    return _alike_verdict(base.but(details=tuple(rows)), rows, original, names, depths)


def _p(value: float) -> float:
    return value if math.isfinite(value) else 1.0


def _flipped(found: stats.Difference) -> stats.Difference:
    return stats.Difference(-found.value, -found.high, -found.low, found.n, found.reason, found.error, found.freedom)


def _within(found: stats.Difference) -> str:
    return "alike" if found.estimable and found.low > -MARGIN and found.high < MARGIN else "unclear"


def _side(original: Ladder, other: Ladder, depth: int, found: stats.Difference) -> str:
    """Whether the worse one of the two mostly diverged (and the other did not)."""
    worse, better = _worse_first(original, other, found)
    j, k = worse.depths.index(depth), better.depths.index(depth)
    return "diverged" if rules.mostly_diverged(worse, j) and not rules.mostly_diverged(better, k) else ""


def _worse_first(original: Ladder, other: Ladder, found: stats.Difference) -> tuple[Ladder, Ladder]:
    return (other, original) if found.value >= 0 else (original, other)


def _doubt(original: Ladder, other: Ladder, depth: int, found: stats.Difference) -> str:
    """Why the worse one of the two need not be worse."""
    worse, better = _worse_first(original, other, found)
    return badly.doubt(worse, worse.depths.index(depth), badly.above(worse, better, depth))


def _unpaired(original: Ladder, others: list[Ladder], depths: list[int]) -> str:
    if not others:
        return "no other placement was tried"
    for ladder in (original, *others):
        if ladder.missing:
            return f"{ladder.subject}: {rules.cannot(ladder)}"
        if ladder.seeds != original.seeds:
            return f"{ladder.subject} has other seeds than {original.subject}"
    if len(original.seeds) < 2:
        return rules.ONE_SEED
    if not depths or depths[0] > REFERENCE:
        return "not all were tried at 18 layers"
    if depths[-1] < DEEP:
        return badly.untried()
    first = original.errors[:, original.depths.index(depths[0])]
    if first.mean() > NOT_TRAINED:
        return f"the original of {depths[0]} layers itself does not train ({percent(float(first.mean()))})"
    return ""


def _alike_verdict(
    base: Finding, rows: list[PlacementRow], original: Ladder, names: dict[str, Ladder], depths: list[int]
) -> Finding:
    order = ("apart", "in doubt", "unclear", "alike")
    worst = next(state for state in order if any(r.state == state for r in rows))
    # A failed net is as far off as can be.
    row = max(
        (r for r in rows if r.state == worst),
        key=lambda r: (math.inf if r.failed else abs(r.effect), r.depth),
    )
    other = names[row.subject]
    found = pair(original, other, row.depth)[0]
    shallow, deep = depths[0], depths[-1]
    base = base.but(n=row.n)
    if row.depth != deep:
        base = base.but(effect=known(row.effect), low=known(row.low), high=known(row.high))
    elif not any(failures(original, other, depth) for depth in (shallow, deep)):
        at_first, at_last = (
            other.errors[:, other.depths.index(depth)] - original.errors[:, original.depths.index(depth)]
            for depth in (shallow, deep)
        )
        inter = stats.difference(at_last, at_first, resolution=2 * original.resolution)
        base = base.measured(inter)
    largest = f"{_largest(rows, shallow, f'{shallow} layers')} and {_largest(rows, deep, str(deep))}"
    told = f"{base.subject} differ from {original.subject!r} by up to {largest}"
    when = at_steps(original.steps)
    failed = failures(original, other, row.depth)
    how = f"{failed} of {2 * row.n} trials failed" if failed else points(row.effect)
    which = f"{row.subject} at {row.depth} layers ({how})"
    if worst == "apart":
        worse, _ = _worse_first(original, other, found)
        return badly.beyond_doubt(
            base, Verdict.REFUTED, f"{told}; furthest: {which}", worse, worse.depths.index(row.depth)
        )
    if worst == "in doubt":
        reason = _doubt(original, other, row.depth, found)
        return base.but(reason=f"{told}; furthest: {which}, {when}, but {reason}")
    if worst == "unclear":
        return base.unclear(f"{told}; the interval of {which} reaches over {points(MARGIN)}, {when}")
    return base.but(verdict=Verdict.SUPPORTED, reason=f"{told}: all within {points(MARGIN)}, {when}")


def _largest(rows: Iterable[PlacementRow], depth: int, where: str) -> str:
    """The largest difference at a depth, in words; pairs of which a net failed have none, and that is said."""
    here = [row for row in rows if row.depth == depth]
    sizes = [abs(row.effect) for row in here if not row.failed]
    failed = len(here) - len(sizes)
    said = f" (not counting {failed} with failures)" if failed else ""
    return f"{points(max(sizes)) if sizes else 'no known number'} at {where}{said}"


def anywhere(frames: Frames, deciding: Deciding) -> list[Finding]:
    """`shortcut-anywhere`: the placements first, then what stands on the shortcut; see `alike`."""
    claim = "shortcut-anywhere"
    trials = deciding.rows(convolutional(frames.trials))
    best, _ = tuned(trials)
    found = []
    for subject, variants in (("placements", WHERE), ("shortcut kinds", WHAT)):
        for measure in MEASURES:
            for original in ladders(best, measure, ["resnet"]):
                others = [
                    ladder
                    for ladder in ladders(best[best["study"] == original.study], measure, variants)
                    if ladder.setting == original.setting
                ]
                if others or subject == "placements":
                    found.append(alike(claim, measure, original, others, subject))
    return headline_first(claim, found, deciding, "placements")


def benefit(claim: str, measure: str, ladder: Ladder, plain: Ladder | None) -> Finding:
    """Whether the shortcut does for these nets what it does for convolutional ones, at the deepest depth of both.

    Supported: the residual net trains (as in `rules.trains`) and the plain twin is worse by more than `MARGIN`.
    Refuted: the residual net does not train in most seeds, nor by the bound of its mean, or the plain twin is worse
    by less than the margin. What rests on one of the two doing badly decides nothing where `badly.doubt` speaks
    against it.
    """
    base = rules.start(claim, measure, ladder)
    when = at_steps(ladder.steps)
    common = [d for d in ladder.depths if plain is not None and d in plain.depths]
    if plain is None or not common:
        return base.but(reason=f"no plain twin of the same depth ({when})")
    if common[-1] < DEEP:
        return base.but(reason=f"{badly.untried()} ({when})")
    j, k = ladder.depths.index(common[-1]), plain.depths.index(common[-1])
    mine, twin = ladder.errors[:, j], plain.errors[:, k]
    if ladder.missing or plain.missing or ladder.seeds != plain.seeds:
        return base.but(reason=f"some trials have no record yet ({when})")
    found = stats.difference(twin, mine, images=ladder.images, resolution=ladder.resolution)
    bound = stats.bounds(mine, ladder.resolution)
    rows = [
        TwinRow(subject=side.subject, depth=d, error=shown_error(side, side.depths.index(d)))
        for side in (ladder, plain)
        for d in common
    ]
    base = base.but(n=found.n, details=tuple(rows), trials=(*ladder.trials, *plain.trials))
    if not any(side.diverged[i] or side.broken[i] for side, i in ((ladder, j), (plain, k))):
        base = base.measured(found)
    if not found.estimable:
        return base.but(reason=f"{found.reason} ({when})")
    worse = rules.mostly_diverged(plain, k) or found.low > MARGIN
    words = rules.measure_words(measure)
    ended = [ends(side, i) for side, i in ((ladder, j), (plain, k))]
    told = f"at {common[-1]} layers {ladder.subject} {ended[0]}, plain {ended[1]} ({words})"
    over = int((mine > TRAINED).sum())
    if rules.mostly_diverged(ladder, j) or (2 * over > found.n and bound.low > TRAINED):
        ends_above = f"the residual net ends above {percent(TRAINED)} in {over} of {found.n} seeds"
        return badly.decided(base, Verdict.REFUTED, f"{told}: {ends_above}", ladder, j, badly.error(ladder, j))
    if over or bound.high > TRAINED:
        return base.unclear(f"{told}: not below {percent(TRAINED)} for sure, {when}")
    if worse:
        return badly.decided(base, Verdict.SUPPORTED, told, plain, k, badly.above(plain, ladder, common[-1]))
    if found.high < MARGIN:
        told = f"{told}: no worse than the margin"
        refuted = rules.refuted(base, plain, told)
        # A residual net that leaves something to gain may do better at a rate that was not tried.
        return badly.unless_unfit(base, told, ladder, j, refuted) if mine.mean() >= MARGIN else refuted
    return base.unclear(f"{told}: the interval reaches over the margin, {when}")


def conv_and_dense(frames: Frames, deciding: Deciding) -> list[Finding]:
    """`conv-and-dense`: the benefit of the shortcut in fully connected nets, then the first claims on them."""
    claim = "conv-and-dense"
    trials = frames.trials[(frames.trials["layout"] == "dense") & ~with_random_labels(frames.trials)]
    trials = deciding.rows(trials)
    if trials.empty:
        return [nothing(claim, "resnet", deciding.study)]
    at_best = tuned(trials)
    best, found = at_best[0], []
    for subject in ("resnet", "preact"):
        for measure in MEASURES:
            for ladder in ladders(best, measure, [subject]):
                every = ladders(best[best["study"] == ladder.study], measure, ["plain"])
                plain = next((p for p in every if p.setting == ladder.setting), None)
                found.append(benefit(claim, measure, ladder, plain).but(beside=at_its_rate(ladder, every)))
    found = headline_first(claim, found, deciding, "resnet")
    first_two: tuple[tuple[str, Rule, list[str]], ...] = (
        ("no harm", harm_beside(best), ["resnet", "preact"]),
        ("degrades", rules.degrades, ["plain"]),
    )
    for words, rule, subjects in first_two:
        found += [
            f.but(subject=f"{f.subject}, fully connected: {words}") for f in apply(claim, rule, at_best, subjects)
        ]
    return found
