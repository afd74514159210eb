"""Records become frames: whole, half, broken, mixed, doubled, or none at all."""

import dataclasses
import math
import statistics
from pathlib import Path

import pandas as pd
import pytest
from made_up import cost_record, damage, frames, study_records, train_record, trial, write

from bench.plan.trial import architecture
from bench.store.record import Record, Status
from results import rows, tables

KINDS = {
    "trials": tables.TRIALS,
    "epochs": tables.EPOCHS,
    "cost": tables.COST,
    "cells": tables.CELLS,
    "operators": tables.OPERATORS,
    "probes": tables.PROBES,
}
NOTHING = ()
HALF = tuple(study_records(depths=[18, 258], seeds=[0], probes=("gradient_norms", "branch_ratio", "lesions")))
FAILURES = tuple(train_record(trial(depth=d), None) for d in (258, 514))


@pytest.mark.parametrize("records", [NOTHING, HALF, FAILURES], ids=["nothing", "half", "failures"])
def test_columns_and_dtypes_are_always_the_same(records):
    found = frames(records)
    for kind, columns in KINDS.items():
        table = getattr(found, kind)
        assert {name: str(dtype) for name, dtype in table.dtypes.items()} == columns


def test_every_scalar_field_of_a_trial_is_a_column():
    asked = trial("preact", 66, 2, lr=0.02, clip_norm=1.0, grow_to=(130, 258))
    row = frames([train_record(asked, 0.1)]).trials.iloc[0]
    for field in dataclasses.fields(asked):
        if field.name not in ("architecture", "purpose", "probes", "grow_to"):
            assert row[field.name] == getattr(asked, field.name), field.name
    assert (row["architecture"], row["residual"], row["grow_to"]) == ("preact", True, "130, 258")


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path):
    assert tables.load([tmp_path / "none"]).trials.empty


def test_damaged_files_are_listed_and_cost_nothing_else(tmp_path: Path):
    write(tmp_path, study_records(depths=[18], seeds=[0]))
    damage(tmp_path)
    found = tables.load([tmp_path])
    assert len(found.trials) == 3
    assert {name for name, _ in found.damaged} == {"empty.json", "cut.json", "other.json"}
    assert all(reason for _, reason in found.damaged)


def test_a_message_with_half_a_character_in_it_is_no_reason_to_lose_a_table():
    odd = dataclasses.replace(train_record(trial(), None, status=Status.ERROR), message="bo\udcffm")
    assert tables.from_records([(Path("odd.json"), odd)]).trials["message"].tolist() == ["bo?m"]


@pytest.mark.parametrize(
    "fields", [{"depth": "18"}, {"seed": 1.5}, {"lr": "fast"}, {"width": 2**70}, {"augment": 3}, {"depth": -5}]
)
def test_a_whole_record_that_makes_no_sense_is_set_aside(fields):
    """Its SHA-256 agrees; its fields are not what they should be."""
    good = train_record(trial(), 0.1)
    odd = dataclasses.replace(good, trial=dataclasses.replace(trial(seed=1), **fields))
    found = tables.from_records([(Path("good.json"), good), (Path("odd.json"), odd)])
    assert found.trials["path"].tolist() == ["good.json"]
    assert found.damaged[0][0] == "odd.json"
    assert next(iter(fields)) in found.damaged[0][1]


def test_numbers_that_are_none_become_nan():
    odd = dataclasses.replace(train_record(trial(), 0.1), epochs=[{"epoch": None, "train_loss": "low"}, 7])
    found = frames([odd])
    assert found.epochs["epoch"].tolist() == [1]
    assert found.epochs["train_loss"].isna().all()


def test_a_failed_trial_has_a_row_and_no_made_up_number():
    broken = train_record(trial(depth=34), 0.5, status=Status.OUT_OF_MEMORY, message="asked for 9 GB")
    found = frames([train_record(trial(depth=18), None), broken]).trials
    assert found["status"].tolist() == ["diverged", "out_of_memory"]
    assert found[["train_error", "test_error"]].isna().all(axis=None)
    assert found["message"].tolist()[1] == "asked for 9 GB"


