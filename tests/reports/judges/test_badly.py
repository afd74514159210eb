"""A net that does badly decides something only at its own best rate, converged, and when more steps do not help."""

import dataclasses

import pytest
from made_cases import FLAT, dense, failing, headline, study, thorough
from made_up import frames, train_record

from bench.store.record import Record, Status
from reports.claims import Finding, judge

BAD = {18: 0.03, 66: 0.03, 258: 0.30}
DIVERGES = {18: 0.03, 66: 0.03, 258: None}


def no_harm(records: list[Record]) -> Finding:
    return headline("residual-no-harm", records)


def without(records: list[Record], **fields: float) -> list[Record]:
    """The records but for those of trials with this field's value."""
    ((name, value),) = fields.items()
    return [r for r in records if getattr(r.trial, name) != pytest.approx(value)]


def test_a_bad_net_refutes_after_a_thorough_study():
    finding = no_harm(thorough(study({"resnet": BAD})))
    assert (str(finding.verdict), finding.steps) == ("refuted", 220)


@pytest.mark.parametrize("epochs", [5, 10])
def test_without_one_of_three_numbers_of_steps_the_study_that_decides_is_named(epochs: int):
    finding = no_harm(without(thorough(study({"resnet": BAD})), epochs=epochs))
    assert finding.verdict == "inconclusive"
    assert f"epochs = [{'20, 40, 80' if epochs == 10 else '10, 20, 40'}] would tell" in finding.reason


@pytest.mark.parametrize("lr", [0.5, 0.005])
def test_a_best_rate_at_the_edge_of_the_grid_decides_nothing(lr: float):
    finding = no_harm(without(thorough(study({"resnet": BAD})), lr=lr))
    assert finding.verdict == "inconclusive"
    assert "resnet of 258 layers may lie beyond the 2 tried" in finding.reason


def guessing(least: float, ends: bool) -> list[Record]:
    """A thorough study of nets of which those of 258 layers guess; a further rate ends so, or diverges."""
    records = thorough(study({"resnet": {18: 0.03, 66: 0.03, 258: 0.9}}))
    return records + [
        train_record(dataclasses.replace(r.trial, lr=least), 0.9 if ends or r.trial.depth < 258 else None)
        for r in records if r.trial.lr == pytest.approx(0.005)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("least", "ends", "verdict"),
    [(1e-5, True, "refuted"), (1e-5, False, "inconclusive"), (5e-4, True, "inconclusive")],
)
def test_that_no_rate_trains_a_net_is_told_by_one_that_trains_nothing(least: float, ends: bool, verdict: str):
    """The net guesses at three rates out of four: only down to 1e-5, without diverging, is that its own."""
    finding = no_harm(guessing(least, ends))
    assert finding.verdict == verdict
    words = "no rate of 4 trains it" if verdict == "refuted" else "resnet of 258 layers may lie beyond the 4 tried"
    assert words in finding.reason


def test_a_gap_that_closes_with_more_steps_is_no_harm_of_depth():
    """Ten points at 4N steps, and twenty at N."""
    records = [
        r if r.trial.depth < 258 or r.status is not Status.OK or r.trial.epochs != 20 or r.trial.lr != 0.05
        else train_record(r.trial, r.result["train_error"] - 0.17)
        for r in thorough(study({"resnet": BAD}))
    ]  # fmt: skip
    finding = no_harm(records)
    assert finding.verdict == "inconclusive"
    assert "the gap closes: 27.0 points at 55 steps, 10.0 points now" in finding.reason


def test_divergence_at_every_rate_needs_neither_steps_nor_convergence():
    records = [r for r in thorough(study({"resnet": DIVERGES})) if r.trial.epochs == 5]
    assert no_harm(records).verdict == "refuted"


def test_divergence_at_rates_that_all_train_18_layers_leaves_lower_ones_open():
    records = [r for r in thorough(study({"resnet": DIVERGES})) if r.trial.epochs == 5]
    finding = no_harm(without(records, lr=0.005))
    assert finding.verdict == "inconclusive"
    assert "resnet of 258 layers may train at a lower learning rate than the 2 tried" in finding.reason


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [((0.490, 0.501, 0.512), "inconclusive"), ((0.475, 0.485, 0.495), "inconclusive"), ((0.75, 0.9, 0.85), "refuted")],
)
def test_whether_the_lowest_rate_trains_18_layers_is_no_matter_of_rounding(
    errors: tuple[float, float, float], verdict: str
):
    """Means of 50.1 and 48.5 % on two processors: neither fails for sure."""
    records = [
        train_record(r.trial, errors[r.trial.seed])
        if r.trial.depth == 18 and r.trial.lr == pytest.approx(0.005) else r
        for r in thorough(study({"resnet": DIVERGES})) if r.trial.epochs == 5
    ]  # fmt: skip
    assert no_harm(records).verdict == verdict


