"""Judges of what happens inside the nets: lesions and effective depth, and growth by blocks that change nothing.

They read the long probes frame; what each probe measured is said where it is measured, in `bench`.
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.errors import GROWTH, SMALL_FIRST, headline_first, nothing, of_studies
from reports.finding import Finding, Verdict, percent, points
from reports.thresholds import DEEP, MARGIN, SAME_FUNCTION, SMALL, TRAINED
from results import stats
from results.tables import Frames

SUPPORTED, REFUTED, INCONCLUSIVE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE


def small(base: Finding, depth: int, rise: NDArray[np.float64], effective: NDArray[np.float64]) -> Finding:
    """Whether a trained deep net is small inside: single blocks barely matter, and under half of its depth counts.

    Supported: the upper bounds of both are under `MARGIN` and `SMALL` (intersection-union). Refuted: a lower bound is
    above.

    Args:
        depth: Layers of the nets.
        rise: By seed: mean rise of the error when one block is deleted, statistics re-estimated.
        effective: By seed: effective depth in layers, statistics re-estimated.
    """
    single, share = stats.bounds(rise, resolution=1e-4), stats.bounds(effective / depth, resolution=1e-4)
    base = base.but(effect=share.value * depth, low=_known(share.low * depth), high=_known(share.high * depth),
                    unit="layer", n=share.n)  # fmt: skip
    told = (
        f"of {depth} layers {share.value * depth:.0f} count (effective depth); deleting one block raises the error by "
        f"{points(single.value)} on average"
    )
    if not (single.estimable and share.estimable):
        return base.but(reason=f"{told}, but {single.reason or share.reason}")
    if single.high < MARGIN and share.high < SMALL:
        return base.but(verdict=SUPPORTED, reason=told)
    if single.low > MARGIN or share.low > SMALL:
        return base.but(verdict=REFUTED, reason=f"{told}: no small net")
    return base.but(reason=f"{told}: the interval reaches over {points(MARGIN)} or {percent(SMALL)} of the depth")


def grows(base: Finding, first: NDArray[np.float64], last: NDArray[np.float64], words: str) -> Finding:
    """Whether a number of each seed rises from the first look to the end of training. Paired; any rise counts."""
    found = stats.difference(last, first)
    base = base.but(effect=_known(found.value), low=_known(found.low), high=_known(found.high), n=found.n)
    if not found.estimable:
        return base.but(reason=f"{words.rstrip(',')}: {found.reason}")
    told = f"{words} goes from {float(np.mean(first)):.3g} to {float(np.mean(last)):.3g}"
    if found.low > 0:
        return base.but(verdict=SUPPORTED, reason=told)
    return base.but(verdict=REFUTED if found.high < 0 else INCONCLUSIVE, reason=told)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _by_seed(rows: pd.DataFrame, quantity: str) -> pd.Series:
    """Mean of a quantity by seed, over blocks or draws."""
    return rows[rows["quantity"] == quantity].groupby("seed")["value"].mean().sort_index()


def _steps(frames: Frames, digests: pd.Series) -> int | None:
    planned = frames.trials.loc[frames.trials["digest"].isin(digests.unique()), "steps_planned"].max()
    return int(planned) if planned > 0 else None


def small_net_first(frames: Frames) -> list[Finding]:
    """`small-net-first`: lesions of the deepest nets that trained, residual and plain, and how they came about."""
    claim = "small-net-first"
    probes = frames.probes
    used = probes["probe"].isin(["lesions", "branch_ratio", "path_gradients"]) & probes["comparable"]
    probes = probes[used & (probes["layout"] != "dense") & (probes["clip_norm"] == 0)]
    probes = of_studies(probes, SMALL_FIRST)
    found: list[Finding] = []
    for study in sorted(probes["study"].unique()):
        for subject in ("resnet", "preact", "plain"):
            mine = probes[(probes["study"] == study) & (probes["architecture"] == subject)]
            if not mine.empty:
                steps = _steps(frames, mine["digest"])
                lost = _lost(frames.trials, study, subject)
                made = [
                    _lesions(claim, subject, mine, lost),
                    *_paths(claim, subject, mine, lost | _lost(frames.trials, study, subject, TRAINED)),
                    *_over_epochs(claim, subject, mine, lost),
                ]
                found += [f.but(study=study, steps=steps, reason=f"{f.reason}, at {steps} steps") for f in made]
    if not found:
        return [nothing(claim, "resnet", SMALL_FIRST[-1], measure="effective_depth")]
    return headline_first(claim, found, SMALL_FIRST, "resnet")


def _lost(trials: pd.DataFrame, study: str, subject: str, most: float = 1.0) -> set[int]:
    """Depths at which a seed diverged or broke off: it leaves no lesions, and the others are survivors."""
    mine = (trials["study"] == study) & (trials["architecture"] == subject) & trials["comparable"]
    mine &= (trials["layout"] != "dense") & (trials["clip_norm"] == 0)
    return set(trials.loc[mine & ~((trials["status"] == "ok") & (trials["train_error"] <= most)), "depth"])


def _trained(lesions: pd.DataFrame, lost: set[int]) -> dict[int, pd.DataFrame]:
    """Lesions by depth, where the intact nets of all seeds trained."""
    kept = {}
    for depth, rows in lesions.groupby("depth", sort=True):
        intact = _by_seed(rows, "intact_error")
        if depth in lost:
            continue
        if len(intact) and bool((intact <= TRAINED).all()) and set(intact.index) == set(rows["seed"]):
            kept[int(str(depth))] = rows
    return kept


def _lesions(claim: str, subject: str, mine: pd.DataFrame, lost: set[int]) -> Finding:
    lesions = mine[mine["probe"] == "lesions"]
    base = Finding(claim, subject, "effective_depth", INCONCLUSIVE, "", unit="layer", n=int(mine["seed"].nunique()))
    trained = _trained(lesions, lost)
    rows = tuple(
        {
            "depth": depth,
            "effective_depth": float(_by_seed(at, "effective_depth_reestimated").mean()),
            "effective_depth_as_trained": float(_by_seed(at, "effective_depth").mean()),
            "rise": float((_by_seed(at, "errors_reestimated") - _intact(at)).mean()),
            "n": int(at["seed"].nunique()),
        }
        for depth, at in trained.items()
    )
    base = base.but(details=rows, trials=tuple(sorted(lesions["digest"].unique())))
    tried = sorted(lesions["depth"].unique())
    # A plain net of 258 layers never trains: it is looked at where it does, which only makes the rule harder to meet.
    if not trained or (max(trained) < DEEP and subject != "plain"):
        reason = f"never tried at {DEEP} layers or more" if not tried or tried[-1] < DEEP else (
            f"no net of {DEEP} layers or more trained to {percent(TRAINED)} test error in all seeds: nothing to cut"
        )  # fmt: skip
        return base.but(reason=reason)
    depth = max(trained)
    at = trained[depth]
    rise = (_by_seed(at, "errors_reestimated") - _intact(at)).to_numpy()
    effective = _by_seed(at, "effective_depth_reestimated").to_numpy()
    return small(base, depth, rise, effective)


def _intact(rows: pd.DataFrame) -> pd.Series:
    """Of the intact net, in the way that the lesioned ones are measured."""
    intact = _by_seed(rows, "intact_error_reestimated")
    return intact if len(intact) else _by_seed(rows, "intact_error")


def _paths(claim: str, subject: str, mine: pd.DataFrame, lost: set[int]) -> list[Finding]:
    """Whether the gradient comes through short paths: 95 % of it through under half of the blocks, deep nets only."""
    rows = mine[(mine["probe"] == "path_gradients") & (mine["depth"] >= DEEP)]
    rows = rows[~rows["depth"].isin(list(lost))]
    for depth in sorted(rows["depth"].unique(), reverse=True):
        at = rows[rows["depth"] == depth]
        high, blocks = _by_seed(at, "high"), _by_seed(at, "blocks")
        found = stats.bounds((high / blocks).to_numpy(), resolution=1e-4)
        base = Finding(claim, subject, "path_length", INCONCLUSIVE, "", unit="block", n=found.n)
        base = base.but(trials=tuple(sorted(at["digest"].unique())))
        if not found.estimable:
            return [base.but(reason=f"gradient over paths at {depth} layers: {found.reason}")]
        n = float(blocks.mean())
        base = base.but(effect=found.value * n, low=found.low * n, high=found.high * n)
        within = f"{found.value * n:.0f} of {n:.0f} blocks"
        told = f"95 % of the gradient at {depth} layers comes through paths of up to {within}"
        verdict = SUPPORTED if found.high < SMALL else REFUTED if found.low > SMALL else INCONCLUSIVE
        return [base.but(verdict=verdict, reason=told)]
    return []


def _over_epochs(claim: str, subject: str, mine: pd.DataFrame, lost: set[int]) -> list[Finding]:
    """Effective depth and the branches' share, at the first look and at the end, of the deepest nets that trained."""
    found = []
    trained = _trained(mine[mine["probe"] == "lesions"], lost)
    mine = mine[mine["depth"].isin(list(trained))]
    layers = ("lesions", "by_epoch.effective_depth", "effective_depth_reestimated")
    norms = ("branch_ratio", "ratio", "ratio")
    looks = (
        (*layers, "effective_depth", "effective depth", "layer"),
        (*norms, "branch_ratio", "norm of branch over shortcut", "ratio"),
    )
    for probe, early, late, name, words, unit in looks:
        rows = mine[mine["probe"] == probe]
        pairs = _first_and_last(rows, early, late)
        if pairs is None:
            continue
        depth, first, last, epoch = pairs
        base = Finding(claim, subject, f"{name}_over_epochs", INCONCLUSIVE, "", unit=unit)
        base = base.but(trials=tuple(sorted(rows.loc[rows["depth"] == depth, "digest"].unique())))
        found.append(grows(base, first, last, f"{words} at {depth} layers, from epoch {epoch:g} to the end,"))
    return found


