"""Whether one learning rate serves every depth: a question of the suite's own, judged on the search for rates.

In a file of its own since it looks at no ladder: its nets differ in rate, its seeds are the search's.
"""

import math
from collections.abc import Sequence

import numpy as np

from reports.finding import Finding, TransferRow, Verdict, known, points, shown
from reports.judges.badly import at_steps, or_infinite
from reports.judges.errors import Deciding, convolutional, headline_first
from reports.judges.rules import ONE_SEED
from reports.protocol import DEEP, MARGIN
from results import search, stats
from results.search import Net
from results.tables import Frames

CLAIM = "lr-transfers"
INCONCLUSIVE = Verdict.INCONCLUSIVE


def transfers(arm: Sequence[Net], setting: str = "") -> Finding:
    """Whether one of the rates tried keeps every depth within `MARGIN` of the training error at its own best rate.

    Supported: at one of the rates that every depth was tried at, the upper bound of the rise above each other rate is
    under the margin at every depth (intersection-union over rates and depths, Bonferroni over the rates that it may
    be), and some rate tried errs by the margin or more somewhere: else no rate could have failed. Refuted: each rate
    leaves some depth above the margin by the lower bound, or diverged in most seeds (Bonferroni over depths). Depths
    at which no rate trains are left out: there any rate is as good.

    Args:
        arm: Nets of one architecture and recipe, one a depth, rising.
    """
    base = Finding(CLAIM, arm[0].architecture, "train_error", INCONCLUSIVE, "", study=arm[0].study, setting=setting)
    base = base.but(
        n=min(len(net.seeds) for net in arm),
        steps=max(net.steps for net in arm) or None,
        trials=tuple(digest for net in arm for digest in net.trials),
    )
    trained = [net for net in arm if net.best().state not in ("untrained", "hopeless")]
    when = at_steps(base.steps)
    if reason := _cannot(trained, base.n):
        return base.but(reason=f"{reason} ({when})")
    common = sorted(set.intersection(*(set(net.rates) for net in trained)))
    every = sorted({lr for net in trained for lr in net.rates})
    rows = [_row(net, net.rates.index(lr)) for lr in common for net in trained]
    base = base.but(details=tuple(rows))
    if all((net.errors[~np.isnan(net.errors)] < MARGIN).all() for net in trained):
        # Then no rate could have failed this test.
        return base.but(
            reason=f"nothing to tell apart: every rate tried errs under {points(MARGIN)} at every depth, {when}"
        )
    within = {lr: len(common) * max(_p_within(net, net.rates.index(lr)) for net in trained) for lr in common}
    if within and (p := min(within.values())) < stats.level(base.n):
        best = min(within, key=lambda lr: within[lr])
        base = _worst(base, rows, best)
        return base.but(
            verdict=Verdict.SUPPORTED,
            reason=f"at {best:g} every depth from {trained[0].depth} to {trained[-1].depth} layers is within "
            f"{points(MARGIN)} of its own best rate (p = {p:.2g}), {when}",
        )
    above = {lr: len(trained) * min(_p_above(net, _towards_best(net, lr)) for net in trained) for lr in every}
    # The rate that does least harm, as far as it is known.
    least = min(common, key=lambda lr: _harm(rows, lr)) if common else math.nan
    base = _worst(base, rows, least)
    said = f"the best of {len(common)} rates tried everywhere, {least:g}, leaves {_where(rows, least)}"
    if max(above.values()) < stats.level(base.n):
        each = f"each of {len(every)} rates leaves some depth more than {points(MARGIN)} above its own best"
        return base.but(verdict=Verdict.REFUTED, reason=f"{each}; {said}, {when}" if common else f"{each}, {when}")
    if not common:
        return base.but(reason=f"no rate was tried at every depth ({when})")
    return base.but(reason=f"neither shown nor excluded: {said}, {when}")


def _cannot(trained: Sequence[Net], seeds: int) -> str:
    if len(trained) < 2:
        return "fewer than two depths have a rate that trains them"
    if trained[-1].depth < DEEP:
        return f"no net of {DEEP} layers or more was tried that a rate trains"
    if seeds < 2:
        return ONE_SEED
    for net in trained:
        if (state := net.best().state) in ("higher", "lower"):
            return f"the best rate of {net.depth} layers may be {state} than those tried"
    return ""