def test_a_net_that_does_well_needs_none_of_it():
    assert no_harm(study({"resnet": FLAT})).verdict == "supported"


def test_the_plain_half_of_a_thousand_layers_rests_on_a_bad_net_too():
    both = {"resnet": {18: 0.03, 1002: 0.05}, "plain": {18: 0.05, 1002: 0.8}}
    once = headline("thousand-layers", study(both))
    assert once.verdict == "inconclusive"
    assert "one learning rate was tried for plain of 1002 layers" in once.reason
    assert headline("thousand-layers", thorough(study(both))).verdict == "supported"


def test_each_number_of_steps_is_told_and_the_longest_is_the_headline():
    found = judge(frames(thorough(study({"resnet": BAD}))), ("residual-no-harm",))["residual-no-harm"]
    mine = [f for f in found if f.subject == "resnet" and f.measure == "train_error"]
    assert [f.steps for f in mine] == [220, 110, 55]
    assert [str(f.verdict) for f in mine] == ["refuted", "inconclusive", "inconclusive"]


def test_other_recipes_are_no_shorter_training_of_this_one():
    """A quarter and a half of the steps, at another width."""
    records = [
        dataclasses.replace(r, trial=dataclasses.replace(r.trial, width=16)) if r.trial.epochs < 20 else r
        for r in thorough(study({"resnet": BAD}))
    ]
    found = judge(frames(records), ("residual-no-harm",))["residual-no-harm"]
    assert all(f.verdict != "refuted" for f in found)


def test_a_net_that_diverges_is_no_witness_that_a_rate_trains_nothing():
    """At the lower rates nothing but the deep net was tried: whether one of them is low enough, nobody knows."""
    records = [r for r in thorough(study({"resnet": DIVERGES})) if r.trial.epochs == 5]
    finding = no_harm([r for r in records if r.trial.depth == 258 or r.trial.lr > 0.01])
    assert finding.verdict == "inconclusive"
    assert "resnet of 258 layers may train at a lower learning rate than the 3 tried" in finding.reason


@pytest.mark.parametrize("status", [Status.TIMEOUT, Status.DIVERGED])
def test_a_failure_of_the_shallow_net_after_fewer_steps_makes_no_gap_last(status: Status):
    """Its worst rank there would make the gap small, and the gap after more steps look as large as ever."""
    bad = thorough(study({"resnet": BAD}))
    finding = no_harm(failing(bad, lambda t: (t.depth, t.epochs, t.seed) == (18, 5, 0), status))
    assert finding.verdict == "inconclusive"
    assert "not every seed has an error at fewer" in finding.reason


def test_no_seeds_are_asked_for_where_the_rate_is_in_doubt():
    finding = no_harm(failing(study({"resnet": FLAT}), lambda t: (t.depth, t.seed) == (1002, 0)))
    assert (finding.verdict, finding.more_seeds) == ("inconclusive", False)
    assert "one learning rate was tried for resnet of 1002 layers" in finding.reason


def test_plain_nets_do_not_degrade_only_where_the_shallow_one_is_at_its_best():
    """All err by 12 %: at a rate that was not tried 18 layers may err less, and the deep ones not."""
    records = thorough(study({"plain": dict.fromkeys(FLAT, 0.12)}))
    assert headline("plain-degrades", records).verdict == "refuted"
    finding = headline("plain-degrades", without(records, lr=0.005))
    assert finding.verdict == "inconclusive"
    assert "the best learning rate of plain of 18 layers may lie beyond the 2 tried" in finding.reason


def test_a_shortcut_is_of_no_use_only_at_the_residual_nets_own_best_rate():
    records = dense(0.1, 0.1)
    assert headline("conv-and-dense", thorough(records)).verdict == "refuted"
    once = [r for r in records if r.trial.architecture.residual]
    plain = thorough([r for r in records if not r.trial.architecture.residual])
    finding = headline("conv-and-dense", [*once, *plain])
    assert finding.verdict == "inconclusive"
    assert "one learning rate was tried for resnet of 258 layers" in finding.reason
