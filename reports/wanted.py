"""Which trials more seeds are wanted of: what `make ablation SEEDS=auto` runs next. It judges nothing."""

import dataclasses

from bench.plan.trial import Trial
from reports.finding import Finding
from reports.judges.looks import fewest, seeds_by_trial
from reports.page import first, verdicts
from reports.page.context import Source
from results import stats


def wanted(source: Source) -> tuple[list[Trial], list[str]]:
    """Trials up to the next look of what is open for want of seeds: of its nets, at every length and rate of theirs.

    Returns:
        The trials that have no record, and a line for each claim and network that asks for them.
    """
    names = verdicts.labels(source.frames)
    judged = verdicts.judged_here(source.study, source.findings)
    more: dict[str, Trial] = {}
    lines = []
    for claim, findings in judged:
        for finding in first.told(findings, names):
            at, trials = _next(source, finding)
            more |= {trial.digest: trial for trial in trials}
            if trials:
                lines.append(f"{claim.id}, {first.called(finding.subject, names)}: open, more seeds up to {at}")
    return list(more.values()), lines


def _next(source: Source, finding: Finding) -> tuple[int, list[Trial]]:
    """The next look of an open finding and the trials that it lacks; none where more seeds do not help."""
    have = fewest(finding, seeds_by_trial(source.frames)) if finding.more_seeds else 0
    at = next((look for look in stats.LOOKS if look > have), 0)
    if not have or not at:
        return 0, []
    recorded = source.frames.trials[source.frames.trials["comparable"]]
    seeds = _seeds(sorted({int(seed) for seed in recorded.loc[recorded["study"] == finding.study, "seed"]}), at)
    nets = {dataclasses.replace(trial, seed=0) for trial in source.study.trials if trial.purpose == "train"}
    # By digest: two nets of one name may differ.
    judged = {
        (net.study, net.architecture, net.depth)
        for net in nets
        if any(dataclasses.replace(net, seed=seed).digest in finding.trials for seed in seeds)
    }
    beside = [net for net in nets if (net.study, net.architecture, net.depth) in judged]
    trials = (dataclasses.replace(net, seed=seed) for net in beside for seed in seeds)
    return at, [trial for trial in trials if not (recorded["digest"] == trial.digest).any()]


def _seeds(there: list[int], count: int) -> list[int]:
    """The first so many seeds: those that are there, and then the next ones, which change nothing of earlier looks."""
    following = range(there[-1] + 1, there[-1] + 1 + count)
    return [*there, *following][:count]


def options(trials: list[Trial]) -> str:
    """What `python -m bench run STUDY` takes to run these; empty for none."""
    if not trials:
        return ""
    seeds = ",".join(map(str, sorted({trial.seed for trial in trials})))
    return " ".join([f"--seeds={seeds},", *sorted(f"--only={trial.digest}" for trial in trials)])