def _first_and_last(
    rows: pd.DataFrame, early: str, late: str
) -> tuple[int, NDArray[np.float64], NDArray[np.float64], float] | None:
    """Depth, values by seed at the first epoch and at the end, and that epoch."""
    for depth in sorted(rows["depth"].unique(), reverse=True):
        at = rows[rows["depth"] == depth]
        looked = at[(at["quantity"] == early) & at["epoch"].notna() & at["value"].notna()]
        if looked.empty:
            continue
        first_epoch = looked["epoch"].min()
        first = looked[looked["epoch"] == first_epoch].groupby("seed")["value"].mean()
        end = at[at["quantity"] == late]
        end = end[end["epoch"] == end["epoch"].max()] if end["epoch"].notna().any() else end
        last = end.groupby("seed")["value"].mean()
        both = sorted(set(first.index) & set(last.dropna().index))
        if len(both) >= 2 and not (early == late and first_epoch == looked["epoch"].max()):
            return int(depth), first[both].to_numpy(), last[both].to_numpy(), float(first_epoch)
    return None


def grown(
    base: Finding,
    depths: list[int],
    change: NDArray[np.float64],
    error: NDArray[np.float64],
    control: NDArray[np.float64],
) -> Finding:
    """Whether a trained net can be grown by blocks that change nothing, and never ends worse for it.

    Supported: at each step the outputs agree within `SAME_FUNCTION` in all seeds, and the one-sided 95 % upper bound of
    the grown net's error above the ungrown one's, trained on as long, is under `MARGIN`. Refuted: outputs change more,
    or the grown net is worse by more than the margin (Holm over the steps).

    Args:
        depths: Depth after each step.
        change: Shape (seeds, steps): largest change of an output at the insertion, over the largest output.
        error, control: Shape (seeds, steps): training error of the grown and of the ungrown net.
    """
    rows: list[dict[str, Any]] = []
    compared = [stats.difference(error[:, j], control[:, j], resolution=1e-4) for j in range(len(depths))]
    adjusted = stats.holm([found.p_above(MARGIN) for found in compared])
    for j, found in enumerate(compared):
        lost = [int((side[:, j] >= 1).sum()) for side in (error, control)]
        shown = (math.nan,) * 3 if any(lost) else (found.value, found.low, found.high)
        rows.append({"depth": depths[j], "change": float(change[:, j].max()),
                     **dict(zip(("effect", "low", "high"), shown, strict=True)),
                     "n": found.n, "diverged": lost[0], "ungrown diverged": lost[1]})  # fmt: skip
    base = base.but(details=tuple(rows))
    if not depths:
        return base.but(reason="no growth was tried")
    worst = max(compared, key=lambda f: f.high if f.estimable else math.inf)
    base = base.but(effect=_known(worst.value), low=_known(worst.low), high=_known(worst.high), n=worst.n)
    path = " to ".join(map(str, depths))
    if not np.isfinite(change).all():
        return base.but(reason=f"grown to {path} layers: the change of the outputs was not measured everywhere")
    furthest = float(change.max())
    told = f"grown to {path} layers, outputs change by {furthest:.2g} of the largest"
    if furthest > SAME_FUNCTION:
        return base.but(verdict=REFUTED, reason=f"{told}: the new blocks are not the identity")
    failed = max(int((error[:, j] >= 1).sum()) for j in range(len(depths)))
    if failed:
        base = base.but(effect=None, low=None, high=None)
        verdict = REFUTED if 2 * failed > len(error) else INCONCLUSIVE
        return base.but(verdict=verdict, reason=f"{told}, but {failed} of {len(error)} seeds diverged when trained on")
    if unfit := max(int((control[:, j] >= 1).sum()) for j in range(len(depths))):
        base = base.but(effect=None, low=None, high=None)
        return base.but(reason=f"{told}, but {unfit} of {len(control)} ungrown nets diverged: nothing to compare with")
    if depths[-1] < DEEP:
        return base.but(reason=f"{told}, but never to {DEEP} layers or more")
    sure = [j for j, p in enumerate(adjusted) if p < stats.ALPHA]
    if sure:
        j = max(sure, key=lambda i: compared[i].value)
        worse = compared[j]
        reason = f"{told}, but trained on, it is {points(worse.value)} worse at {depths[j]} layers"
        return base.but(verdict=REFUTED, effect=worse.value, low=worse.low, high=worse.high, reason=reason)
    if all(f.estimable and f.high < MARGIN for f in compared):
        return base.but(
            verdict=SUPPORTED, reason=f"{told}; trained on, it ends at most {points(worst.high)} above the ungrown net"
        )
    why = next((f.reason for f in compared if not f.estimable), f"the interval reaches over {points(MARGIN)}")
    return base.but(reason=f"{told}; against the ungrown net: {why}")


