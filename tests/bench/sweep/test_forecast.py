"""Predictions of time and memory: exact on made-up lines, honest about what they rest on."""

import dataclasses
from pathlib import Path

import made_up
import pytest

from bench.cost.summary import rows
from bench.data import datasets as data
from bench.plan.study import Study, load
from bench.plan.trial import spec_of
from bench.store.record import Status
from bench.sweep import forecast as prediction
from bench.sweep.forecast import Line, fit, lines, predict, rule_of_thumb
from models.network import build


def study(depths: tuple[int, ...], **fields: object) -> Study:
    trials = tuple(made_up.trial("preact", depth, **fields) for depth in depths)  # type: ignore[arg-type]
    return Study("made-up", "", "", (), trials)


def test_fit_finds_a_line_and_weighs_errors_by_size() -> None:
    line = fit([(18, 0.02 + 0.001 * 18), (130, 0.02 + 0.001 * 130), (1002, 0.02 + 0.001 * 1002)])
    assert line.intercept == pytest.approx(0.02)
    assert line.slope == pytest.approx(0.001)
    # 10 % noise on the deepest net must not make the shallowest's prediction absurd.
    noisy = fit([(18, 0.038), (130, 0.15), (1002, 1.1 * 1.022)])
    assert noisy(18) == pytest.approx(0.038, rel=0.1)


def test_fit_of_one_depth_is_proportional_and_a_falling_line_is_flat() -> None:
    assert fit([(10, 2.0), (10, 2.0)]) == Line(0.0, 0.2)
    assert fit([(10, 2.0), (20, 1.0)]).slope == 0


def test_training_is_steps_times_the_fitted_step() -> None:
    costs = [
        made_up.cost_record(
            made_up.trial("preact", d), step_times_s=[0.001 * d] * 3, peak_memory_bytes=10**9 + 10**6 * d
        )
        for d in (18, 66, 258)
    ]
    asked = study((1002,), epochs=4, batch_size=128)
    (found,) = predict(asked, costs)
    assert found.seconds == pytest.approx(1.002 * 11 * (4 + 1))  # digits: 11 full batches an epoch
    assert found.memory_bytes == pytest.approx(10**9 + 10**6 * 1002)
    assert found.basis == "fit over depth 18, 66, 258"


def test_a_growing_net_is_trained_at_each_of_its_depths_beside_its_ungrown_copy() -> None:
    costs = [
        made_up.cost_record(made_up.trial("preact", d), step_times_s=[0.001 * d] * 3, peak_memory_bytes=10**9)
        for d in (18, 66, 258)
    ]
    one, grown = predict(study((18,)), costs), predict(study((18,), grow_to=(34, 66)), costs)
    assert grown[0].seconds == pytest.approx(one[0].seconds * (18 + (18 + 34) + (34 + 66)) / 18)


def test_while_a_study_runs_growth_and_all_images_count_for_what_they_are() -> None:
    short, grown, more, every = (
        made_up.trial("preact", 18, epochs=5, train_examples=examples, grow_to=to)
        for examples, to in ((1000, ()), (1000, (34, 66)), (1437, ()), (0, ()))
    )
    assert prediction.work(grown) == pytest.approx(prediction.work(short) * (18 + (18 + 34) + (34 + 66)) / 18)
    assert prediction.work(every) == prediction.work(more), "digits has 1437"
    seen = prediction.Forecast()
    seen.learn(dataclasses.replace(made_up.train_record(grown), seconds=100.0))
    seen.learn(dataclasses.replace(made_up.train_record(short), seconds=1.0))
    assert (seen.seconds(grown), seen.seconds(short)) == (pytest.approx(100.0), pytest.approx(1.0))


def test_other_families_and_failed_records_say_nothing() -> None:
    costs = [
        made_up.cost_record(made_up.trial("plain", 18)),
        made_up.cost_record(made_up.trial("preact", 18, width=16)),
        made_up.cost_record(made_up.trial("preact", 34), status=Status.OUT_OF_MEMORY),
    ]
    (found,) = predict(study((66,)), costs)
    assert found.basis == "rule of thumb"