def _difference(net: Net, k: int, other: int | None = None) -> stats.Difference:
    """Training error at rate number `k` above that at another, by default the best tried.

    A net that diverged holds the worst, 1.
    """
    beside = net.at_best if other is None else other
    worst = np.where(np.isinf(net.errors), 1.0, net.errors)
    there = ~np.isnan(worst[:, [k, beside]]).any(axis=1)
    return stats.difference(worst[there, k], worst[there, beside], resolution=net.resolution)


def _diverged(net: Net, k: int) -> int:
    return int(np.isinf(net.errors[:, k]).sum())


def _p_within(net: Net, k: int) -> float:
    """p of "above another rate by the margin or more" against "by less", of the worst of the others.

    Against each of them, not against the one with the lowest loss: which is best is known from the same seeds.
    """
    others = (_difference(net, k, j).p_above(MARGIN) for j in range(len(net.rates)) if j != k)
    return max((1 - p if math.isfinite(p) else 1.0 for p in others), default=1.0)


def _p_above(net: Net, k: int) -> float:
    """p of "above its best by the margin at most" against "by more"."""
    if k == net.at_best:
        return 1.0
    if 2 * _diverged(net, k) > len(net.seeds) and not _diverged(net, net.at_best):
        return 0.0
    p = _difference(net, k).p_above(MARGIN)
    return p if math.isfinite(p) else 1.0


def _towards_best(net: Net, lr: float) -> int:
    """Place of a rate, or of the next one towards the best where it was not tried: that one is no worse.

    So much is assumed of a net: from its best rate on, others get worse in either direction.
    """
    if lr in net.rates:
        return net.rates.index(lr)
    if lr > net.rates[net.at_best]:
        return max(k for k, tried in enumerate(net.rates) if tried < lr)
    return min(k for k, tried in enumerate(net.rates) if tried > lr)


def _row(net: Net, k: int) -> TransferRow:
    found, failed = _difference(net, k), _diverged(net, k) + _diverged(net, net.at_best)
    effect, low, high = shown(found, failed > 0)
    return TransferRow(lr=net.rates[k], depth=net.depth, best_lr=net.best().lr, effect=effect, low=low, high=high,
                       n=found.n, diverged=_diverged(net, k))  # fmt: skip


def _harm(rows: Sequence[TransferRow], lr: float) -> tuple[int, float]:
    """Diverged seeds, and the largest rise of any depth, at a rate."""
    here = [row for row in rows if row.lr == lr]
    return sum(row.diverged for row in here), max(or_infinite(row.effect) for row in here)


def _at(rows: Sequence[TransferRow], lr: float) -> TransferRow | None:
    here = [row for row in rows if row.lr == lr]
    return max(here, key=lambda row: (or_infinite(row.effect), row.depth), default=None)


def _worst(base: Finding, rows: Sequence[TransferRow], lr: float) -> Finding:
    row = _at(rows, lr)
    return base if row is None else base.but(effect=known(row.effect), low=known(row.low), high=known(row.high))


def _where(rows: Sequence[TransferRow], lr: float) -> str:
    row = _at(rows, lr)
    if row is None:
        return "nothing known"
    if row.diverged:
        return f"{row.diverged} of {row.n} seeds of {row.depth} layers diverged"
    bounds = f" (at least {points(row.low)}, at most {points(row.high)})" if math.isfinite(row.high) else ""
    return f"{row.depth} layers {points(row.effect)} above their own best{bounds}"


def _law(arm: Sequence[Net]) -> str:
    """How the best rate goes with depth, in words; empty where that cannot be told."""
    found = search.exponent(arm)
    if not math.isfinite(found.value):
        return ""
    interval = f"{found.low:.2f} to {found.high:.2f}" if found.estimable else found.reason
    return f"; the best rate goes as depth to the power of {found.value:.2f} ({interval})"


def lr_transfers(frames: Frames, deciding: Deciding) -> list[Finding]:
    """`lr-transfers`: see `transfers`; each architecture, the document's block first."""
    arms = search.ladders(search.nets(deciding.rows(convolutional(search.tried(frames)))))
    judged = [transfers(arm, search.told(arm, arms)) for arm in arms]
    found = [one.but(reason=one.reason + _law(arm)) for one, arm in zip(judged, arms, strict=True)]
    return headline_first(CLAIM, found, deciding, "resnet")