def identity_growth(frames: Frames) -> list[Finding]:
    """`identity-growth`: see `grown`; residual nets, and the plain net with its best chance."""
    claim = "identity-growth"
    probes = frames.probes
    probes = of_studies(probes[(probes["probe"] == "growth") & probes["comparable"]], GROWTH)
    found = []
    for study in sorted(probes["study"].unique()):
        for subject in ("resnet", "preact", "plain"):
            mine = probes[(probes["study"] == study) & (probes["architecture"] == subject)]
            if not mine.empty:
                base = Finding(claim, subject, "train_error", INCONCLUSIVE, "", study=study)
                steps = _steps(frames, mine["digest"])
                base = base.but(steps=steps, trials=tuple(sorted(mine["digest"].unique())))
                gone = frames.trials[frames.trials["comparable"] & (frames.trials["grow_to"] != "")]
                gone = gone[(gone["study"] == study) & (gone["architecture"] == subject) & (gone["status"] != "ok")]
                finding = (
                    base.but(n=len(gone) + mine["seed"].nunique(),
                             reason=f"{len(gone)} seeds diverged or broke off before they could be grown")
                    if len(gone) else _growth(base, mine)
                )  # fmt: skip
                found.append(finding.but(reason=f"{finding.reason}, at {steps} steps"))
    if not found:
        return [nothing(claim, "resnet", GROWTH[-1])]
    return headline_first(claim, found, GROWTH, "resnet")


def _growth(base: Finding, mine: pd.DataFrame) -> Finding:
    """Arrays of seeds by steps out of the long frame, in the form of `bench.growth`."""
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
    return grown(base.but(n=len(to)), [int(depth) for depth in to[0]], change, error, control)
