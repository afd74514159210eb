"""Rows of costs: medians of the raw samples, and what was disturbed says so."""

import dataclasses
import math
import statistics

import pytest
from made_up import cost_record, frames, study_records, train_record, trial

from results import rows


def test_costs_are_medians_of_the_raw_samples():
    records = study_records(["resnet"], [18], [0])
    raw = records[-1].cost
    row = frames(records).cost.iloc[0]
    assert row["step_time_s"] == pytest.approx(statistics.median(raw["step_times_s"]))
    assert row["images_per_s"] == pytest.approx(128 / row["step_time_s"])
    assert row["net_memory_bytes"] == raw["peak_memory_bytes"] - raw["memory_floor_bytes"]
    assert row["flops_per_s"] == pytest.approx(3 * 128 * raw["flops_per_image"] / row["step_time_s"])
    assert row["arithmetic_time_s"] + row["overhead_time_s"] == pytest.approx(row["step_time_s"])
    assert math.isnan(row["energy_j_per_step"])


def test_an_older_record_held_a_copy_of_the_weights():
    new = cost_record(trial())
    kept = {name: value for name, value in new.cost.items() if name != "net_memory_bytes"}
    old = frames([dataclasses.replace(new, cost=kept)]).cost.iloc[0]
    assert frames([new]).cost.iloc[0]["net_memory_bytes"] - old["net_memory_bytes"] == 4 * new.cost["parameters"]


@pytest.mark.parametrize(
    ("cost", "words"),
    [
        ({}, ""),
        ({"cpu_share": 0.97, "calibration_times_s": [0.010, 0.011], "others_memory_bytes": [5, 5]}, ""),
        ({"cpu_share": 0.6}, "contended: it had 60% of a processor"),
        ({"step_times_s": [0.1, 0.1, 9.0, 0.1]}, "stalled: 9 s without a step, 0.1 s are usual"),
        ({"calibration_times_s": [0.010, 0.018]}, "the machine's speed changed"),
        ({"calibration_times_s": [0.010, 0.006]}, "the machine's speed changed"),
        ({"others_memory_bytes": [2**29, 2**29 + 2**28]}, "took or gave back 256 MiB of the GPU"),
    ],
)
def test_a_cost_that_was_measured_on_a_busy_machine_says_so(cost, words):
    found = frames([cost_record(trial(depth=66), **cost)]).cost.iloc[0]
    assert words in found["disturbed"]
    assert bool(found["disturbed"]) == bool(words)
    assert found["step_time_s"] > 0  # flagged, not dropped


@pytest.mark.parametrize(
    ("threads", "share", "words"),
    [
        (1, 0.95, ""),
        (2, 1.9, ""),
        (2, 1.2, "contended: it had 60% of each of its 2 processors"),
        (4, 3.0, "contended: it had 75% of each of its 4 processors"),
        (None, 0.6, "contended: it had 60% of a processor"),
        (0, 0.6, "contended: it had 60% of a processor"),
    ],
)
def test_the_share_of_a_processor_is_each_threads(threads, share, words):
    cost, trained = cost_record(trial(), cpu_share=share), train_record(trial(), 0.1, cpu_share=share)
    for record in (cost, trained):
        assert (
            rows.disturbed(dataclasses.replace(record, environment={**record.environment, "threads": threads})) == words
        )


def test_share_of_a_processor_is_of_no_concern_on_a_gpu():
    record = cost_record(trial(), cpu_share=0.1)
    record = dataclasses.replace(record, environment={**record.environment, "device": "cuda"})
    assert frames([record]).cost.iloc[0]["disturbed"] == ""


def test_a_process_that_started_from_another_floor_says_so():
    usual = [cost_record(trial(depth=d), memory_floor_bytes=890 * 2**20) for d in (18, 34, 66)]
    odd = cost_record(trial(depth=130), memory_floor_bytes=749 * 2**20)
    found = frames([*usual, odd]).cost.set_index("depth")
    assert found.loc[130, "disturbed"] == ("unusual memory use before its net was built (749 MiB, usually 890 MiB)")
    assert found["memory_disturbed"].tolist() == [False, False, False, True]
    assert not found["times_disturbed"].any()
    assert (found.loc[[18, 34, 66], "disturbed"] == "").all()
    # Of two, none is the usual one; another data set is another floor.
    assert not frames([usual[0], odd]).cost["memory_disturbed"].any()
    other = cost_record(trial(depth=130, dataset="cifar10"), memory_floor_bytes=749 * 2**20)
    assert not frames([*usual, other]).cost["memory_disturbed"].any()


def test_least_traffic_and_rate_of_a_step_by_hand():
    record = cost_record(
        trial(depth=18, batch_size=10), step_times_s=[2.0], flops_per_image=100.0, parameters=5,
        saved_activation_bytes=70, ceilings={"copy_bytes_per_s": 600.0, "matmul_flops_per_s": 3000.0},
    )  # fmt: skip
    row = frames([record]).cost.iloc[0]
    # Saved for backward: written and read. Weights: 6 passes of 4 bytes, with momentum 8.
    assert row["least_bytes_per_step"] == 2 * 70 + 8 * 4 * 5
    assert row["flops_per_byte"] == pytest.approx(3 * 10 * 100 / 300)
    assert row["arithmetic_share"] == pytest.approx(3000 / 3000 / 2)
    assert row["bandwidth_share"] == pytest.approx(300 / 600 / 2)
