"""Whatever part of the studies is there, and in whatever state: every claim is answered, with finite numbers."""

import dataclasses
import math
import random

import pytest
from made_up import cost_record, frames, train_record, usual

from bench.plan import study
from bench.plan.trial import Trial
from bench.store.record import Record, Status
from reports.claims import CLAIMS, judge

TRIALS = study.load("digits-all").trials


def any_record(asked: Trial, luck: random.Random) -> Record:
    """A record that a run could have left: good, odd, failed, of another version, with odd growth."""
    if asked.purpose == "cost":
        return cost_record(asked, Status.OUT_OF_MEMORY if luck.random() < 0.1 else Status.OK)
    error = usual(asked.architecture.name, asked.depth, asked.seed) if luck.random() < 0.8 else luck.random()
    status = luck.choice([Status.ERROR, Status.TIMEOUT]) if luck.random() < 0.03 else None
    other = {"code": "0ther"} if luck.random() < 0.05 else None
    made = train_record(asked, error, status=status, unconverged=luck.random() < 0.2, environment=other)
    if "growth" not in asked.probes or error is None:
        return made
    steps = [
        {
            "to": depth,
            "max_logit_difference": luck.choice([0.0, 1e-6, math.nan, 1.0]),
            "max_logit": luck.choice([0.0, 5.0]),
            "grown_error": luck.choice([0.05, math.nan]),
            "ungrown_error": 0.05,
        }
        for depth in asked.grow_to[: luck.randint(0, 5)]
    ]
    return dataclasses.replace(made, probes={**made.probes, "growth": {"steps": steps}})


@pytest.mark.parametrize("seed", range(8))
def test_any_part_of_the_studies_is_judged(seed: int):
    luck = random.Random(seed)
    share = luck.choice([0.01, 0.05, 0.2, 0.6])
    some = [trial for trial in TRIALS if luck.random() < share]
    if luck.random() < 0.3:
        alone = luck.choice(sorted({trial.study for trial in TRIALS}))
        some = [trial for trial in TRIALS if trial.study == alone]
    found = judge(frames([any_record(trial, luck) for trial in some]))
    assert list(found) == list(CLAIMS)
    for findings in found.values():
        assert findings
        for finding in findings:
            assert finding.reason
            assert "nan" not in finding.reason
            numbers = (finding.effect, finding.low, finding.high)
            assert all(n is None or math.isfinite(n) for n in numbers), finding
