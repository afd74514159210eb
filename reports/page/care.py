"""What a reader must know before trusting the page: failures, disturbances, what is missing. From records and study.

Own file because the page says it twice: in a few words on the first screen, and in full right below it.
"""

from typing import NamedTuple

import pandas as pd

from bench.plan.trial import Trial
from reports.page import verdicts
from reports.page.context import Source
from reports.page.words import listed
from results import survival
from results.hours import sharing

# So many reasons of failures are named; more are in the table of trials.
MOST_REASONS = 3


class Care(NamedTuple):
    """A reason to read with care, in a few words (empty: counted only) and in full."""

    short: str
    full: str


def missing(source: Source) -> list[str]:
    """What the study asks for and the records do not have, in words for each network and purpose."""
    names = verdicts.labels(source.frames)
    gone: dict[str, list[Trial]] = {}
    for trial in _gone(source):
        waits = ", learning rate not searched yet" if trial in source.study.untuned else ""
        name = names.get(trial.architecture.name, trial.architecture.label or trial.architecture.name)
        gone.setdefault(f"{name}, {trial.purpose}{waits}", []).append(trial)
    return [
        f"{name}: {len(left)} trial{'s' * (len(left) != 1)}, depths {listed(sorted({t.depth for t in left}))},"
        f" seeds {listed(sorted({t.seed for t in left}))}"
        for name, left in sorted(gone.items())
    ]


def _gone(source: Source) -> list[Trial]:
    have = set(source.frames.trials["digest"]) | set(source.frames.cost["digest"])
    return [trial for trial in (*source.study.trials, *source.study.untuned) if trial.digest not in have]


def warnings(source: Source) -> list[Care]:
    """Reasons to read with care, the gravest first; of records that the study does not ask for, loading warns."""
    frames = source.frames
    lines = _failed(frames.trials, "trials") + _failed(frames.cost, "cost trials")
    lines += _disturbed(frames.cost, frames.cost["times_disturbed"], "the times", "cost trials")
    lines += _disturbed(frames.cost, frames.cost["memory_disturbed"], "the memory", "cost trials")
    lines += _disturbed(frames.trials, frames.trials["disturbed"] != "", "the times", "trials")
    lines += [Care("", line) for line in frames.warnings]
    lines += [Care("", f"{name} could not be read: {reason}") for name, reason in frames.damaged]
    if (shared := sharing(frames.trials)).gt(1).any():
        most = int(shared.max())
        full = f"Up to {most} trials shared the GPU: their times cannot be compared. Costs were measured alone."
        lines.append(Care("", full))
    few = frames.cells[frames.cells["n"] < 3]
    if len(few):
        full = f"{len(few)} of {len(frames.cells)} settings have fewer than 3 seeds: wide intervals, or none."
        lines.append(Care("fewer than 3 seeds", full))
    names = {n for n in [*frames.trials["device_name"].unique(), *frames.cost["device_name"].unique()] if n}
    if len(names) > 1:
        lines.append(Care("", f"The records come from {len(names)} kinds of device: {listed(sorted(names))}."))
    cost = frames.cost
    if said := survival.noise(cost):
        lines.append(Care("", f"{said}: the machine was busy, or its clock changed."))
    return lines


def _disturbed(rows: pd.DataFrame, hurt: "pd.Series[bool]", measured: str, what: str) -> list[Care]:
    """How many rows were disturbed while this was measured, with the first of them as an example."""
    if not hurt.any():
        return []
    first = rows[hurt].sort_values("path").iloc[0]
    such = ", such as" if hurt.sum() > 1 else ":"
    short = f"{measured} of {hurt.sum()} of {len(rows)} {what} {'were' if measured.endswith('s') else 'was'} disturbed"
    full = (
        f"{short[:1].upper()}{short[1:]}{such} {first['path']}: {first['disturbed']}."
        " Training results are not affected. To measure again, delete the record."
    )
    return [Care(short, full)]


def _failed(rows: pd.DataFrame, what: str) -> list[Care]:
    """Trials that neither ended nor diverged, by their reasons, the commonest first."""
    broken = rows[~rows["status"].isin(["ok", "diverged"])]
    if broken.empty:
        return []
    reasons = (broken["status"].str.replace("_", " ") + broken["message"].map(lambda m: f": {m}" if m else "")).tolist()
    common = sorted(set(reasons), key=lambda reason: (-reasons.count(reason), reason))
    told = [f"{reasons.count(reason)} ended in {reason}" for reason in common[:MOST_REASONS]]
    more = f"; and {len(common) - MOST_REASONS} more reasons" if len(common) > MOST_REASONS else ""
    short = f"{len(broken)} of {len(rows)} {what} failed"
    return [Care(short, f"{short}: {'; '.join(told)}{more}. The table of trials has each.")]


def in_short(source: Source) -> list[str]:
    """The foot of the first screen: each reason in a few words, those without any counted."""
    gone, lines = _gone(source), warnings(source)
    asked = len(source.study.trials) + len(source.study.untuned)
    said = [f"unfinished: {asked - len(gone)} of {asked} trials have run"] if gone else []
    said += [line.short for line in lines if line.short]
    others = sum(not line.short for line in lines)
    return [*said, f"{others} more remark{'s' * (others != 1)}"] if others else said
