"""Failed nets decide nothing in depth's favour, survivors do not speak for them, and neither is shown as a number."""

import math
from typing import Any

import pytest
from made_cases import (
    FLAT,
    dense,
    failing,
    grown,
    headline,
    lesions,
    paths,
    placements,
    study,
    thorough,
    wobble,
)
from made_up import frames, study_records, train_record

from bench.store.record import Record, Status
from reports.claims import Finding, judge
from reports.finding import ArmRow, GrowthRow, Row
from reports.page.verdicts import picture, rows_of

FAILED = [Status.DIVERGED, Status.OUT_OF_MEMORY, Status.TIMEOUT, Status.ERROR]


def shallow(trial: Any) -> bool:
    return bool(trial.depth == 18)


def some(records: list[Record], claim: str, subject: str = "", measure: str = "train_error") -> Finding:
    found = judge(frames(records), (claim,))[claim]
    return next(f for f in found if subject in f.subject and f.measure == measure)


def blank(row: Row, *names: str) -> bool:
    """Whether a row of details has no number there."""
    return all(math.isnan(row.columns()[name]) for name in names)


def rows_at(finding: Finding, depth: int, subject: str = "") -> list[Any]:
    """The rows of details at a depth, of one arm where it is named."""
    at = [row for row in finding.details if row.columns()["depth"] == depth]
    return [row for row in at if not subject or (isinstance(row, ArmRow) and row.subject == subject)]


# The shallowest net, from which differences are counted.


@pytest.mark.parametrize("status", FAILED)
@pytest.mark.parametrize("claim", ["deeper-is-better", "plain-degrades", "residual-no-harm"])
def test_deeper_nets_win_nothing_over_a_net_of_18_layers_that_failed(claim: str, status: Status):
    finding = headline(claim, failing(study({"resnet": FLAT, "plain": FLAT}), shallow, status))
    assert finding.verdict == "inconclusive"
    assert "18 layers" in finding.reason
    assert "3 of 3" in finding.reason
    assert finding.effect is None
    assert "100.0" not in finding.reason


def test_a_part_of_the_shallow_nets_that_diverged_flatters_the_deeper_ones_too():
    """3 of the 8 looked at: the mean is under 50 %, and its bound far above the deeper nets' 3 %."""
    records = study({"resnet": FLAT, "plain": FLAT}, seeds=range(10))
    records = failing(records, lambda t: t.depth == 18 and t.seed < 3)
    for claim in ("deeper-is-better", "plain-degrades", "residual-no-harm"):
        finding = headline(claim, records)
        assert finding.verdict == "inconclusive"
        assert "3 of 8 seeds diverged" in finding.reason


def test_plain_nets_that_train_at_no_depth_do_not_refute_degradation():
    finding = headline("plain-degrades", study({"plain": dict.fromkeys(FLAT, 0.9)}))
    assert finding.verdict == "inconclusive"
    assert "itself does not train" in finding.reason


def test_a_rise_shows_in_nets_of_66_layers_but_they_refute_nothing():
    """Trainability of plain nets ends between 18 and 66 layers; that shallow ones train says nothing of deep ones."""
    rising = headline("plain-degrades", thorough(study({"plain": {18: 0.03, 34: 0.2, 66: 0.7}})))
    assert rising.verdict == "supported"
    assert "all seeds train up to 18 layers, at 34 only in part, none from 66 layers on" in rising.reason
    flat = headline("plain-degrades", thorough(study({"plain": {18: 0.03, 34: 0.03, 66: 0.03}})))
    assert flat.verdict == "inconclusive"
    assert "never tried at 258 layers or more" in flat.reason


def test_plain_nets_of_which_the_shallow_one_fails_as_well_still_degrade():
    """A seed of 18 layers diverges, all of 258 do: that is no gain of depth, and it is told without a number."""
    records = study({"plain": {18: 0.05, 66: 0.3, 258: 0.8}}, seeds=range(6))
    records = thorough(failing(records, lambda t: t.depth == 258 or (t.depth, t.seed) == (18, 0)))
    finding = headline("plain-degrades", records)
    assert finding.verdict == "supported"
    assert "5 of 5 seeds diverged" in finding.reason
    assert "decided at 5 of 6 seeds" in finding.reason
    assert all(blank(row, "effect", "low", "high") for row in finding.details)


def test_a_shallow_net_that_has_not_converged_is_not_beaten():
    errors = {18: 0.30, 258: 0.10, 1002: 0.05}
    open_end = headline("deeper-is-better", thorough(study({"resnet": errors}, unconverged=[("resnet", 18)])))
    assert open_end.verdict == "inconclusive"
    assert "at 220 steps, but resnet of 18 layers is not converged" in open_end.reason
    assert headline("deeper-is-better", thorough(study({"resnet": errors}))).verdict == "supported"


