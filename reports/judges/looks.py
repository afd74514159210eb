"""When verdicts are looked for: on the first 3, 5 and 8 seeds of a study, at the levels of `results.stats.LOOKS`.

The one place where seeds are left out: a judge is given the records of a look, and `results.stats` takes the level from
the seeds that are there. What was decided at a look stays decided, whatever later seeds say.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.finding import Finding, Verdict
from results import stats
from results.columns import SETTING
from results.tables import Frames


@dataclass(frozen=True)
class Look:
    """The records of the first `seeds` seeds.

    Attributes:
        of_trial: By digest of a trial, how many of these seeds its net has.
        there: Likewise, of all seeds that were run.
    """

    seeds: int
    frames: Frames
    of_trial: Mapping[str, int]
    there: Mapping[str, int]


def looks(frames: Frames) -> list[Look]:
    """Those that any study of these records has the seeds for; where none has, one at all of its seeds."""
    most = max((len(seeds) for part in (frames.trials, frames.search) for seeds in _seeds(part).values()), default=0)
    there = seeds_by_trial(frames)
    return [_look(frames, at, there) for at in stats.LOOKS if at <= most] or [_look(frames, most, there)]


def _look(frames: Frames, at: int, there: Mapping[str, int]) -> Look:
    trials, search = (_first(part, at) for part in (frames.trials, frames.search))
    epochs, probes = (part[part["digest"].isin(trials["digest"])] for part in (frames.epochs, frames.probes))
    cut = dataclasses.replace(frames, trials=trials, search=search, epochs=epochs, probes=probes)
    return Look(at, cut, seeds_by_trial(cut), there)


def _seeds(trials: pd.DataFrame) -> dict[str, list[int]]:
    """Of each study, rising."""
    counted = trials[trials["comparable"]]
    return {str(study): sorted(seeds.unique()) for study, seeds in counted.groupby("study")["seed"]}


def _first(trials: pd.DataFrame, at: int) -> pd.DataFrame:
    """Of each study as many seeds as its last look up to this one has; all of one that reaches no look."""
    first = {study: set(seeds[: stats.look(min(at, len(seeds)))]) for study, seeds in _seeds(trials).items()}
    pairs = zip(trials["study"], trials["seed"], strict=True)
    return trials[np.array([seed in first.get(study, ()) for study, seed in pairs], dtype=bool)]


def seeds_by_trial(frames: Frames) -> dict[str, int]:
    """By digest of a trial, how many seeds its net has under the same recipe."""
    found: dict[str, int] = {}
    for part in (frames.trials, frames.search):
        counted = part[part["comparable"]]
        seeds = counted.groupby(list(SETTING))["seed"].transform("nunique")
        found |= dict(zip(counted["digest"], seeds, strict=True))
    return found


def fewest(finding: Finding, of_trial: Mapping[str, int]) -> int:
    """Seeds of the net that has fewest, of those that a finding was judged on; 0 where it was judged on none."""
    return min((of_trial[digest] for digest in finding.trials if digest in of_trial), default=0)


def settled(by_look: Sequence[Look], judge: Callable[[Frames], list[Finding]]) -> list[Finding]:
    """A judge's findings, each at the first look that decides it; an open one at the last look that it has seeds for.

    Args:
        by_look: Of the same records, rising: see `looks`.
        judge: From the records of a look to findings.
    """
    judged = [(look, judge(look.frames)) for look in by_look]
    return [_settled(finding, judged) for finding in judged[-1][1]]


def _settled(last: Finding, judged: Iterable[tuple[Look, list[Finding]]]) -> Finding:
    best, at, there = last, 0, 0
    for look, findings in judged:
        same = next((finding for finding in findings if _about(finding) == _about(last)), None)
        # A net without all of these seeds leaves the finding where it stood.
        if same is None or fewest(same, look.of_trial) < look.seeds:
            continue
        best, at, there = same, look.seeds, fewest(same, look.there)
        if same.verdict is not Verdict.INCONCLUSIVE:
            break
    if there == at:
        return best
    how = "open" if best.verdict is Verdict.INCONCLUSIVE else "decided"
    return best.but(reason=f"{best.reason}, {how} at {at} of {there} seeds")


def _about(finding: Finding) -> tuple[str, ...]:
    return finding.claim, finding.subject, finding.measure, finding.study, finding.setting
