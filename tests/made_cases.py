"""Made-up studies for judges: errors, costs, lesions and growth of known size."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from made_up import DEPTHS, cost_record, frames, study_records, train_record, trial

from bench.plan.trial import Trial
from bench.store.record import Record, Status
from reports.claims import Finding, judge


def wobble(seed: int) -> float:
    """Half a point between seeds, the same for every net: spreads are known and small."""
    return (-0.001, 0.0, 0.0012, 0.0004, -0.0007)[seed % 5]


def study(by_depth: dict[str, dict[int, float | None]], name: str = "digits", **more: Any) -> list[Record]:
    """Records of a study whose training error at each depth is given by architecture."""

    def error(architecture: str, depth: int, seed: int) -> float | None:
        value = by_depth[architecture][depth]
        # Twice the wobble at even depths, so that differences between depths spread too.
        return None if value is None else value + wobble(seed) * (1 + (depth % 4) / 10 + depth / 2000)

    records = []
    for architecture, errors in by_depth.items():
        records += study_records([architecture], list(errors), error=error, study=name, **more)
    return records


FLAT = dict.fromkeys(DEPTHS, 0.03)
RISING = {18: 0.03, 34: 0.05, 66: 0.10, 130: 0.20, 258: 0.40, 514: 0.60, 1002: 0.80}
FAILING = {18: 0.05, 34: 0.30, 66: 0.80, 130: 0.90, 258: None, 514: None, 1002: None}
BETTER = {18: 0.20, 34: 0.18, 66: 0.15, 130: 0.12, 258: 0.10, 514: 0.09, 1002: 0.08}


def headline(claim: str, records: list[Record]) -> Finding:
    return judge(frames(records), (claim,))[claim][0]


def thorough(records: list[Record]) -> list[Record]:
    """The same study as a bad net needs it: also at twice and four times the steps, each at the best of three rates.

    At ten times the rate every net diverges; at a tenth each that does not fail is as bad as chance.
    """
    more = list(records)
    for record in records:
        asked = record.trial
        if asked.purpose != "train":
            continue
        ended = None if math.isnan(record.result["train_error"]) else record.result["train_error"]
        images = {name: record.result[name] for name in ("n_train", "n_test")}
        falls = len(record.epochs) > 1 and record.epochs[-2]["train_error"] - record.epochs[-1]["train_error"] > 0.01
        as_it: dict[str, Any] = {"status": record.status, "unconverged": falls, **images}
        for times in (1, 2, 4):
            same = dataclasses.replace(asked, epochs=times * asked.epochs)
            fast, slow = (dataclasses.replace(same, lr=factor * asked.lr) for factor in (10, 0.1))
            more += [train_record(fast, None), train_record(slow, 0.9, status=record.status)]
            if times > 1:
                more.append(train_record(same, ended, record.result["test_error"], **as_it))
    return more


def dense(residual: float | None, plain: float | None) -> list[Record]:
    return study(
        {"resnet": {18: 0.03, 258: residual}, "plain": {18: 0.05, 258: plain}}, "digits-dense", layout="dense", width=32
    )


def placements(shallow: float, deep: float) -> list[Record]:
    there = {"resnet": {18: 0.03, 258: 0.03}, "preact": {18: 0.03, 258: 0.03}, "bn-after-add": {18: shallow, 258: deep}}
    return study(there, "digits-placements")


def with_probe(records: list[Record], name: str, content: Callable[[Record], Any]) -> list[Record]:
    return [
        dataclasses.replace(r, probes={**r.probes, name: content(r)}) if r.trial.purpose == "train" else r
        for r in records
    ]


def failing(
    records: list[Record], which: Callable[[Trial], bool], status: Status = Status.DIVERGED, probes: bool = False
) -> list[Record]:
    """The same records, but these trainings ended so: without a number, and (but for `probes`) without a probe."""

    def fails(record: Record) -> Record:
        made = train_record(record.trial, 0.5, status=status)
        return dataclasses.replace(made, probes=record.probes if probes else {})

    return [fails(r) if r.trial.purpose == "train" and which(r.trial) else r for r in records]


def lesions(share: float, rise: float, intact: float = 0.05, name: str = "digits", **more: Any) -> list[Record]:
    """Nets of which this share counts, by effective depth and by paths, a third of it after the first epoch."""

    def content(record: Record) -> dict[str, Any]:
        bit = 1 + 5 * wobble(record.trial.seed)
        return {
            "intact_error": intact,
            "intact_error_reestimated": intact,
            "errors": [intact + rise * bit] * 3,
            "errors_reestimated": [intact + rise * bit] * 3,
            "effective_depth": record.trial.depth * share * bit,
            "effective_depth_reestimated": record.trial.depth * share * bit,
            "by_epoch": [{"epoch": 1, "intact_error": 0.3, "effective_depth": record.trial.depth * share / 3}],
        }

    def followed(record: Record) -> dict[str, Any]:
        return {"blocks": 128, "high": 128 * share * (1 + 5 * wobble(record.trial.seed))}

    records = with_probe(study({"resnet": {18: 0.03, 258: 0.03}}, name, **more), "lesions", content)
    return with_probe(records, "path_gradients", followed)


def grown(
    steps: dict[int, tuple[Callable[[int], float], Callable[[int], float]]],
    base: float = 0.03,
    arm: str = "resnet",
    **more: Any,
) -> list[Record]:
    """Growth that changes no output: by depth, errors by seed of the grown and of the ungrown net; NaN diverged."""

    def content(record: Record) -> dict[str, Any]:
        seed = record.trial.seed
        rows = [
            {
                "to": to,
                "max_logit_difference": 0.0,
                "max_logit": 8.0,
                "grown_error": new(seed),
                "ungrown_error": old(seed),
            }
            for to, (new, old) in steps.items()
        ]
        return {"steps": rows}

    fields = {"grow_to": tuple(steps), "probes": ("growth",), **more}
    return with_probe(study({arm: {18: base}}, "digits-growth", **fields), "growth", content)


def paths(high: float, error: float = 0.03) -> list[Record]:
    """Gradient over paths in nets of 18 and 258 layers; those of 258 end at this training error."""

    def content(record: Record) -> dict[str, Any]:
        return {"blocks": 128, "lengths": [0, 64, 128], "high": high + 100 * wobble(record.trial.seed),
                "log10_norms": [[0.1], [0.2, 0.3], [0.4]]}  # fmt: skip

    return with_probe(study({"resnet": {18: 0.03, 258: error}}), "path_gradients", content)


def growth(change: float, worse: float) -> list[Record]:
    def content(record: Record) -> dict[str, Any]:
        bit = wobble(record.trial.seed)
        return {
            "steps": [
                {
                    "from": depth // 2 + 1,
                    "to": depth,
                    "max_logit_difference": 8 * change,
                    "max_logit": 8.0,
                    "grown_error": 0.05 + worse + bit,
                    "ungrown_error": 0.05 - bit,
                    "grown_diverged_step": None,
                    "steps": 55,
                }
                for depth in (34, 258)
            ]
        }

    return with_probe(study({"resnet": {18: 0.03}}, "digits-growth", grow_to=(34, 258)), "growth", content)


def costs(step: Callable[[int], float], memory: Callable[[int], float]) -> list[Record]:
    def record(depth: int) -> Record:
        asked = trial("resnet", depth, study="digits")
        times = [step(depth) * (1 + (depth % 7 - 3) / 200)] * 5
        return cost_record(asked, step_times_s=times, peak_memory_bytes=int(memory(depth)), memory_floor_bytes=0)

    return [record(depth) for depth in DEPTHS]
