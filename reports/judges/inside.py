"""Judges of what happens inside the nets: lesions, effective depth, and the paths that the gradient takes.

They read the long probes frame; what each probe measured is said where it is measured, in `bench`. Growth has a file
of its own.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.layouts import CONVOLUTIONAL
from reports.finding import Finding, LesionRow, Verdict, known, percent, points
from reports.judges.badly import untried
from reports.judges.errors import Deciding, headline_first, nothing, residual
from reports.judges.ladders import recipes, steps_of, study_of
from reports.protocol import DEEP, MARGIN, SMALL, TRAINED
from results import stats
from results.tables import Frames

SUPPORTED, REFUTED, INCONCLUSIVE = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE


# The four parts of "it fits a small net first", in the order in which a verdict tells them.
SINGLE, PATHS, PREFIX, GROWTH = "single_blocks", "path_length", "effective_depth", "effective_depth_over_epochs"
PARTS = {SINGLE: "single blocks", PATHS: "gradient paths", PREFIX: "prefix nets", GROWTH: "growth over epochs"}


def whole(base: Finding, parts: Sequence[Finding]) -> Finding:
    """The verdict on all four parts: supported if each is, refuted if two are, else inconclusive."""
    said = {part.measure: f"{part.verdict} ({part.reason})" for part in parts}
    told = "; ".join(f"{words}: {said.get(name, 'not measured')}" for name, words in PARTS.items())
    verdicts = [part.verdict for part in parts]
    base = base.but(reason=told, n=min((part.n for part in parts), default=0))
    if verdicts.count(REFUTED) >= 2:
        return base.but(verdict=REFUTED)
    more = any(part.more_seeds for part in parts)
    return base.but(verdict=SUPPORTED) if verdicts == [SUPPORTED] * len(PARTS) else base.but(more_seeds=more)


def single(base: Finding, rise: NDArray[np.float64]) -> Finding:
    """Whether single blocks barely matter: deleting one raises the error by less than `MARGIN` on average.

    Args:
        rise: By seed: mean rise of the error when one block is deleted, statistics re-estimated; each block counts by
            its share of the net's.
    """
    found = stats.bounds(rise, resolution=1e-4)
    base = base.measured(found).but(n=found.n)
    told = f"deleting one block raises the error by {points(found.value)} on average"
    return _side(base, found, MARGIN, told)


def prefix(base: Finding, depth: int, effective: NDArray[np.float64]) -> Finding:
    """Whether a small net inside does the work: the effective depth is under `SMALL` of the depth.

    Args:
        depth: Layers of the nets.
        effective: By seed: effective depth in layers, statistics re-estimated.
    """
    found = stats.bounds(effective / depth, resolution=1e-4)
    base = base.but(effect=known(found.value * depth), low=known(found.low * depth), high=known(found.high * depth),
                    unit="layer", n=found.n)  # fmt: skip
    return _side(base, found, SMALL, f"of {depth} layers {found.value * depth:.0f} count (effective depth)")


def short_paths(base: Finding, depth: int, blocks: float, share: NDArray[np.float64]) -> Finding:
    """Whether 95 % of the gradient comes through paths of less than `SMALL` of the blocks.

    Args:
        depth: Layers of the nets.
        blocks: Of such a net.
        share: By seed: length under which 95 % lie, over the blocks.
    """
    found = stats.bounds(share, resolution=1e-4)
    base = base.but(effect=known(found.value * blocks), low=known(found.low * blocks),
                    high=known(found.high * blocks), unit="block", n=found.n)  # fmt: skip
    within = f"{found.value * blocks:.0f} of {blocks:.0f} blocks"
    return _side(base, found, SMALL, f"95 % of the gradient at {depth} layers comes through paths of up to {within}")


def _side(base: Finding, found: stats.Estimate, threshold: float, told: str) -> Finding:
    """Supported with the upper bound under the threshold, refuted with the lower one above."""
    if not found.estimable:
        return base.but(reason=f"{told}, but {found.reason}")
    if found.high < threshold:
        return base.but(verdict=SUPPORTED, reason=told)
    if found.low > threshold:
        return base.but(verdict=REFUTED, reason=told)
    limit = points(MARGIN) if threshold == MARGIN else f"{percent(SMALL)} of the net"
    return base.unclear(f"{told}: the interval reaches over {limit}")


def grows(base: Finding, first: NDArray[np.float64], last: NDArray[np.float64], words: str) -> Finding:
    """Whether a number of each seed rises from the first look to the end of training. Paired; any rise counts."""
    found = stats.difference(last, first)
    base = base.measured(found).but(n=found.n)
    if not found.estimable:
        return base.but(reason=f"{words.rstrip(',')}: {found.reason}")
    told = f"{words} goes from {float(np.mean(first)):.3g} to {float(np.mean(last)):.3g}"
    if found.low > 0:
        return base.but(verdict=SUPPORTED, reason=told)
    return base.but(verdict=REFUTED, reason=told) if found.high < 0 else base.unclear(told)


def _by_seed(rows: pd.DataFrame, quantity: str) -> pd.Series:
    """Mean of a quantity by seed, over blocks or draws."""
    return rows[rows["quantity"] == quantity].groupby("seed")["value"].mean().sort_index()


def small_net_first(frames: Frames, deciding: Deciding) -> list[Finding]:
    """`small-net-first`: for each kind of net the verdict on all four parts, then the parts; see `whole`."""
    claim = "small-net-first"
    probes = frames.probes
    probes = probes[probes["probe"].isin(["lesions", "path_gradients"])]
    trials = frames.trials
    trials = trials[trials["comparable"] & trials["layout"].isin(CONVOLUTIONAL) & (trials["clip_norm"] == 0)]
    trials = deciding.rows(trials[trials["study"].isin(_studies(trials, probes))])
    found: list[Finding] = []
    for setting, recipe in recipes(trials):
        for subject in (*residual(trials), "plain"):
            nets = recipe[recipe["architecture"] == subject]
            mine = probes[probes["digest"].isin(nets["digest"])]
            if not mine.empty:
                steps = steps_of(nets[nets["digest"].isin(mine["digest"])])
                lost = _lost(nets)
                parts = [
                    *_lesions(claim, subject, mine, lost),
                    *_paths(claim, subject, mine, _lost(nets, TRAINED)),
                    *_over_epochs(claim, subject, mine, lost),
                ]
                base = Finding(claim, subject, "small_net", INCONCLUSIVE, "", details=parts[0].details,
                               trials=tuple(sorted({digest for part in parts for digest in part.trials})))  # fmt: skip
                found += [
                    f.but(study=study_of(nets), setting=setting, steps=steps, reason=f"{f.reason}, at {steps} steps")
                    for f in (whole(base, parts), *parts)
                ]
    if not found:
        return [nothing(claim, "resnet", deciding.study, measure="small_net")]
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


def _lesions(claim: str, subject: str, mine: pd.DataFrame, lost: set[int]) -> list[Finding]:
    """The parts on prefix nets and on single blocks of one subject; depths with a `lost` seed are left out."""
    lesions = mine[mine["probe"] == "lesions"]
    base = Finding(claim, subject, PREFIX, INCONCLUSIVE, "", unit="layer", n=int(mine["seed"].nunique()))
    trained = _trained(lesions, lost)
    rows = tuple(
        LesionRow(
            depth=depth,
            effective_depth=float(_by_seed(at, "effective_depth_reestimated").mean()),
            effective_depth_as_trained=float(_by_seed(at, "effective_depth").mean()),
            rise=float(_rise(at).mean()),
            n=int(at["seed"].nunique()),
        )
        for depth, at in trained.items()
    )
    base = base.but(details=rows, trials=tuple(sorted(lesions["digest"].unique())))
    alone = base.but(measure=SINGLE, unit="1", details=())
    tried = sorted({*lesions["depth"], *lost})
    # A plain net of 258 layers never trains: it is looked at where it does, which only makes the rule harder to meet.
    if not trained or (max(trained) < DEEP and subject != "plain"):
        reason = untried() if not tried or tried[-1] < DEEP else (
            f"no net of {DEEP} layers or more trained to {percent(TRAINED)} test error in all seeds: nothing to cut"
        )  # fmt: skip
        return [base.but(reason=reason), alone.but(reason=reason)]
    depth = max(trained)
    effective = _by_seed(trained[depth], "effective_depth_reestimated").to_numpy()
    return [prefix(base, depth, effective), single(alone, _rise(trained[depth]).to_numpy())]


def _rise(rows: pd.DataFrame) -> pd.Series:
    """By seed: rise of the error when one block is deleted, each block counted by its share of those that can be.

    Of a deep net a few blocks are deleted, the first one among them. It follows the stem, matters like no other, and
    stands for itself only; each other one stands for an equal share of the rest.
    """
    errors = rows[rows["quantity"] == "errors_reestimated"]
    table = errors.pivot_table(index="seed", columns="index", values="value", aggfunc="mean").sort_index()
    count, known_blocks = table.shape[1], _by_seed(rows, "n_deletable")
    blocks = max(float(known_blocks.max()) if len(known_blocks) else 0.0, float(count))
    weights = np.full(count, (1 - 1 / blocks) / max(count - 1, 1))
    weights[:1] = 1 / blocks if count > 1 else 1.0
    return table @ weights - _intact(rows)


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
        base = Finding(claim, subject, PATHS, INCONCLUSIVE, "", unit="block", n=int(tried["seed"].nunique()))
        reason = f"at no depth from {DEEP} layers did all seeds train to {percent(TRAINED)} training error"
        return [base.but(trials=tuple(sorted(tried["digest"].unique())), reason=f"gradient over paths: {reason}")]
    for depth in sorted(rows["depth"].unique(), reverse=True):
        at = rows[rows["depth"] == depth]
        high, blocks = _by_seed(at, "high"), _by_seed(at, "blocks")
        base = Finding(claim, subject, PATHS, INCONCLUSIVE, "", unit="block")
        base = base.but(trials=tuple(sorted(at["digest"].unique())))
        return [short_paths(base, depth, float(blocks.mean()), (high / blocks).to_numpy())]
    return []


def _over_epochs(claim: str, subject: str, mine: pd.DataFrame, lost: set[int]) -> list[Finding]:
    """Effective depth at the first look and at the end, of the deepest nets that trained; none with a `lost` seed.

    Of nets of `DEEP` layers or more, as the other parts; plain ones, which do not train there, of what depth they do.
    """
    lesions = mine[mine["probe"] == "lesions"]
    rows = lesions[lesions["depth"].isin(list(_trained(lesions, lost)))]
    if subject != "plain":
        rows = rows[rows["depth"] >= DEEP]
    pairs = _first_and_last(rows)
    if pairs is None:
        return []
    depth, first, last, epoch = pairs
    base = Finding(claim, subject, GROWTH, INCONCLUSIVE, "", unit="layer")
    base = base.but(trials=tuple(sorted(rows.loc[rows["depth"] == depth, "digest"].unique())))
    return [grows(base, first, last, f"effective depth at {depth} layers, from epoch {epoch:g} to the end,")]


def _first_and_last(rows: pd.DataFrame) -> tuple[int, NDArray[np.float64], NDArray[np.float64], float] | None:
    """Depth, effective depths by seed at the first epoch and at the end, and that epoch: the first that all seeds have.

    A net that errs too much has none. No seed is left out: the level of the test is that of their number.
    """
    for depth in sorted(rows["depth"].unique(), reverse=True):
        at = rows[rows["depth"] == depth]
        looked = at[(at["quantity"] == "by_epoch.effective_depth") & at["epoch"].notna() & at["value"].notna()]
        seeds = sorted(at["seed"].unique())
        last = _by_seed(at, "effective_depth_reestimated").reindex(seeds)
        by_epoch = looked.groupby(["epoch", "seed"])["value"].mean().unstack("seed")
        whole = by_epoch.reindex(columns=seeds).dropna()
        if len(seeds) >= 2 and len(whole) and last.notna().all():
            return int(depth), whole.iloc[0].to_numpy(), last.to_numpy(), float(str(whole.index[0]))
    return None
