"""The judge of random labels: are deeper nets bent to any function in fewer steps?"""

import math

import numpy as np

from reports.finding import Finding, FittingRow, Verdict, percent
from reports.judges import rules
from reports.judges.errors import Deciding
from reports.judges.ladders import recipes, study_of
from reports.protocol import FITTED
from results import stats
from results.tables import Frames, with_random_labels


def fitting(
    claim: str, subject: str, depths: list[int], steps: np.ndarray, budget: int, one_rate: bool = True
) -> Finding:
    """Whether deeper nets fit random labels in fewer steps: Page's test, nets that never fit ranked last.

    Supported: steps fall with depth (p under the level of its look). That they rise refutes nothing: at another rate,
    or trained for longer, deep nets may do better.

    Args:
        steps: Shape (seeds, depths): step of the first epoch at or under `FITTED`; infinite when never.
        budget: Steps that each net was given.
        one_rate: Whether all depths had one learning rate.
    """
    base = Finding(claim, subject, "steps_to_fit", Verdict.INCONCLUSIVE, "", unit="step", n=len(steps), steps=budget)
    worst = np.where(np.isfinite(steps), steps, 10.0 * max(budget, 1))
    worst = np.where(np.isnan(steps), np.nan, worst)
    rises, falls = stats.rising(worst), stats.rising(-worst)
    rows = [
        FittingRow(depth=d, steps=tuple(float(s) if math.isfinite(s) else None for s in steps[:, j]))
        for j, d in enumerate(depths)
    ]
    medians = [float(np.median(worst[:, j])) for j in (0, -1)] if steps.size else [math.nan, math.nan]
    # Between nets that fit: how many steps more the deepest takes.
    change = medians[1] - medians[0] if medians[0] <= budget and medians[1] <= budget else None
    base = base.but(details=tuple(rows), effect=change)
    when = f"at {budget} steps"
    if rises.reason:
        return base.but(reason=f"random labels: {rises.reason} ({when})")
    fitted = [f"{d}: {int(np.isfinite(steps[:, j]).sum())} of {len(steps)}" for j, d in enumerate(depths)]
    if not np.isfinite(steps).any():
        return base.but(reason=f"no net fits the random labels {when}")
    words = [f"{m:.0f} steps" if m <= budget else "never" for m in medians]
    told = (
        f"random labels fitted at {percent(1 - FITTED)}: {words[0]} at {depths[0]} layers, {words[1]} at {depths[-1]} "
        f"(seeds that fit, by depth: {', '.join(fitted)}), {when}"
    )
    if falls.p < stats.level(len(steps)):
        return base.but(verdict=Verdict.SUPPORTED, reason=f"{told}; falls, p = {falls.p:.2g}")
    if rises.p < stats.level(len(steps)):
        but = rules.ONE_RATE if one_rate else "but no net was trained for longer"
        return base.but(reason=f"{told}; rises, p = {rises.p:.2g}, {but}")
    return base.unclear(f"{told}; no trend")


def random_labels(frames: Frames, deciding: Deciding) -> list[Finding]:
    """How many steps each family needs for random labels, against depth (Zhang et al. 2017); see `fitting`."""
    random = with_random_labels(frames.trials)
    trials = deciding.rows_aside(frames.trials[random & frames.trials["comparable"]])
    cells = [(s, a, rows) for s, recipe in recipes(trials) for a, rows in recipe.groupby("architecture", sort=True)]
    found = []
    for setting, subject, rows in cells:
        depths, seeds = sorted(rows["depth"].unique()), sorted(rows["seed"].unique())
        steps = np.full((len(seeds), len(depths)), np.nan)
        epochs = frames.epochs[frames.epochs["digest"].isin(rows["digest"])]
        fit = epochs[epochs["train_error"] <= FITTED].groupby("digest")["steps"].min()
        # A trial that failed says nothing of how long fitting takes; one that diverged never fits.
        ended = rows[rows["status"].isin(["ok", "diverged"])]
        for digest, depth, seed in zip(ended["digest"], ended["depth"], ended["seed"], strict=True):
            steps[seeds.index(seed), depths.index(depth)] = fit.get(digest, math.inf)
        budget = rows["steps_planned"].max()
        steps_given, one_rate = int(budget) if budget > 0 else 0, bool((rows["lr_from"] == "study").all())
        finding = fitting("deeper-is-better", str(subject), [int(d) for d in depths], steps, steps_given, one_rate)
        digests = tuple(sorted(rows["digest"]))
        if one_rate and rules.ONE_RATE not in finding.reason:
            finding = finding.but(reason=f"{finding.reason}, at one learning rate")
        finding = finding.but(subject=f"{subject}, random labels", trials=digests)
        found.append(finding.but(study=study_of(rows), setting=setting))
    return found
