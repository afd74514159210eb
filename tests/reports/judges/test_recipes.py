"""Only trials of one recipe are judged together: what a study varies beside depth tells findings apart."""

import dataclasses
import math
from typing import Any

import pytest
from made_cases import FLAT, RISING, grown, headline, lesions, paths, study, thorough, wobble
from made_up import frames, train_record, trial

from bench.store.record import Record
from reports.claims import Finding, judge
from reports.finding import TrainedRow


def by_setting(records: list[Record], claim: str, measure: str, subject: str = "resnet") -> dict[str, Finding]:
    found = judge(frames(records), (claim,))[claim]
    return {f.setting: f for f in found if f.subject.startswith(subject) and f.measure == measure and f.trials}


def random_labels(fit: dict[int, int], searched: bool = False, **more: Any) -> list[Record]:
    """Nets that fit random labels at this epoch, by depth; seed 2 an epoch later."""

    def record(depth: int, seed: int) -> Record:
        asked = trial("resnet", depth, seed, "digits-random-labels", dataset="random-labels:digits", **more)
        if searched:
            asked = dataclasses.replace(asked, lr=1 / depth, lr_from="search")
        made = train_record(asked, 0.05)
        first = fit[depth] + (seed == 2)
        rows = [{**row, "train_error": 0.9 if row["epoch"] < first else 0.05} for row in made.epochs]
        return dataclasses.replace(made, epochs=rows)

    return [record(d, s) for d in fit for s in range(3)]


SOONER, LATER = {18: 9, 34: 7, 66: 5, 130: 3}, {18: 3, 34: 5, 66: 7, 130: 9}


@pytest.mark.parametrize("varied", ["lr", "weight_decay"])
def test_random_labels_at_two_settings_are_two_findings(varied: str):
    records = random_labels(SOONER, epochs=10, **{varied: 0.1}) + random_labels(LATER, epochs=10, **{varied: 0.01})
    found = by_setting(records, "deeper-is-better", "steps_to_fit")
    assert {setting: str(f.verdict) for setting, f in found.items()} == {
        f"{varied} 0.01": "inconclusive", f"{varied} 0.1": "supported",
    }  # fmt: skip
    assert "rises, p = " in found[f"{varied} 0.01"].reason
    assert all(len(f.trials) == 12 for f in found.values())


def test_random_labels_at_one_setting_name_none():
    found = by_setting(random_labels(SOONER, epochs=10), "deeper-is-better", "steps_to_fit")
    assert [(s, str(f.verdict)) for s, f in found.items()] == [("", "supported")]


def test_random_labels_at_searched_rates_are_not_said_to_be_at_one() -> None:
    (finding,) = by_setting(random_labels(LATER, searched=True, epochs=10), "deeper-is-better", "steps_to_fit").values()
    assert str(finding.verdict) == "inconclusive"
    assert finding.reason.endswith("but no net was trained for longer")
    (finding,) = by_setting(random_labels(LATER, epochs=10), "deeper-is-better", "steps_to_fit").values()
    assert finding.reason.endswith("but one learning rate was tried")


@pytest.mark.parametrize("varied", ["lr", "batch_size", "epochs"])
def test_lesions_of_two_recipes_are_not_averaged(varied: str):
    """A tenth of the depth counts under one recipe, eight tenths under the other."""
    one, other = {"lr": (0.01, 0.05), "batch_size": (32, 64), "epochs": (5, 20)}[varied]
    records = lesions(0.1, 0.002, name="mine", **{varied: one}) + lesions(0.8, 0.002, name="mine", **{varied: other})
    found = by_setting(records, "small-net-first", "effective_depth")
    assert {setting: str(f.verdict) for setting, f in found.items()} == {
        f"{varied} {one:g}": "supported", f"{varied} {other:g}": "refuted",
    }  # fmt: skip
    assert found[f"{varied} {one:g}"].effect == pytest.approx(25.8, abs=1)


def test_a_recipe_under_which_seeds_diverge_does_not_spoil_the_other():
    bad = [
        train_record(r.trial, None) if r.trial.purpose == "train" and r.trial.depth == 258 else r
        for r in lesions(0.1, 0.002, name="mine", lr=0.5)
    ]
    found = by_setting([*bad, *lesions(0.1, 0.002, name="mine", lr=0.05)], "small-net-first", "effective_depth")
    assert found["lr 0.05"].verdict == "supported"


def test_gradient_paths_of_two_recipes_are_told_apart():
    def at(high: float, lr: float) -> list[Record]:
        records = paths(high)
        return [dataclasses.replace(r, trial=dataclasses.replace(r.trial, study="mine", lr=lr)) for r in records]

    found = by_setting(at(20, 0.01) + at(120, 0.05), "small-net-first", "path_length")
    assert {s: str(f.verdict) for s, f in found.items()} == {"lr 0.01": "supported", "lr 0.05": "refuted"}


@pytest.mark.parametrize("varied", ["lr", "width"])
def test_growth_under_two_recipes_is_not_averaged(varied: str):
    one, other = {"lr": (0.01, 0.05), "width": (8, 16)}[varied]
    good = {to: (lambda s: 0.05 + wobble(s), lambda s: 0.05 - wobble(s)) for to in (34, 258)}
    bad = {to: (lambda s: 0.14 + wobble(s), lambda s: 0.05 - wobble(s)) for to in (34, 258)}
    found = by_setting(grown(good, **{varied: one}) + grown(bad, **{varied: other}), "identity-growth", "train_error")
    assert {s: str(f.verdict) for s, f in found.items()} == {
        f"{varied} {one:g}": "supported", f"{varied} {other:g}": "inconclusive",
    }  # fmt: skip
    assert "9.0 points worse" in found[f"{varied} {other:g}"].reason


