"""What the survival table says of made-up studies whose numbers are known."""

import dataclasses
import math

import pytest
from made_cases import study
from made_up import frames

from results import survival
from results.figures import reading
from results.figures.designs import designs as drawn

DESIGNS = ("plain", "resnet", "preact", "resnet-zero", "rezero-bn", "skipinit", "fixup", "highway")
GOOD = {18: 0.01, 66: 0.01, 258: 0.02}


def errors(name: str) -> dict[int, float | None]:
    return {"plain": {18: 0.02, 66: 0.5, 258: None}, "highway": {18: 0.02, 66: 0.1, 258: 0.4}}.get(name, dict(GOOD))


def records(names=DESIGNS):
    return study({name: errors(name) for name in names}, "mine")


def test_designs_stand_by_their_error_at_the_deepest_depth_and_failed_ones_last():
    made = frames(records())
    rows = survival.ranked(survival.designs(made, "mine"), made.cells)
    assert [row.architecture for row in rows][-2:] == ["highway", "plain"]
    assert {row.depth for row in rows} == {258}


def test_the_deepest_depth_is_one_that_all_were_tried_at():
    more = [*records(), *study({"resnet": {1002: 0.03}}, "mine")]
    assert {row.depth for row in survival.designs(frames(more), "mine")} == {258}


def test_steps_are_counted_to_the_end_of_the_epoch_that_first_errs_little_enough():
    found = []
    for record in records(["resnet"]):
        if record.trial.purpose == "train" and record.trial.depth == 258:
            late = record.trial.seed == 2  # one of three seeds is slower: the median is not
            running = [0.5, 0.2, 0.04, 0.03] if not late else [0.5, 0.4, 0.3, 0.2]
            looks = [
                {**record.epochs[0], "epoch": i + 1, "steps": 7 * (i + 1), "train_error": e}
                for i, e in enumerate(running)
            ]
            record = dataclasses.replace(record, epochs=looks)
        found.append(record)
    assert survival.designs(frames(found), "mine")[0].steps == 21


def test_a_net_that_never_gets_there_has_no_number_of_steps():
    found = {row.architecture: row for row in survival.designs(frames(records()), "mine")}
    assert found["plain"].steps == math.inf


def test_cost_per_layer_is_the_rise_between_the_shallowest_and_the_deepest():
    made = frames(records(["resnet"]))
    cost = made.cost.sort_values("depth")
    rise = cost["step_time_s"].iloc[-1] - cost["step_time_s"].iloc[0]
    assert survival.designs(made, "mine")[0].ms_per_layer == pytest.approx(1000 * rise / (258 - 18))
    nothing = survival.designs(frames([r for r in records(["resnet"]) if r.trial.purpose == "train"]), "mine")
    assert math.isnan(nothing[0].ms_per_layer)


def test_only_a_study_of_many_designs_beside_the_block_is_one():
    assert survival.study_of(frames(records())) == "mine"
    assert survival.study_of(frames(records(DESIGNS[:5]))) == ""
    assert survival.study_of(frames(records([name for name in DESIGNS if name != "resnet"]))) == ""


def test_the_figure_draws_every_design_and_its_failures():
    figure = drawn(frames(records()))
    assert figure is not None
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()][-1] == "plain 8", "so many have numbers"
    lines = reading.table(figure).splitlines()
    marks = [line for line in lines if ",mark," in line or ",failed," in line]
    # Left: every design at three depths; right: at the deepest, against its cost.
    assert len(marks) == (3 + 1) * len(DESIGNS)
    assert sum(",failed," in line for line in marks) == 2
    words = [said for _, rows in reading.words(figure) for said in rows]
    assert "SkipInit, no normalisation, 66 layers, training error 1.008 %" in words
    assert "plain, 258 layers, no number" in words, "and not the place on the axis where failed nets stand"
    assert figure.axes[1].get_xlabel() == "time per layer (ms)"