def falling(fall: float, seed: int = 0) -> Record:
    """A net whose running error falls by so much an epoch, to 50 %."""
    made = train_record(trial(seed=seed), 0.5)
    last = len(made.epochs)
    rows = [{**row, "train_error": 0.5 + fall * (last - row["epoch"])} for row in made.epochs]
    return dataclasses.replace(made, epochs=rows)


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (train_record(trial(), 0.1), "converged"),
        (train_record(trial(), 0.1, unconverged=True), "not converged"),
        (train_record(trial(), None), "converged"),
        (train_record(trial(), 0.1, status=Status.TIMEOUT), "not converged"),
        (train_record(trial(epochs=1), 0.1), "not converged"),
        (train_record(trial(stop_at_train_error=0.1), 0.1, unconverged=True, steps=20), "converged"),
    ],
    ids=["level", "still falling", "diverged", "failed", "one epoch", "reached its goal"],
)
def test_convergence_of_a_single_net(record, state):
    assert frames([record]).cells["convergence"].item() == state


def test_a_cell_converges_by_the_mean_of_its_seeds():
    """One of three seeds may still fall a little; no trial may have broken off."""
    level = [train_record(trial(seed=s), 0.5) for s in (0, 1)]
    lively = falling(0.02, seed=2)
    assert frames([*level, lively]).cells["convergence"].item() == "converged"
    broken = train_record(trial(seed=2), 0.5, status=Status.ERROR)
    assert frames([*level, broken]).cells["convergence"].item() == "not converged"


def test_cells_count_failures_and_average_the_others():
    records = [train_record(trial(seed=s), e) for s, e in enumerate((0.10, 0.20, None))]
    cell = frames(records).cells.iloc[0]
    assert (cell["n"], cell["n_ok"], cell["n_diverged"], cell["n_failed"]) == (3, 2, 1, 1)
    assert cell["train_error_mean"] == pytest.approx(0.15)
    assert cell["train_error_low"] < 0.10
    assert cell["train_error_high"] > 0.20


def test_a_cell_of_one_seed_has_no_interval():
    cell = frames([train_record(trial(), 0.1)]).cells.iloc[0]
    assert cell["train_error_mean"] == pytest.approx(0.1)
    assert math.isnan(cell["train_error_low"])


def test_the_newest_of_two_records_of_a_trial_counts_and_the_conflict_is_told(tmp_path: Path):
    old, new = (train_record(trial(), e, started=f"2026-11-2{i}T00:00:00Z") for i, e in ((1, 0.9), (2, 0.1)))
    write(tmp_path / "a", [new])
    write(tmp_path / "b", [old])
    found = tables.load([tmp_path / "a", tmp_path / "b"])
    assert found.trials["train_error"].tolist() == [0.1]
    assert len(found.warnings) == 1
    assert "same trial" in found.warnings[0]


def test_a_newer_record_of_another_version_does_not_take_the_place_of_the_comparable_one(tmp_path: Path):
    most = [train_record(trial(seed=s), 0.1) for s in range(3)]
    again = train_record(trial(seed=2), 0.9, started="2026-12-01T00:00:00Z", environment={"code": "0ther"})
    write(tmp_path / "a", most)
    write(tmp_path / "b", [again])
    found = tables.load([tmp_path / "a", tmp_path / "b"])
    assert found.trials["train_error"].tolist() == [0.1, 0.1, 0.1]
    assert found.cells["n"].item() == 3
    assert any("same trial" in line for line in found.warnings)
    # The same trial twice is no larger lot.
    write(tmp_path / "c", [dataclasses.replace(r, environment={**r.environment, "code": "0ther"}) for r in most[:2]])
    write(tmp_path / "d", [dataclasses.replace(r, environment={**r.environment, "code": "0ther"}) for r in most[:2]])
    found = tables.load([tmp_path / name for name in "acd"])
    assert found.cells["n"].item() == 3


@pytest.mark.parametrize("other", [{"device": "cuda", "device_name": "H200"}, {"code": "0ther"}, {"torch": "2.11.0"}])
def test_records_of_another_machine_or_version_are_kept_apart(other):
    most = [train_record(trial(seed=s), 0.1) for s in range(3)]
    odd = train_record(trial(seed=3), 0.9, environment=other)
    found = frames([*most, odd])
    assert found.trials["comparable"].tolist() == [True, True, True, False]
    assert found.cells["n"].item() == 3
    assert all(value in found.warnings[0] for value in other.values())


