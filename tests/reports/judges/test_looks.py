"""A verdict is looked for on the first 3, 5 and 8 seeds: the first look that decides stands, and says so."""

from collections.abc import Sequence

import pytest
from made_cases import headline
from made_up import frames, study_records

from bench.store.record import Record
from reports.claims import judge
from results import stats

CLAIM = "residual-no-harm"
DEPTHS = (18, 66, 258)

# Training error of 258 layers above that of 18, by seed, in points.
HARMLESS = (0.1, 0.2, 0.0)
WIDE = (2.5, -2.0, 3.0)


def nets(rises: Sequence[float], study: str = "digits", architecture: str = "resnet") -> list[Record]:
    """A ladder whose deepest net errs by so much more, a seed each."""

    def error(architecture: str, depth: int, seed: int) -> float:
        return 0.05 + 0.001 * (seed % 2) + (rises[seed] / 100 if depth == 258 else 0.0003 * (seed % 3) * (depth == 66))

    return study_records([architecture], DEPTHS, seeds=range(len(rises)), error=error, cost=False, study=study)


def test_what_three_seeds_decide_stays_decided_whatever_later_ones_say():
    finding = headline(CLAIM, nets((*HARMLESS, 60.0, 60.0)))
    assert finding.verdict == "supported"
    assert finding.n == 3
    assert "decided at 3 of 5 seeds" in finding.reason
    assert finding.failures.startswith("no seed failed; with 3 seeds")


def test_the_verdict_of_three_seeds_among_three_says_no_more_than_their_number():
    finding = headline(CLAIM, nets(HARMLESS))
    assert (finding.verdict, finding.n) == ("supported", 3)
    assert "decided at" not in finding.reason


def test_what_three_seeds_leave_open_five_or_eight_may_decide():
    assert headline(CLAIM, nets(WIDE)).verdict == "inconclusive"
    at_five = headline(CLAIM, nets((*WIDE, 0.0, 0.1)))
    at_eight = headline(CLAIM, nets((*WIDE, 0.0, 0.1, 0.0, 0.1, 0.2)))
    assert (at_five.verdict, at_five.n) == ("inconclusive", 5)
    assert (at_eight.verdict, at_eight.n) == ("supported", 8)


@pytest.mark.parametrize(("seeds", "look"), [(4, 3), (6, 5), (7, 5), (9, 8), (12, 8)])
def test_other_counts_are_judged_at_the_next_lower_look(seeds: int, look: int):
    rises = [WIDE[seed % 3] for seed in range(seeds)]
    finding, at_look = headline(CLAIM, nets(rises)), headline(CLAIM, nets(rises[:look]))
    assert finding.verdict == at_look.verdict == "inconclusive"
    assert (finding.n, finding.low, finding.high) == (look, at_look.low, at_look.high)
    assert finding.reason == f"{at_look.reason}, open at {look} of {seeds} seeds"


def test_two_seeds_are_judged_at_the_whole_level():
    finding = headline(CLAIM, nets(HARMLESS[:2]))
    row = finding.details[-1].columns()
    error = stats.difference([0.001, 0.003], [0.0, 0.001], resolution=1 / 1437)
    assert finding.n == 2
    assert row["high"] - row["effect"] == pytest.approx(error.high - error.value)
    assert stats.level(2) == stats.ALPHA


def test_a_net_that_lacks_a_seed_of_a_look_keeps_its_ladder_at_the_one_before():
    records = nets((*HARMLESS, 60.0, 60.0))
    records = [record for record in records if (record.trial.depth, record.trial.seed) != (66, 4)]
    open_yet = [record for record in nets((*WIDE, 0.0, 0.1)) if (record.trial.depth, record.trial.seed) != (66, 4)]
    assert headline(CLAIM, records).verdict == "supported"
    finding = headline(CLAIM, open_yet)
    assert (finding.verdict, finding.n) == ("inconclusive", 3)
    assert "no record" not in finding.reason


def test_each_study_and_each_net_is_looked_at_by_its_own_seeds():
    more = nets((*WIDE, 0.0, 0.1, 0.0, 0.1, 0.2))
    fewer = nets(WIDE, architecture="preact")
    other = nets(HARMLESS, "digits-lr")
    judged = judge(frames([*more, *fewer, *other]), (CLAIM,))[CLAIM]
    found = {(f.subject, f.study): f for f in judged if f.measure == "train_error"}
    assert (found["resnet", "digits"].verdict, found["resnet", "digits"].n) == ("supported", 8)
    assert (found["preact", "digits"].verdict, found["preact", "digits"].n) == ("inconclusive", 3)
    assert (found["resnet", "digits-lr"].verdict, found["resnet", "digits-lr"].n) == ("supported", 3)
