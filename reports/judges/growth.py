"""The judge of growth by blocks that change nothing: is a deeper net at least as good as the one inside it?

Apart from `inside` since it asks another thing of other nets. What the probe measured is said in `bench.probes.growth`.
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.finding import Finding, GrowthRow, Verdict, percent, points, shown
from reports.judges.errors import Deciding, headline_first, nothing
from reports.judges.ladders import recipes, steps_of, study_of
from reports.judges.rules import ONE_RATE
from reports.protocol import DEEP, MARGIN, SAME_FUNCTION, TRAINED
from results import stats
from results.tables import Frames

SUPPORTED, REFUTED, INCONCLUSIVE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE


def grown(
    base: Finding,
    depths: list[int],
    change: NDArray[np.float64],
    error: NDArray[np.float64],
    control: NDArray[np.float64],
    resolution: float = 0.0,
    can_fail: bool = False,
) -> Finding:
    """Whether a trained net can be grown by blocks that change nothing, and never ends worse for it.

    Supported: at each step the outputs agree within `SAME_FUNCTION` in all seeds, and the one-sided upper bound of
    the grown net's error above the ungrown one's, trained on as long, is under `MARGIN`. Refuted: outputs change more.
    A grown net that ends worse, or diverges, refutes nothing: all are trained at one learning rate. Nothing is told
    where an ungrown net fails: it is what the grown ones are held against.

    Args:
        depths: Depth after each step.
        change: Shape (seeds, steps): largest change of an output at the insertion, over the largest output.
        error, control: Shape (seeds, steps): training error of the grown and of the ungrown net, 1.0 where it diverged.
        resolution: Smallest step that the errors can make.
        can_fail: Whether the growth of another net fails this test: then errors that are all at the floor are
            evidence, too.
    """
    if not depths:
        return base.but(reason="no growth was tried")
    compared = [stats.difference(error[:, j], control[:, j], resolution=resolution) for j in range(len(depths))]
    failed, unfit = ((side >= 1).sum(axis=0) for side in (error, control))
    base = base.but(n=len(error), details=tuple(_steps_of_growth(depths, change, compared, failed, unfit)))
    worst = max(compared, key=lambda f: f.high if f.estimable else math.inf)
    if not (failed.any() or unfit.any()):
        base = base.measured(worst).but(n=worst.n)
    path = " to ".join(map(str, depths))
    if not np.isfinite(change).all():
        return base.but(reason=f"grown to {path} layers: the change of the outputs was not measured everywhere")
    furthest = float(change.max())
    told = f"grown to {path} layers, outputs change by {furthest:.2g} of the largest"
    if furthest > SAME_FUNCTION:
        return base.but(verdict=REFUTED, reason=f"{told}: the new blocks are not the identity")
    if unfit.any():
        lost = f"{unfit.max()} of {len(control)} ungrown nets diverged"
        return base.but(reason=f"{told}, but {lost}: nothing to compare with")
    if failed.any():
        lost = f"{failed.max()} of {len(error)} seeds diverged when trained on"
        return base.but(reason=f"{told}; {lost}, {ONE_RATE}")
    if (control > TRAINED).any():
        lost = f"trained on, the ungrown net ends at up to {percent(float(control.max()))}"
        return base.but(reason=f"{told}, but {lost}: it does not train itself")
    floor = max(float(error.max()), float(control.max())) < MARGIN
    if (floor and not can_fail) or (not floor and np.ptp([error, control]) == 0):
        same = f"all errors are under {percent(MARGIN)}" if floor else f"all errors are {percent(float(error[0, 0]))}"
        base = base.but(effect=None, low=None, high=None)
        return base.but(reason=f"{told}; trained on, {same}: nothing tells grown from ungrown")
    return _after_growth(base, told, depths, compared)


def _steps_of_growth(
    depths: list[int],
    change: NDArray[np.float64],
    compared: list[stats.Difference],
    failed: NDArray[np.int64],
    unfit: NDArray[np.int64],
) -> list[GrowthRow]:
    """A row per step; no number for a difference of which a net, grown (`failed`) or not (`unfit`), diverged."""
    rows = []
    for j, found in enumerate(compared):
        effect, low, high = shown(found, bool(failed[j] or unfit[j]))
        rows.append(
            GrowthRow(
                depth=depths[j],
                change=float(change[:, j].max()),
                effect=effect,
                low=low,
                high=high,
                n=found.n,
                diverged=int(failed[j]),
                ungrown_diverged=int(unfit[j]),
            )
        )
    return rows


def _after_growth(base: Finding, told: str, depths: list[int], compared: list[stats.Difference]) -> Finding:
    """The second half of `grown`: outputs are the same and all nets train; is a grown one worse in the end?"""
    adjusted = stats.holm([found.p_above(MARGIN) for found in compared])
    sure = [j for j, p in enumerate(adjusted) if p < stats.level(compared[j].n)]
    if sure:
        j = max(sure, key=lambda i: compared[i].value)
        reason = f"{told}; trained on, it is {points(compared[j].value)} worse at {depths[j]} layers, {ONE_RATE}"
        return base.measured(compared[j]).but(n=compared[j].n, reason=reason)
    if depths[-1] < DEEP:
        return base.but(reason=f"{told}, but never to {DEEP} layers or more")
    if all(f.estimable and f.high < MARGIN for f in compared):
        most = max(f.high for f in compared)
        return base.but(
            verdict=SUPPORTED, reason=f"{told}; trained on, it ends at most {points(most)} above the ungrown net"
        )
    why = next((f.reason for f in compared if not f.estimable), f"the interval reaches over {points(MARGIN)}")
    return base.unclear(f"{told}; against the ungrown net: {why}")


def _fails(row: GrowthRow) -> bool:
    """Whether a net grown by a step is surely worse, or diverged where the ungrown one did not."""
    return row.low > MARGIN or (row.diverged > 0 and not row.ungrown_diverged)


def identity_growth(frames: Frames, deciding: Deciding) -> list[Finding]:
    """`identity-growth`: see `grown`; residual nets, and the plain net with its best chance."""
    claim = "identity-growth"
    probes = frames.probes[frames.probes["probe"] == "growth"]
    trials = frames.trials[frames.trials["comparable"] & (frames.trials["grow_to"] != "")]
    found = []
    for setting, recipe in recipes(deciding.rows(trials)):
        mine = _grown_nets(claim, setting, recipe, probes)
        failing = {f.subject for f in mine for row in f.details if isinstance(row, GrowthRow) and _fails(row)}
        if failing:
            mine = _grown_nets(claim, setting, recipe, probes, frozenset(failing))
        found += mine
    if not found:
        return [nothing(claim, "resnet", deciding.study)]
    return headline_first(claim, found, deciding, "resnet")


def _grown_nets(
    claim: str, setting: str, recipe: pd.DataFrame, probes: pd.DataFrame, failing: frozenset[str] = frozenset()
) -> list[Finding]:
    """The findings of one recipe; `failing` are the nets whose growth is known to fail the test."""
    found = []
    for subject in ("resnet", "preact", "plain"):
        for depth, nets in recipe[recipe["architecture"] == subject].groupby("depth", sort=True):
            mine = probes[probes["digest"].isin(nets["digest"])]
            # A trial with depths to grow to need not ask for the probe; one that failed leaves none.
            if mine.empty and (nets["status"] == "ok").all():
                continue
            steps = steps_of(nets)
            several = f"from {depth} layers" if recipe["depth"].nunique() > 1 else ""
            base = Finding(claim, subject, "train_error", INCONCLUSIVE, "", n=len(nets), study=study_of(nets),
                           steps=steps, setting=", ".join(filter(None, (setting, several))),
                           trials=tuple(sorted(nets["digest"])))  # fmt: skip
            can_fail = bool(failing - {subject})
            finding = base.but(reason=reason) if (reason := _ungrown(nets)) else _growth(base, mine, nets, can_fail)
            rate = "" if ONE_RATE in finding.reason else " and one learning rate"
            found.append(finding.but(reason=f"{finding.reason}, at {steps} steps{rate}"))
    return found


def _ungrown(nets: pd.DataFrame) -> str:
    """Why these nets cannot show what growth does to a trained net; empty when they can."""
    gone = int((nets["status"] != "ok").sum())
    if gone:
        return f"{gone} of {len(nets)} seeds diverged or failed: the others are survivors"
    errors = nets["train_error"]
    if not (errors <= TRAINED).all():
        worst = percent(float(errors.max())) if errors.notna().all() else "no number"
        return f"the net to be grown does not train itself: {worst} training error in the worst of {len(nets)} seeds"
    return ""


def _growth(base: Finding, mine: pd.DataFrame, nets: pd.DataFrame, can_fail: bool) -> Finding:
    """Arrays of seeds by steps out of the long frame, in the form of `bench.probes.growth`."""
    wanted = ("to", "max_logit_difference", "max_logit", "grown_error", "ungrown_error")
    tables = {
        name: mine[mine["quantity"] == f"steps.{name}"].pivot_table(
            index="seed", columns="index", values="value", aggfunc="mean", dropna=False
        )
        for name in wanted
    }
    skipped = mine[mine["quantity"] == "skipped"]["name"]
    if tables["to"].empty:
        return base.but(reason=skipped.iloc[0] if len(skipped) else "the records hold no growth that can be judged")
    # A seed whose net diverged was not grown further: judged up to the step that all seeds reached.
    reached = tables["to"].dropna(axis="columns").columns
    if not len(reached):
        return base.but(reason=f"not every seed could be grown: {''.join(skipped[:1])}")
    to, difference, largest, error, control = (
        tables[name].reindex(columns=reached, index=tables["to"].index).to_numpy(dtype=float) for name in wanted
    )
    # A net that diverged while it was trained on has no error: it ranks worst.
    error, control = (np.where(np.isfinite(values), values, 1.0) for values in (error, control))
    with np.errstate(divide="ignore", invalid="ignore"):
        change = difference / largest
    images = nets["n_train"].max()
    resolution = 1 / images if images > 0 else 0.0
    depths = [int(depth) for depth in to[0]]
    sound = _sound(error)
    change, error, control = (values[:, :sound] for values in (change, error, control))
    found = grown(base.but(n=len(to)), depths[:sound], change, error, control, resolution, can_fail)
    if sound < len(depths):
        last = f"growth beyond {depths[sound - 1]} layers is not judged: the net to be grown does not train there"
        return found.but(reason=f"{found.reason}; {last}")
    return found


def _sound(error: NDArray[np.float64]) -> int:
    """How many steps are judged: up to the first grown net that does not train, from which the next step starts.

    Outputs of a net that did not train are small, and rounding is large beside them.
    """
    fails = (error > TRAINED).any(axis=0)
    return int(np.argmax(fails)) + 1 if fails.any() else error.shape[1]