def test_two_data_sets_in_one_study_are_no_mixture():
    a = train_record(trial(), 0.1, environment={"data": "one"})
    b = train_record(trial(dataset="random-labels:digits"), 0.1, environment={"data": "two"})
    found = frames([a, b])
    assert found.trials["comparable"].all()
    assert found.warnings == ()


def test_a_smaller_micro_batch_is_no_replicate():
    """BatchNorm then sees other batches."""
    found = frames([train_record(trial(), 0.1), train_record(trial(seed=1), 0.1, micro_batch=32)])
    assert found.trials["comparable"].tolist() == [True, False]
    assert "micro-batch of 32" in found.warnings[0]


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


def test_probes_become_one_number_a_row():
    asked = ("gradient_norms", "branch_ratio", "lesions")
    probes = frames(study_records(["resnet"], [18], [0], cost=False, probes=asked)).probes
    norms = probes[(probes["probe"] == "gradient_norms") & (probes["quantity"] == "norm")]
    assert norms["index"].tolist() == list(range(18))
    assert norms["name"].iloc[3] == "layer 3"
    ratio = probes[(probes["probe"] == "branch_ratio") & (probes["quantity"] == "ratio")]
    assert sorted(ratio["epoch"].unique()) == [0, 5]
    assert ratio["index"].nunique() == 8
    random = probes[probes["quantity"] == "random.errors"]
    assert sorted(random["index"].unique()) == [1, 2, 4]
    assert (probes["quantity"] == "by_epoch.effective_depth").sum() == 1


@pytest.mark.parametrize("key", ["response_std_by_block", "response_std"])
@pytest.mark.parametrize("plain", [True, False])
def test_responses_are_told_by_block_and_epoch(key, plain):
    """The key is a name of its own since; what older records hold under "response_std" is of the same form."""
    content = {"block": [0, 4], "epoch": [0, 1, 5], key: [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]}
    content |= {"skipped": "plain"} if plain else {"ratio": [[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]}
    found = dataclasses.replace(
        train_record(trial("plain" if plain else "resnet"), 0.1), probes={"branch_ratio": content}
    )
    probes = frames([found]).probes
    told = probes[probes["quantity"] == "response_std_by_block"]
    assert told[["name", "index", "epoch", "value"]].to_numpy().tolist() == [
        ["0", 0, 0.0, 1.0], ["4", 1, 0.0, 2.0], ["0", 0, 1.0, 3.0], ["4", 1, 1.0, 4.0], ["0", 0, 5.0, 5.0],
        ["4", 1, 5.0, 6.0],
    ]  # fmt: skip
    assert "response_std" not in set(probes["quantity"])
    assert (probes["quantity"] == "ratio").sum() == (0 if plain else 6)
    assert (probes["quantity"] == "skipped").sum() == (1 if plain else 0)


def test_frames_are_not_shared_with_what_is_cut_from_them():
    """pandas 3 copies on write: a judge that assigns to its part leaves the table alone."""
    found = frames(HALF)
    part = found.trials[found.trials["depth"] == 18]
    part = part.assign(train_error=9.0)
    assert (found.trials["train_error"].dropna() < 1).all()
    assert isinstance(found.trials["status"].dtype, pd.StringDtype)


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
    assert found.loc[130, "disturbed"] == ("odd floor of memory (749 MiB before its net was built, usually 890 MiB)")
    assert found["memory_disturbed"].tolist() == [False, False, False, True]
    assert not found["times_disturbed"].any()
    assert (found.loc[[18, 34, 66], "disturbed"] == "").all()
    # Of two, none is the usual one; another data set is another floor.
    assert not frames([usual[0], odd]).cost["memory_disturbed"].any()
    other = cost_record(trial(depth=130, dataset="cifar10"), memory_floor_bytes=749 * 2**20)
    assert not frames([*usual, other]).cost["memory_disturbed"].any()


def test_the_time_of_a_cell_is_of_the_seeds_that_its_error_is_of():
    fine = [train_record(trial(seed=s), 0.1, train_seconds=t) for s, t in ((0, 100.0), (1, 102.0))]
    early = train_record(trial(seed=2), None, train_seconds=1.0)
    assert frames([*fine, early]).cells["train_seconds_mean"].item() == pytest.approx(101.0)
    assert frames([early]).cells["train_seconds_mean"].item() == pytest.approx(1.0)


def test_seeds_that_agree_to_the_last_image_spread_as_rounding_does():
    """What the judges take them for: the interval drawn is not a dash where they had a bound."""
    cell = frames([train_record(trial(seed=s), 0.5, 0.5, n_train=1000, n_test=100) for s in range(3)]).cells.iloc[0]
    half = 4.302653 * 0.001 / math.sqrt(12) / math.sqrt(3)
    assert cell["train_error_high"] - 0.5 == pytest.approx(half, rel=1e-5)
    assert 0.5 - cell["train_error_low"] == pytest.approx(half, rel=1e-5)
    assert cell["test_error_high"] - 0.5 > 0.09  # the sampling of 100 images
    assert math.isnan(cell["train_loss_low"])


def test_a_training_that_stood_still_keeps_its_result_and_loses_its_time():
    calm, stopped = (train_record(trial(depth=66, seed=s), 0.1, **f) for s, f in (
        (0, {"longest_gap_s": 0.08, "cpu_share": 0.99}), (1, {"longest_gap_s": 10.2, "cpu_share": 0.99})
    ))  # fmt: skip
    found = frames([calm, stopped]).trials.set_index("seed")
    assert found.loc[0, "disturbed"] == ""
    assert found.loc[1, "disturbed"].startswith("stalled: 10.2 s without a step")
    assert found["train_error"].tolist() == [0.1, 0.1]


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


def own(factory, code="", error=0.1, seeds=(0, 1, 2)):
    row = dataclasses.replace(architecture(factory), code=code)
    return [train_record(dataclasses.replace(trial(seed=s), architecture=row), error + 0.001 * s) for s in seeds]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("good:block", "1"), ("dead:block", "2")),
        (("good:block", "1"), ("dead:block", "1")),
        (("a.good:block", ""), ("b.good:block", "")),
        (("block:block", "1"), ("other:block", "1")),
        # One function, edited in between.
        (("good:block", "1"), ("good:block", "2")),
    ],
)
def test_two_blocks_of_one_name_are_two_architectures(one, other):
    found = frames([*own(*one, error=0.0), *own(*other, error=0.8)])
    assert found.cells["n"].tolist() == [3, 3]
    assert sorted(found.cells["train_error_mean"].round(1)) == [0.0, 0.8]
    assert found.trials["architecture"].nunique() == found.trials["label"].nunique() == 2


