"""Judges of what happens inside the nets: lesions, effective depth, and the paths that the gradient takes.

They read the long probes frame; what each probe measured is said where it is measured, in `bench`. Growth has a file
of its own.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.finding import Finding, LesionRow, Verdict, known, percent, points
from reports.judges.errors import Deciding, headline_first, nothing
from reports.judges.ladders import recipes, steps_of, study_of
from reports.protocol import DEEP, MARGIN, SMALL, TRAINED
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
    base = base.but(effect=share.value * depth, low=known(share.low * depth), high=known(share.high * depth),
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
    base = base.but(effect=known(found.value), low=known(found.low), high=known(found.high), n=found.n)
    if not found.estimable:
        return base.but(reason=f"{words.rstrip(',')}: {found.reason}")
    told = f"{words} goes from {float(np.mean(first)):.3g} to {float(np.mean(last)):.3g}"
    if found.low > 0:
        return base.but(verdict=SUPPORTED, reason=told)
    return base.but(verdict=REFUTED if found.high < 0 else INCONCLUSIVE, reason=told)


def _by_seed(rows: pd.DataFrame, quantity: str) -> pd.Series:
    """Mean of a quantity by seed, over blocks or draws."""
    return rows[rows["quantity"] == quantity].groupby("seed")["value"].mean().sort_index()


def small_net_first(frames: Frames, deciding: Deciding) -> list[Finding]:
    """`small-net-first`: lesions of the deepest nets that trained, residual and plain, and how they came about."""
    claim = "small-net-first"
    probes = frames.probes
    probes = probes[probes["probe"].isin(["lesions", "branch_ratio", "path_gradients"])]
    trials = frames.trials
    trials = trials[trials["comparable"] & (trials["layout"] != "dense") & (trials["clip_norm"] == 0)]
    trials = deciding.rows(trials[trials["study"].isin(_studies(trials, probes))])
    found: list[Finding] = []
    for setting, recipe in recipes(trials):
        for subject in ("resnet", "preact", "plain"):
            nets = recipe[recipe["architecture"] == subject]
            mine = probes[probes["digest"].isin(nets["digest"])]
            if not mine.empty:
                steps = steps_of(nets[nets["digest"].isin(mine["digest"])])
                lost = _lost(nets)
                made = [
                    _lesions(claim, subject, mine, lost),
                    *_paths(claim, subject, mine, _lost(nets, TRAINED)),
                    *_over_epochs(claim, subject, mine, lost),
                ]
                found += [
                    f.but(study=study_of(nets), setting=setting, steps=steps, reason=f"{f.reason}, at {steps} steps")
                    for f in made
                ]
    if not found:
        return [nothing(claim, "resnet", deciding.study, measure="effective_depth")]
    return headline_first(claim, found, deciding, "resnet")


def _studies(trials: pd.DataFrame, probes: pd.DataFrame) -> set[str]:
    """Studies of which any of these trials left any of these probes: others have nothing to say."""
    return set(trials.loc[trials["digest"].isin(probes["digest"]), "study"])


def _lost(nets: pd.DataFrame, most: float = 1.0) -> set[int]:
    """Depths at which a seed is lost: it diverged, failed, or ended above the training error `most` (in 0..1).

    A net that failed leaves no probe: the seeds that did are survivors, and speak for no depth.
    """
    kept = (nets["status"] == "ok") & (nets["train_error"] <= most)
    return {int(depth) for depth in nets.loc[~kept, "depth"]}


def _trained(lesions: pd.DataFrame, lost: set[int]) -> dict[int, pd.DataFrame]:
    """Lesions by depth, where the intact nets of all seeds trained and no seed was `lost`."""
    kept = {}
    for depth, rows in lesions[~lesions["depth"].isin(lost)].groupby("depth", sort=True):
        intact = _by_seed(rows, "intact_error")
        if len(intact) and bool((intact <= TRAINED).all()) and set(intact.index) == set(rows["seed"]):
            kept[int(str(depth))] = rows
    return kept


def _lesions(claim: str, subject: str, mine: pd.DataFrame, lost: set[int]) -> Finding:
    """The finding on lesions of one subject's nets, from its probes; depths of which a seed is `lost` are left out."""
    lesions = mine[mine["probe"] == "lesions"]
    base = Finding(claim, subject, "effective_depth", INCONCLUSIVE, "", unit="layer", n=int(mine["seed"].nunique()))
    trained = _trained(lesions, lost)
    rows = tuple(
        LesionRow(
            depth=depth,
            effective_depth=float(_by_seed(at, "effective_depth_reestimated").mean()),
            effective_depth_as_trained=float(_by_seed(at, "effective_depth").mean()),
            rise=float((_by_seed(at, "errors_reestimated") - _intact(at)).mean()),
            n=int(at["seed"].nunique()),
        )
        for depth, at in trained.items()
    )
    base = base.but(details=rows, trials=tuple(sorted(lesions["digest"].unique())))
    tried = sorted({*lesions["depth"], *lost})
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
    """Whether the gradient comes through short paths: 95 % of it through under half of the blocks.

    Only of deep nets that trained in all seeds: of depths of which a seed is `lost`, nothing is told.
    """
    tried = mine[(mine["probe"] == "path_gradients") & (mine["depth"] >= DEEP)]
    rows = tried[~tried["depth"].isin(lost)]
    if rows.empty and not tried.empty:
        base = Finding(claim, subject, "path_length", INCONCLUSIVE, "", unit="block", n=int(tried["seed"].nunique()))
        reason = f"at no depth from {DEEP} layers did all seeds train to {percent(TRAINED)} training error"
        return [base.but(trials=tuple(sorted(tried["digest"].unique())), reason=f"gradient over paths: {reason}")]
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
    """Effective depth and the branches' share, at the first look and at the end, of the deepest nets that trained.

    Depths of which a seed is `lost` are left out.
    """
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