def test_growth_from_two_depths_is_not_averaged():
    def start(depth: int, worse: float) -> list[Record]:
        steps = {to: (lambda s: 0.05 + worse + wobble(s), lambda s: 0.05 - wobble(s)) for to in (130, 258)}
        records = grown(steps)
        return [dataclasses.replace(r, trial=dataclasses.replace(r.trial, depth=depth)) for r in records]

    found = by_setting(start(18, 0.0) + start(34, 0.09), "identity-growth", "train_error")
    assert {s: str(f.verdict) for s, f in found.items()} == {
        "from 18 layers": "supported", "from 34 layers": "inconclusive",
    }  # fmt: skip
    assert "9.0 points worse" in found["from 34 layers"].reason


def test_a_plain_net_of_another_recipe_is_no_twin():
    """Published nowhere: a long residual training set against a short plain one."""
    errors: dict[str, dict[int, float | None]] = {"preact": {18: 0.03, 1002: 0.05}, "plain": {18: 0.05, 1002: None}}
    short = thorough(study(errors, "mine", epochs=5))
    long = study({"preact": errors["preact"]}, "mine", epochs=80)
    found = by_setting([*short, *long], "thousand-layers", "train_error", "preact")
    assert found["epochs 5, each depth at its own best lr"].verdict == "supported"
    assert found["epochs 80, one learning rate"].verdict == "inconclusive"
    assert "no plain net of that depth and recipe" in found["epochs 80, one learning rate"].reason


def own_rates(records: list[Record], lr_from: str = "search") -> list[Record]:
    """The same records, each depth at a rate of its own, which a search chose."""
    told = {"search": {"digest": "x", "state": "inside", "tried": [0.1, 0.01, 0.001]}}
    return [
        dataclasses.replace(
            r,
            trial=dataclasses.replace(r.trial, lr=1.8 / r.trial.depth, lr_from=lr_from),
            environment={**r.environment, **(told if lr_from == "search" else {})},
        )
        if r.trial.purpose == "train"
        else r
        for r in records
    ]


def test_depths_at_their_own_best_rates_are_one_ladder_and_may_refute():
    records = [r for epochs in (5, 10, 20) for r in study({"resnet": RISING}, "mine", epochs=epochs)]
    assert headline("residual-no-harm", records).verdict == "inconclusive", "one rate was tried"
    searched = [search_record(r, lr) for r in own_rates(records) if r.trial.seed == 0 for lr in (0.1, 0.01, 0.001)]
    for beside in ([], searched):  # a record says what the search tried, whether its records are there or not
        found = headline("residual-no-harm", own_rates(records) + beside)
        assert (found.verdict, found.setting) == ("refuted", "epochs 20, each depth at its own best lr")
        rows = {row.depth: row.searched for row in found.details if isinstance(row, TrainedRow)}
        assert rows[1002] is not None
        assert rows[1002].lr == pytest.approx(1.8 / 1002)
        assert rows[1002].tried == 3
    assert found.trials == headline("residual-no-harm", own_rates(records)).trials, "the search is judged nowhere"


def search_record(record: Record, lr: float) -> Record:
    asked = dataclasses.replace(record.trial, purpose="search", lr=lr, lr_from="study", seed=100, probes=())
    return train_record(asked, 0.05 + 0.1 * math.log10(lr / 0.01) ** 2)  # best inside


def test_the_plain_net_at_its_twins_rate_is_a_line_of_its_own_that_refutes_nothing():
    own, twin = own_rates(study({"plain": FLAT})), own_rates(study({"plain": FLAT}, cost=False), "search of resnet")
    found = {f.setting: f for f in judge(frames(own + twin), ("plain-degrades",))["plain-degrades"]
             if f.measure == "train_error"}  # fmt: skip
    assert {setting: str(f.verdict) for setting, f in found.items()} == {
        "each depth at its own best lr": "refuted", "at the best lr of resnet": "inconclusive",
    }  # fmt: skip
    assert headline("plain-degrades", own + twin).setting == "each depth at its own best lr"
    assert "one learning rate was tried" in found["at the best lr of resnet"].reason


def test_a_thousand_layers_show_how_the_plain_twin_ends_at_their_rate():
    nets = {"resnet": FLAT, "plain": {18: 0.01, 66: 0.5, 258: 0.8, 1002: None}}
    own = own_rates(study(nets))
    twin = [r for r in own_rates(study({"plain": FLAT}, cost=False), "search of resnet") if r.trial.depth == 1002]
    with_twin, without = (headline("thousand-layers", records) for records in (own + twin, own))
    assert with_twin.beside.startswith("At the learning rate of resnet, not judged, plain ends at ")
    assert without.beside == ""
    assert (with_twin.verdict, with_twin.reason) == (without.verdict, without.reason)


def test_a_net_of_one_depth_beside_a_ladder_is_no_ladder():
    """The plain twin of a thousand layers, trained for as long as they were, says nothing about degradation."""
    ladder = own_rates(study({"plain": RISING}, epochs=20))
    twin = [r for r in own_rates(study({"plain": RISING}, epochs=5)) if r.trial.depth == 1002]
    found = judge(frames(ladder + twin), ("plain-degrades",))["plain-degrades"]
    assert {f.setting for f in found if f.trials} == {"epochs 20, each depth at its own best lr"}
    alone = judge(frames(twin), ("plain-degrades",))["plain-degrades"]
    assert "one depth only" in alone[0].reason