@pytest.mark.parametrize("change", [{"norm": "none"}, {"activation": "tanh"}, {"zero_last": True}, {"conv_bias": True}])
def test_a_row_of_the_suites_that_was_another_is_another_architecture(change):
    """Records of another version of the suite: the name is the same, the net is not."""
    now, before = study_records(["resnet"], [18], cost=False), study_records(["resnet"], [18], cost=False)
    for i, found in enumerate(before):
        row = dataclasses.replace(found.trial.architecture, **change)
        before[i] = dataclasses.replace(found, trial=dataclasses.replace(found.trial, architecture=row))
    names = frames([*now, *before]).trials["architecture"]
    assert names.nunique() == 2
    assert (names == "resnet").sum() == len(now)  # judges and figures find the suite's own


def test_another_label_is_no_other_architecture():
    row = dataclasses.replace(trial().architecture, label="reworded")
    found = frames(
        [train_record(trial(), 0.1), train_record(dataclasses.replace(trial(seed=1), architecture=row), 0.1)]
    )
    assert set(found.trials["architecture"]) == {"resnet"}
    assert found.cells["n"].tolist() == [2]


@pytest.mark.parametrize("odd", [10**18, 1e30, math.inf, -5, "x", None, True])
def test_an_odd_number_of_an_epoch_is_its_place(odd):
    made = train_record(trial(), 0.1)
    made.epochs[1]["epoch"] = odd
    assert frames([made]).epochs["epoch"].tolist() == list(range(1, len(made.epochs) + 1))


def test_an_interval_ends_where_its_quantity_does() -> None:
    errors = (0.02, 0.9, 0.9)
    records = [
        train_record(trial("plain", 66, s), error, train_loss=loss)
        for s, (error, loss) in enumerate(zip(errors, (0.1, 2.3, 4e7), strict=True))
    ]
    (cell,) = frames(records).cells.to_dict("records")
    assert cell["train_loss_low"] == 0
    assert cell["train_loss_high"] > 4e7
    assert (cell["train_error_low"], cell["train_error_high"]) == (0, 1)
    assert cell["train_error_mean"] == pytest.approx(sum(errors) / 3)