# Survivors.


def test_two_survivors_of_five_are_no_small_nets():
    records = lesions(0.2, 0.002, seeds=range(5))
    assert headline("small-net-first", records).verdict == "supported"
    finding = headline("small-net-first", failing(records, lambda t: t.depth == 258 and t.seed in (1, 3, 4)))
    assert finding.verdict == "inconclusive"
    assert "no net of 258 layers or more trained" in finding.reason


def test_nets_that_all_diverged_were_tried_all_the_same():
    finding = headline("small-net-first", failing(lesions(0.2, 0.002), lambda t: t.depth == 258))
    assert finding.verdict == "inconclusive"
    assert "never tried" not in finding.reason


def test_survivors_do_not_show_what_growth_does():
    fine = {to: (lambda s: 0.05 + wobble(s), lambda s: 0.05 - wobble(s)) for to in (34, 258)}
    records = grown(fine, seeds=range(5))
    assert headline("identity-growth", records).verdict == "supported"
    finding = headline("identity-growth", failing(records, lambda t: t.seed < 3))
    assert finding.verdict == "inconclusive"
    assert "3 of 5 seeds" in finding.reason
    assert finding.n == 5


def test_nets_that_all_diverged_before_growth_are_not_called_missing():
    fine = {to: (lambda s: 0.05 + wobble(s), lambda s: 0.05 - wobble(s)) for to in (34, 258)}
    finding = headline("identity-growth", failing(grown(fine), lambda t: True))
    assert finding.verdict == "inconclusive"
    assert "3 of 3 seeds diverged" in finding.reason


def test_gradient_paths_of_nets_that_did_not_train_say_nothing():
    for records in (paths(20, error=0.16), failing(paths(20), lambda t: (t.depth, t.seed) == (258, 1))):
        finding = some(records, "small-net-first", measure="path_length")
        assert finding.verdict == "inconclusive"
        assert "15.0 % training error" in finding.reason
        assert finding.effect is None
    assert some(paths(20, error=0.14), "small-net-first", measure="path_length").verdict == "supported"


# Growth against nets that fail themselves.


@pytest.mark.parametrize("lost", [1, 3])
def test_growth_against_an_ungrown_net_that_diverged_is_inconclusive(lost: int):
    def control(seed: int) -> float:
        return math.nan if seed < lost else 0.05

    for error in (0.05, math.nan):
        steps = {to: (lambda s, e=error: e + wobble(s), control) for to in (34, 258)}
        finding = headline("identity-growth", grown(steps))
        assert finding.verdict == "inconclusive"
        assert f"{lost} of 3 ungrown nets diverged" in finding.reason
        assert finding.effect is None


def test_growth_of_a_net_that_does_not_train_is_inconclusive():
    even = {to: (lambda s: 0.05 + wobble(s), lambda s: 0.05 - wobble(s)) for to in (34, 258)}
    finding = headline("identity-growth", grown(even, base=0.40))
    assert finding.verdict == "inconclusive"
    assert "the net to be grown does not train itself" in finding.reason
    chance = {to: (lambda s: 0.9 + wobble(s), lambda s: 0.9 - wobble(s)) for to in (34, 258)}
    finding = headline("identity-growth", grown(chance))
    assert finding.verdict == "inconclusive"
    assert "does not train itself" in finding.reason


# No number for what has none.


def test_a_grown_net_that_diverged_has_no_error_in_the_details():
    def error(seed: int) -> float:
        return math.nan if seed == 2 else 0.05

    finding = headline("identity-growth", grown({34: (lambda s: 0.05, lambda s: 0.05), 258: (error, lambda s: 0.05)}))
    assert finding.effect is None
    good, lost = finding.details
    assert isinstance(good, GrowthRow)
    assert isinstance(lost, GrowthRow)
    assert good.effect == pytest.approx(0.0)
    assert blank(lost, "effect", "low", "high")
    assert (lost.diverged, lost.ungrown_diverged) == (1, 0)


def test_a_net_whose_outputs_changed_shows_no_number_for_divergence_either():
    records = grown({to: (lambda s: math.nan, lambda s: 0.05 - wobble(s)) for to in (34, 258)})
    for record in records:
        for row in record.probes.get("growth", {}).get("steps", []):
            row["max_logit_difference"] = 1.0
    finding = headline("identity-growth", records)
    assert finding.verdict == "refuted"
    assert "not the identity" in finding.reason
    assert finding.effect is None


