"""Planted truths, few draws: each rule keeps what `make planted` promises with 10,000."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from reports.claims import CLAIMS
from reports.finding import Finding, Verdict
from reports.judges import planted
from reports.judges.truths import TRUTHS, Truth
from reports.protocol import MARGIN
from results.stats import ALPHA

DRAWS = 200
# Three standard errors of a share over so few draws.
LUCK = 3 * math.sqrt(ALPHA * (1 - ALPHA) / DRAWS)


@pytest.mark.parametrize("number", range(len(TRUTHS)))
def test_promise(number: int):
    truth = TRUTHS[number]
    row = planted.play(truth, DRAWS, number)
    if truth.answer is None:
        assert row[truth.false] <= ALPHA + LUCK, row
    else:
        assert row[truth.answer] >= truth.least - LUCK, row


def test_every_claim_has_a_truth_that_supports_and_one_on_the_threshold():
    for claim in CLAIMS:
        answers = {truth.answer for truth in TRUTHS if truth.claim == claim}
        assert {None, Verdict.SUPPORTED, Verdict.REFUTED} <= answers, claim


def test_a_rule_that_is_too_generous_is_caught():
    """The same truth on the threshold, judged without a bound: the mean alone is right half of the time."""

    def generous(rng: np.random.Generator) -> Finding:
        finding = TRUTHS[0].draw(rng)
        mean = finding.effect if finding.effect is not None else 1.0
        return finding.but(verdict=Verdict.SUPPORTED if mean < MARGIN else Verdict.INCONCLUSIVE)

    row = planted.play(Truth("residual-no-harm", "no bound", None, generous), DRAWS, 0)
    assert not row["kept"]
    assert row["supported"] > 0.3


def test_the_table_is_kept_and_the_same_seed_gives_the_same_table(tmp_path: Path):
    for name in ("a", "b"):
        CliRunner().invoke(planted.app, ["--draws", "3", "--out", str(tmp_path / name)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert len(json.loads((tmp_path / "a").read_text())["rows"]) == len(TRUTHS)
