"""Every other residual net stands beside the document's, at equal depth, whatever its name."""

import dataclasses
import math

import pytest
from made_cases import FLAT, RISING, study, thorough
from made_up import frames

from bench.plan.trial import architecture
from bench.store.record import Record
from reports.claims import Finding, judge

OWN = architecture("mine:own")


def as_own(records: list[Record]) -> list[Record]:
    """What `preact` did, as a block of the user's own."""
    return [
        dataclasses.replace(r, trial=dataclasses.replace(r.trial, architecture=OWN))
        if r.trial.architecture.name == "preact" and r.trial.purpose == "train" else r
        for r in records if r.trial.purpose == "train"
    ]  # fmt: skip


def against(records: list[Record], subject: str) -> Finding:
    found = judge(frames(records), ("residual-no-harm",))["residual-no-harm"]
    return next(f for f in found if f.subject == f"{subject}, against resnet" and f.measure == "train_error")


def test_a_block_of_ones_own_that_is_alike_is_no_worse():
    finding = against(as_own(study({"resnet": FLAT, "preact": FLAT}, "mine")), "own")
    assert finding.verdict == "supported"


def test_one_that_is_worse_deep_is_worse_only_after_a_thorough_study():
    records = as_own(study({"resnet": FLAT, "preact": RISING}, "mine"))
    once = against(records, "own")
    assert once.verdict == "inconclusive"
    assert "one learning rate was tried for own of 1002 layers" in once.reason
    assert against(thorough(records), "own").verdict == "refuted"


def test_one_that_is_better_says_where():
    records = thorough(study({"resnet": RISING, "resnet-zero": FLAT}, "mine"))
    finding = against(records, "resnet-zero")
    assert finding.verdict == "supported"
    assert "better by more than that at 66, 130, 258, 514, 1002 layers" in finding.reason


@pytest.mark.parametrize("name", ["resnet-zero", "preact", "bn-after-add"])
def test_every_residual_architecture_is_judged(name: str):
    found = judge(frames(study({"resnet": FLAT, name: FLAT})), ("residual-no-harm",))["residual-no-harm"]
    assert {name, f"{name}, against resnet"} <= {f.subject for f in found}


def test_where_neither_trains_no_worse_is_not_said():
    bad = {**FLAT, 1002: 0.9}
    finding = against(study({"resnet": bad, "preact": bad}, "mine"), "preact")
    assert finding.verdict == "inconclusive"
    assert "resnet does not train" in finding.reason


def test_a_gradient_that_is_no_number_before_the_first_step_is_told_and_judges_nothing():
    records = study({"resnet": FLAT, "plain": {18: 0.03, 66: 0.5, 258: None}}, probes=("gradient_norms",))
    before = judge(frames(records), ("plain-degrades",))["plain-degrades"][0]
    assert "float32" not in before.beside
    for record in records:
        if record.trial.architecture.name == "plain" and record.trial.depth == 258 and record.trial.trains:
            norms = record.probes["gradient_norms"]["norms"]
            norms[: 100 + record.trial.seed] = [math.nan] * (100 + record.trial.seed)
    after = judge(frames(records), ("plain-degrades",))["plain-degrades"][0]
    assert (
        "the gradient of the plain net of 258 layers exceeds float32's range in 100 to 102 of 258 layers checked"
        in after.beside
    )
    assert (after.verdict, after.reason) == (before.verdict, before.reason)


def test_every_verdict_tells_what_failure_rate_is_left_open():
    found = judge(
        frames(study({"resnet": FLAT, "plain": {18: 0.03, 258: None}})), ("residual-no-harm", "plain-degrades")
    )
    assert found["residual-no-harm"][0].failures == (
        "no seed failed; with 3 seeds the failure rate may still be up to 63 %"
    )
    alone = judge(frames([r for r in study({"resnet": FLAT}) if r.trial.seed == 0]), ("residual-no-harm",))
    assert alone["residual-no-harm"][0].failures.startswith("no seed failed; with one seed")
    assert found["plain-degrades"][0].failures == (
        "in the worst setting 3 of 3 seeds failed: the failure rate is at least 37 %"
    )
