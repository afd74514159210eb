"""Two sets of records of one study: what may be paired is, what may not is named, and no side is lost."""

import dataclasses
import math

import pytest
from made_up import cost_record, frames, study_records, train_record, trial

from bench.store.record import Record, Status
from results import against
from results.against import ErrorPair


def pair(pairs: list[ErrorPair], architecture: str, depth: int, measure: str = "train_error") -> ErrorPair:
    (found,) = [
        p for p in pairs if (p.recipe.architecture, p.recipe.depth, p.measure) == (architecture, depth, measure)
    ]
    return found


def records(shift: float = 0.0, seeds: range = range(3), **fields: object) -> list[Record]:
    """Nets of two depths whose errors spread over seeds by a point; the deeper ones are off by `shift`."""
    return [
        train_record(trial("resnet", depth, seed, **fields), 0.05 + 0.01 * seed + shift * (depth > 18))
        for depth in (18, 66)
        for seed in seeds
    ]


def test_equal_records_differ_in_nothing() -> None:
    one = frames(study_records(("plain", "resnet"), (18, 66, 258, 514), range(3)))
    pairs = against.errors(one, one)
    assert all(p.identical and not p.differs for p in pairs)
    assert {p.apart.value for p in pairs if p.apart.n} == {0.0}
    assert against.shared(one, one) == against.Shared(24, 24, 24, 24)
    assert {c.ratio("step_time_s") for c in against.costs(one, one)} == {1.0}
    assert {law.ratio for law in against.laws(against.costs(one, one))} == {1.0}
    assert against.other_recipes(pairs) == []


def test_a_difference_is_one_of_the_same_seeds() -> None:
    """Seeds spread by a point; a shift of three that all of them share has the interval of pairs, which is narrow."""
    pairs = against.errors(frames(records()), frames(records(0.03)))
    same, shifted = pair(pairs, "resnet", 18), pair(pairs, "resnet", 66)
    assert same.identical
    assert not same.differs
    assert shifted.apart.value == pytest.approx(0.03)
    assert 0.028 < shifted.apart.low < 0.03 < shifted.apart.high < 0.032
    assert shifted.differs
    assert (shifted.a.value, shifted.b.value) == (pytest.approx(0.06), pytest.approx(0.09))


def test_other_seeds_are_never_paired() -> None:
    one, other = records(), [r for r in records(0.03, range(2, 5)) if r.trial.seed != 3]
    found = pair(against.errors(frames(one), frames(other)), "resnet", 66)
    assert (found.a.seeds, found.b.seeds, found.pairs) == (3, 2, 1)
    assert found.apart.value == pytest.approx(0.03)
    assert found.apart.reason == "one value only"
    apart = pair(against.errors(frames(records(0.0, range(2))), frames(records(0.3, range(3, 5)))), "resnet", 66)
    assert (apart.pairs, apart.apart.reason) == (0, "no trial is on both sides")
    assert math.isnan(apart.apart.value)


def test_a_missing_depth_and_a_net_that_diverges_on_one_side_only() -> None:
    other = [
        dataclasses.replace(train_record(r.trial, None)) if (r.trial.depth, r.trial.seed) == (66, 1) else r
        for r in records()
        if r.trial.depth == 66
    ]
    pairs = against.errors(frames(records()), frames(other))
    missing, lost = pair(pairs, "resnet", 18), pair(pairs, "resnet", 66)
    assert missing.b is None
    assert missing.apart.reason == "on one side only"
    assert (lost.pairs, lost.ends_differ, lost.apart.n, lost.b.diverged) == (3, 1, 2, 1)
    assert lost.differs


def test_another_recipe_is_named_and_not_compared() -> None:
    pairs = against.errors(frames(records(lr=0.05)), frames(records(lr=0.1)))
    assert all(p.a is None or p.b is None for p in pairs)
    (first, second) = against.other_recipes(pairs)
    net, fields = first
    assert (net.study, net.architecture, net.depth, fields) == ("made-up", "resnet", 18, [("lr", [0.05], [0.1])])
    assert second[0].depth == 66
    # The rates stand beside such rows, and nowhere else.
    assert set(against.setting_words([p.recipe for p in pairs])) == {"lr 0.05", "lr 0.1"}
    assert set(against.setting_words([p.recipe for p in pairs if p.a])) == {""}


def test_other_images_are_not_paired() -> None:
    other = [dataclasses.replace(r, environment=r.environment | {"data": "07e6"}) for r in records(0.03)]
    found = pair(against.errors(frames(records()), frames(other)), "resnet", 66)
    assert (found.pairs, found.apart.n) == (0, 0)
    assert found.a is not None
    assert found.b is not None


def timed(factor: float, depths: tuple[int, ...]) -> list[Record]:
    return [cost_record(trial("resnet", d), step_times_s=[factor * (0.002 + 0.0009 * d)] * 10) for d in depths]


def test_a_planted_slope_is_found_over_the_depths_of_both_sides() -> None:
    pairs = against.costs(frames(timed(1.0, (18, 66, 130, 258))), frames(timed(1.3, (18, 66, 130, 514))))
    assert [p.setting.depth for p in pairs] == [18, 66, 130, 258, 514]
    assert [math.isfinite(p.ratio("step_time_s")) for p in pairs] == [True] * 3 + [False] * 2
    (law,) = against.laws(pairs)
    assert law.depths == (18, 66, 130)
    assert law.ratio == pytest.approx(1.3)
    assert law.a.value == pytest.approx(0.0009)
    assert against.large(law.ratio)
    assert not against.large(1.2)
    assert not against.large(math.nan)


def test_two_depths_have_ratios_and_no_law() -> None:
    (law,) = against.laws(against.costs(frames(timed(1.0, (18, 66))), frames(timed(2.0, (18, 66)))))
    assert law.a.reason == "fewer than three points"
    assert math.isnan(law.ratio)


def test_a_cost_that_failed_is_there_and_has_no_ratio() -> None:
    failed = [cost_record(trial("resnet", 18), Status.OUT_OF_MEMORY)]
    (found,) = against.costs(frames(timed(1.0, (18,))), frames(failed))
    assert found.b.status == "out_of_memory"
    assert math.isnan(found.ratio("step_time_s"))


def test_costs_at_another_learning_rate_are_the_same_cost_but_of_an_own_block_edited_since() -> None:
    one, other = (frames([cost_record(trial("resnet", 18, lr=lr))]) for lr in (0.1, 0.2))
    assert len(against.costs(one, other)) == 1
    asked = trial("resnet", 18)
    sides = [
        frames([cost_record(dataclasses.replace(asked, architecture=dataclasses.replace(
            asked.architecture, name="mine", shortcut="own", factory="my:mine", code=code)))])
        for code in ("aa", "bb")
    ]  # fmt: skip
    assert len(against.costs(*sides)) == 2
    assert len(against.costs(sides[0], sides[0])) == 1
