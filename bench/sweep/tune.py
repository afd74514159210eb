"""Tunes a study: runs its search, goes on where the best rate may lie beyond, and writes the rates beside the study.

What is best is `bench.plan.rates`' business; a search that is stopped goes on where it was, as any sweep does.
"""

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from bench.plan import rates, tuned
from bench.plan.study import Study
from bench.plan.trial import Trial, cell
from bench.plan.words import counted
from bench.store import record
from bench.store.agree import reads_digest
from bench.store.folder import plain
from bench.store.record import Record, Status
from bench.sweep import run as sweep
from bench.sweep.display import Display


def tune(
    study: Study, options: sweep.Options, display: Callable[[], Display], say: Callable[[str], None]
) -> tuple[sweep.Summary, dict[str, tuned.Rates]]:
    """Runs the search until the best rate of each net is inside its grid, or nothing is left to try.

    Args:
        study: With a search.
        options: How; its time limit is that of all rounds together.
        display: Makes what each round tells to.
        say: Takes a line between rounds.

    Returns:
        How the last round ended; and by study the rates, none where trials are left.
    """
    begin, limit = time.monotonic(), options.time_limit_s
    trials = list(study.search)
    while True:
        if limit:
            options = dataclasses.replace(options, time_limit_s=max(1.0, limit - (time.monotonic() - begin)))
        summary = sweep.run(dataclasses.replace(study, trials=tuple(trials)), options, display(), study)
        if summary.left or summary.code not in (0, sweep.EXIT_FAILED):
            return summary, {}
        found = searched(trials, options.records)
        more = further(found)
        if not more:
            return summary, {name: _rates(name, found) for name in dict.fromkeys(trial.study for trial in trials)}
        nets = len({cell(trial) for trial in more})
        say(f"{counted(nets, 'best rate')} may lie beyond what was tried: {counted(len(more), 'trial')} more")
        trials += more


Found = Mapping[Trial, Sequence[Record]]


def searched(trials: Iterable[Trial], records: Path) -> dict[Trial, list[Record]]:
    """By net (see `trial.cell`), the records of these search trials."""
    asked = {plain(trial): cell(trial) for trial in trials}
    found: dict[Trial, list[Record]] = {net: [] for net in asked.values()}
    for name in dict.fromkeys(trial.study for trial in asked):
        for _, each in record.load(records / name)[0]:
            if plain(each.trial) in asked:
                found[asked[plain(each.trial)]].append(each)
    return found


def best(records: Sequence[Record]) -> rates.Best:
    """The best rate of one net, out of its records."""
    by_rate: dict[float, list[Record]] = {}
    for each in records:
        by_rate.setdefault(each.trial.lr, []).append(each)
    classes = max((int(each.result.get("classes", 0)) for each in records), default=0) or 10
    tried = [
        rates.Tried(lr, tuple(_ended(r, "train_loss") for r in same), tuple(_ended(r, "train_error") for r in same))
        for lr, same in by_rate.items()
    ]
    return rates.best(tried, 1 - 1 / classes)


def _ended(found: Record, measure: Literal["train_loss", "train_error"]) -> float:
    value = found.result.get(measure, math.nan) if found.status is Status.OK else math.nan
    return float(value) if math.isfinite(value) else math.inf


def further(found: Found) -> list[Trial]:
    """The trials of the next round: where the best may lie beyond those tried, the next rate on every seed."""
    more = []
    for records in found.values():
        following = best(records).next
        if following is not None:
            more += [
                dataclasses.replace(records[0].trial, lr=following, seed=seed)
                for seed in sorted({each.trial.seed for each in records})
            ]
    return more


def _rates(study: str, found: Found) -> tuned.Rates:
    mine = {net: records for net, records in found.items() if net.study == study}
    digest = hashlib.sha256()
    for data in sorted(record.encode(each) for records in mine.values() for each in records):
        digest.update(data)
    rows = []
    for net, records in mine.items():
        chosen, tried = best(records), tuple(sorted({each.trial.lr for each in records}))
        name = net.architecture.name
        reads = (
            reads_digest(max(records, key=lambda each: each.started).environment) if net.architecture.factory else None
        )
        rows.append(tuned.Rate(tuned.net_of(net), name, net.depth, chosen.lr, chosen.state, tried, reads))
    return tuned.Rates(digest.hexdigest()[:16], tuple(sorted(rows, key=lambda r: (r.architecture, r.depth, r.net))))


def lines(found: tuned.Rates) -> list[str]:
    """The rates for people, a line a net."""
    words = {
        "inside": "",
        "higher": ": the best may be higher",
        "lower": ": the best may be lower",
        "untrained": ": none trains it",
        "hopeless": ": it diverges at each",
    }
    return [
        f"{rate.architecture} {rate.depth}: {rate.lr:g} of {rate.tried[0]:g} to {rate.tried[-1]:g}{words[rate.state]}"
        for rate in found.found
    ]
