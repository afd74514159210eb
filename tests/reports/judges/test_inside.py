"""Judges of lesions, gradient paths and growth, on made-up probes."""

import dataclasses
import math
from typing import Any

import pytest
from made_cases import grown, growth, headline, lesions, paths, study, with_probe, wobble
from made_up import frames

from bench.store.record import Record
from reports.claims import judge
from reports.finding import Finding, GrowthRow
from reports.judges.inside import GROWTH
from results.stats import LOOKS, quantile


def test_lesions_of_nets_that_did_not_train_say_nothing():
    finding = headline("small-net-first", lesions(0.2, 0.002, intact=0.4))
    assert "trained" in finding.reason


def cut(rises: list[float], deletable: int) -> list[Record]:
    """Nets of which a few of so many blocks were deleted, each with this rise of the error."""

    def with_blocks(record: Record) -> dict[str, Any]:
        bit = wobble(record.trial.seed)
        errors = [0.05 + rise + bit * i / 10 for i, rise in enumerate(rises)]
        return {**record.probes["lesions"], "n_deletable": deletable, "errors_reestimated": errors}

    return with_probe(lesions(0.2, 0.0), "lesions", with_blocks)


def part(records: list[Record], measure: str) -> Finding:
    return next(f for f in judge(frames(records))["small-net-first"] if f.measure == measure)


def test_a_block_counts_by_its_share_of_the_net():
    """The first of 497 blocks is felt by 25 points: a twentieth of a point of the average, not four."""
    deep = part(cut([0.25, 0.0, 0.0, 0.0, 0.0, 0.0], 497), "single_blocks")
    assert deep.verdict == "supported"
    assert deep.effect == pytest.approx(0.25 / 497, abs=2e-4)
    shallow = part(cut([0.25, 0.0, 0.0, 0.0, 0.0, 0.0], 6), "single_blocks")
    assert shallow.verdict == "refuted"
    assert shallow.effect == pytest.approx(0.25 / 6, abs=2e-4)


def test_two_refuted_parts_refute_and_one_does_not():
    headline_of = {rise: headline("small-net-first", lesions(0.2, rise)) for rise in (0.002, 0.4)}
    assert headline_of[0.002].verdict == "supported"
    assert headline_of[0.4].verdict == "inconclusive"
    assert "single blocks: refuted" in headline_of[0.4].reason
    assert headline("small-net-first", lesions(0.9, 0.4)).verdict == "refuted"


def test_a_part_that_was_not_measured_leaves_it_open():
    records = lesions(0.2, 0.002)
    without = [dataclasses.replace(r, probes={"lesions": r.probes["lesions"]}) if r.probes else r for r in records]
    finding = headline("small-net-first", without)
    assert finding.verdict == "inconclusive"
    assert "gradient paths: not measured" in finding.reason


def test_growth_names_the_step_that_decides():
    """At 34 layers it is surely 9 points worse; at 258 worse by 1 on average, and noisy."""
    steps = {
        34: (lambda s: 0.14 + wobble(s), lambda s: 0.05 - wobble(s)),
        258: (lambda s: (0.05, 0.13, 0.0)[s], lambda s: 0.05),
    }
    finding = headline("identity-growth", grown(steps))
    assert finding.verdict == "inconclusive", "at one learning rate"
    assert "9.0 points worse at 34 layers" in finding.reason
    assert finding.effect == pytest.approx(0.09, abs=0.002)


def test_growth_at_the_floor_tells_nothing_apart_be_all_errors_equal_or_one_image_off():
    """As ladders do; above the floor, errors that are equal spread as their rounding does."""
    zero = {to: (lambda s: 0.0, lambda s: 0.0) for to in (34, 258)}
    finding = headline("identity-growth", grown(zero))
    assert finding.verdict == "inconclusive"
    assert "all errors are under 2.0 %" in finding.reason
    assert finding.effect is None
    almost = {34: (lambda s: 0.0, lambda s: s / 1437), 258: (lambda s: 0.0, lambda s: 0.0)}
    assert headline("identity-growth", grown(almost)).verdict == "inconclusive"
    above = {34: (lambda s: 0.05, lambda s: 0.05 + s / 1437), 258: (lambda s: 0.05, lambda s: 0.05)}
    finding = headline("identity-growth", grown(above))
    assert finding.verdict == "supported"
    last = finding.details[-1]
    assert isinstance(last, GrowthRow)
    # One image of 1437 on each side, rounded: two thirds of a step for three seeds.
    assert last.high == pytest.approx(quantile(2, 1 - LOOKS[3]) * (1 / 1437) * (2 / 12 / 3) ** 0.5, rel=0.01)


def test_equal_errors_after_growth_count_where_the_plain_nets_growth_fails_the_same_test():
    """As published: the post-activation net's 30 errors are 0, the plain net's rise by 83 points."""
    zero = grown({to: (lambda s: 0.0, lambda s: 0.0) for to in (34, 258)})
    fails = grown({to: (lambda s: 0.83 + wobble(s), lambda s: 0.0) for to in (34, 258)}, arm="plain")
    finding = headline("identity-growth", zero + fails)
    assert finding.verdict == "supported"
    assert headline("identity-growth", zero).verdict == "inconclusive"