def test_error_is_shown_where_a_record_is_and_does_not_use_it(tmp_path: Path) -> None:
    """The cost of a depth is predicted from the other depths only: else the error would be that of a fit to itself."""
    trials = [made_up.trial("preact", d) for d in (18, 34, 66)]
    records = [dataclasses.replace(made_up.cost_record(t), seconds=1 + 0.01 * t.depth) for t in trials]
    asked = Study("made-up", "", "", (), tuple(r.trial for r in records))
    found = predict(asked, records)
    assert [p.basis for p in found] == ["fit over depth 34, 66", "fit over depth 18, 66", "fit over depth 18, 34"]
    assert [p.seconds for p in found] == pytest.approx([1.18, 1.34, 1.66])
    assert [p.error for p in found] == pytest.approx([0, 0, 0])
    made_up.write(tmp_path / "made-up", records)
    text, sums = lines(asked, tmp_path, workers=2)
    assert len(text) == 3
    assert "prediction off by" in text[0]
    assert "predictions were off by" in sums[-1]


def test_a_gpu_is_expected_to_run_one_trial_at_a_time(tmp_path: Path) -> None:
    record = made_up.cost_record(made_up.trial("preact", 18))
    made_up.write(tmp_path / "made-up", [dataclasses.replace(record, environment={"device": "cuda"})])
    assert "with 1 trial at a time" in lines(study((18, 34)), tmp_path, memory_bytes=1e12)[1][0]


def test_what_does_not_fit_is_said(tmp_path: Path) -> None:
    costs = [made_up.cost_record(made_up.trial("preact", d), peak_memory_bytes=10**6 * d) for d in (18, 34)]
    made_up.write(tmp_path / "made-up", costs)
    text, _ = lines(study((66, 1002)), tmp_path, workers=1, memory_bytes=500 * 10**6)
    assert ["DOES NOT FIT" in line for line in text] == [False, True]


def test_seeds_at_once_need_the_memory_of_several(tmp_path: Path) -> None:
    """On a GPU, and where they train."""
    asked = dataclasses.replace(study((66,)), seeds_at_once=3)
    asked = dataclasses.replace(asked, trials=(*asked.trials, made_up.trial("preact", 66, purpose="cost")))
    costs = [made_up.cost_record(made_up.trial("preact", d), peak_memory_bytes=10**6 * d) for d in (18, 34)]
    for device, said in (("cuda", [True, False]), ("cpu", [False, False])):
        made_up.write(tmp_path / "made-up", [dataclasses.replace(c, environment={"device": device}) for c in costs])
        text, sums = lines(asked, tmp_path, workers=1, memory_bytes=150 * 10**6)
        assert [line.endswith("3 AT ONCE DO NOT FIT") for line in text] == said, device
        assert any("3 seeds of a net train at once" in line for line in sums)


def test_rule_of_thumb_knows_how_large_a_network_is() -> None:
    small, large = (load(name).trials[0] for name in ("digits", "document-short"))
    assert small.depth == large.depth == 18
    # Measured on a shared AVX512 machine: 0.01 s, and 10 to 20 s (1,200 images in three epochs took 335 s under load).
    assert 0.003 < rule_of_thumb(small)[0] < 0.03
    assert 3 < rule_of_thumb(large)[0] < 30


def test_rule_of_thumb_counts_what_tokens_and_vectors_compute() -> None:
    """Beside the multiply-adds and the activations that the network's own modules have."""
    for name, layout, depth, width in (("pre-norm", "transformer", 66, 16), ("dense-swish", "dense-four", 66, 32)):
        trial = made_up.trial(name, depth, layout=layout, width=width, batch_size=1000, dataset="digits")
        own = rows(build(spec_of(trial, (1, 8, 8), 10), device="meta"), (1, 8, 8))
        step, memory = rule_of_thumb(trial)
        flops = (step - prediction.DISPATCH_S_A_LAYER * depth) * prediction.FLOPS_A_SECOND / 1000
        assert flops == pytest.approx(6 * sum(row.macs for row in own), rel=0.1), name
        kept = (memory - prediction.FLOOR_BYTES) / 1000
        assert kept == pytest.approx(sum(row.saved_bytes for row in own), rel=0.4), name


def test_sizes_that_are_known_without_loading_are_those_of_the_data() -> None:
    assert set(prediction.N_TRAIN) == set(data.DATASETS)
    for name in ("digits", "synthetic"):
        loaded = data.load(name)
        assert prediction.N_TRAIN[name] == len(loaded.train_labels)
        assert prediction.IMAGES[name] == loaded.image