@pytest.mark.parametrize("status", FAILED)
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_placement_that_failed_is_no_difference_in_points(seeds: int, status: Status):
    records = failing(
        placements(0.03, 0.03),
        lambda t: (t.architecture.name, t.depth) == ("bn-after-add", 258) and t.seed < seeds,
        status,
    )
    finding = headline("shortcut-anywhere", thorough(records))
    assert finding.effect is None
    (row,) = rows_at(finding, 258, "bn-after-add")
    assert blank(row, "effect", "low", "high", "error")
    assert row.original == pytest.approx(0.03, abs=0.002)
    assert f"{seeds} of 6 trials failed" in finding.reason
    assert "97.0 points" not in finding.reason
    assert finding.verdict == ("refuted" if (seeds, status) == (3, Status.DIVERGED) else "inconclusive")


def test_an_original_that_failed_has_no_error_either():
    records = failing(placements(0.03, 0.03), lambda t: (t.architecture.name, t.depth) == ("resnet", 258))
    finding = headline("shortcut-anywhere", records)
    deep = rows_at(finding, 258)
    assert all(blank(row, "effect", "low", "high", "original") for row in deep)
    assert all(row.error == pytest.approx(0.03, abs=0.002) for row in deep)
    assert "no known number at 258" in finding.reason


@pytest.mark.parametrize("status", FAILED)
def test_a_fully_connected_twin_that_failed_has_no_error(status: Status):
    plain = failing(dense(0.05, 0.6), lambda t: (t.architecture.name, t.depth) == ("plain", 258), status)
    finding = headline("conv-and-dense", plain)
    assert finding.effect is None
    (row,) = rows_at(finding, 258, "plain")
    assert blank(row, "error")
    assert "100.0" not in finding.reason


@pytest.mark.parametrize("claim", ["residual-no-harm", "plain-degrades", "deeper-is-better", "thousand-layers"])
@pytest.mark.parametrize("status", FAILED[1:])
def test_nets_that_broke_off_are_counted_once_and_have_no_number(claim: str, status: Status):
    records = failing(study({"resnet": FLAT, "plain": FLAT}), lambda t: t.depth == 1002, status)
    finding = headline(claim, records)
    assert finding.verdict == "inconclusive"
    assert finding.effect is None
    assert finding.reason.count("failed") == 1
    assert all(blank(row, "error" if claim == "thousand-layers" else "effect") for row in rows_at(finding, 1002))


def test_a_twin_that_broke_off_has_no_best_error():
    records = study({"resnet": FLAT, "plain": FLAT})
    records = failing(records, lambda t: (t.architecture.name, t.depth) == ("plain", 1002), Status.TIMEOUT)
    finding = headline("thousand-layers", records)
    assert finding.verdict == "inconclusive"
    assert "100.0" not in finding.reason
    assert "3 of 3 trials failed" in finding.reason


def test_a_depth_of_which_one_seed_diverged_is_marked_in_the_figure_and_not_dropped():
    def some_diverge(record: Record) -> Record:
        asked = record.trial
        lost = asked.purpose == "train" and asked.depth == 514 and asked.seed == 1
        return train_record(asked, None) if lost else record

    finding = headline("residual-no-harm", [some_diverge(r) for r in study({"resnet": FLAT})])
    rows = rows_of([finding], {})
    assert {row["depth"]: row["failed"] for row in rows}[514]
    assert sum(row["failed"] for row in rows) == 1
    figure = picture([finding], {})
    assert figure is not None
    words = [text.get_text() for text in figure.axes[0].texts]
    assert any("no number" in word for word in words)


@pytest.mark.parametrize("status", FAILED[1:])
def test_a_plain_net_that_broke_off_does_not_show_that_the_test_can_fail(status: Status):
    records = failing(
        study_records(["resnet", "plain"], error=lambda *_: 0.0, study="digits"),
        lambda t: (t.architecture.name, t.depth) == ("plain", 1002), status,
    )  # fmt: skip
    finding = headline("residual-no-harm", records)
    assert finding.verdict == "inconclusive"
    assert "nor shows that it could" in finding.reason


@pytest.mark.parametrize("status", FAILED[1:])
def test_no_worse_than_an_original_that_broke_off_is_not_said(status: Status):
    records = study({"resnet": FLAT, "preact": {**FLAT, 1002: 0.14}}, "mine")
    records = failing(records, lambda t: (t.architecture.name, t.depth) == ("resnet", 1002), status)
    found = judge(frames(records), ("residual-no-harm",))["residual-no-harm"]
    finding = next(f for f in found if (f.subject, f.measure) == ("preact, against resnet", "train_error"))
    assert finding.verdict == "inconclusive"
    assert "3 of 3 of resnet failed: nothing to compare with" in finding.reason