def test_growth_that_ends_worse_at_one_learning_rate_refutes_nothing():
    finding = headline("identity-growth", growth(1e-6, 0.09))
    assert finding.verdict == "inconclusive"
    assert "worse" in finding.reason
    assert "one learning rate" in finding.reason


def test_outputs_of_a_grown_net_that_no_longer_trains_are_not_judged():
    """As published: plain nets grown to 258 layers fail, and rounding is large beside the small outputs of these."""
    steps = {
        34: (lambda s: 0.01 + wobble(s), lambda s: 0.01 - wobble(s)),
        258: (lambda s: 0.87 + wobble(s), lambda s: 0.01 - wobble(s)),
        514: (lambda s: math.nan, lambda s: 0.7 + wobble(s)),
    }
    records = grown(steps, arm="plain")
    for record in records:
        for row in record.probes.get("growth", {}).get("steps", []):
            row["max_logit_difference"] = 8.0 * {34: 1e-6, 258: 4e-6, 514: 2e-4}[row["to"]]
    finding = next(f for f in judge(frames(records), ("identity-growth",))["identity-growth"] if f.subject == "plain")
    assert finding.verdict == "inconclusive"
    assert finding.effect == pytest.approx(0.86, abs=0.002)
    assert "grown to 34 to 258 layers, outputs change by 4e-06" in finding.reason
    assert "growth beyond 258 layers is not judged" in finding.reason


def test_a_net_that_cannot_be_grown_says_why():
    records = with_probe(
        study({"plain": {18: 0.03}}, "digits-growth", grow_to=(34,)),
        "growth",
        lambda record: {"steps": [], "skipped": "18 to 34: a plain bottleneck cannot be an identity"},
    )
    found = judge(frames(records), ("identity-growth",))["identity-growth"]
    plain = next(f for f in found if f.subject == "plain")
    assert plain.verdict == "inconclusive"
    assert "cannot be an identity" in plain.reason


def test_growth_that_diverges_is_worse_than_none():
    records = with_probe(
        study({"resnet": {18: 0.03}}, "digits-growth", grow_to=(34,)),
        "growth",
        lambda record: {"steps": [{"to": 34, "max_logit_difference": 0.0, "max_logit": 1.0, "grown_error": math.nan,
                                   "ungrown_error": 0.05 + wobble(record.trial.seed)}]},
    )  # fmt: skip
    finding = headline("identity-growth", records)
    assert finding.verdict == "inconclusive"
    assert "3 of 3 seeds diverged when trained on, but one learning rate was tried" in finding.reason


def test_growth_is_judged_up_to_where_all_seeds_came():
    """The third seed diverges at 34 layers and is not grown to 258."""

    def content(record: Record) -> Any:
        row = {"max_logit_difference": 0.0, "max_logit": 1.0, "ungrown_error": 0.05 + wobble(record.trial.seed)}
        good = {"grown_error": 0.05, **row}
        if record.trial.seed == 2:
            return {"steps": [{"to": 34, **row, "grown_error": math.nan}], "skipped": "training on diverged"}
        return {"steps": [{"to": 34, **good}, {"to": 258, **good}]}

    records = with_probe(study({"resnet": {18: 0.03}}, "digits-growth", grow_to=(34, 258)), "growth", content)
    finding = headline("identity-growth", records)
    assert finding.verdict == "inconclusive"
    assert "1 of 3 seeds diverged" in finding.reason


def test_growth_to_few_layers_only_is_inconclusive():
    records = growth(1e-6, 0.0)
    shallow = with_probe(records, "growth", lambda r: {"steps": r.probes["growth"]["steps"][:1]})
    finding = headline("identity-growth", shallow)
    assert finding.verdict == "inconclusive"
    assert "never to 258" in finding.reason


def test_gradient_through_short_paths():
    for high, verdict in ((20, "supported"), (120, "refuted")):
        found = judge(frames(paths(high)), ("small-net-first",))["small-net-first"]
        finding = next(f for f in found if f.measure == "path_length")
        assert finding.verdict == verdict
        assert finding.effect == pytest.approx(high, abs=0.1)


def test_effective_depth_grows_from_the_first_epoch_that_all_seeds_have():
    """A net that still errs too much has none: of three seeds two would be judged at the level of three."""

    def late(record: Record) -> dict[str, Any]:
        found = record.probes["lesions"]
        depth = found["effective_depth"]
        first = {"epoch": 1, "intact_error": 0.6} | ({} if record.trial.seed == 2 else {"effective_depth": depth / 4})
        second = {"epoch": 2, "intact_error": 0.3, "effective_depth": depth / (3 + record.trial.seed / 10)}
        return {**found, "by_epoch": [first, second]}

    finding = part(with_probe(lesions(0.2, 0.002), "lesions", late), GROWTH)
    assert finding.n == 3
    assert "from epoch 2 to the end" in finding.reason
