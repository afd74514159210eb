"""Records become frames: whole, half, broken, mixed, doubled, or none at all."""

import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest
from made_up import damage, frames, study_records, train_record, trial, write

from bench.store.record import Record, Status, encode
from results import tables

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
    "fields",
    [
        {"depth": "18"}, {"seed": 1.5}, {"lr": "fast"}, {"width": 2**70}, {"augment": 3}, {"depth": -5},
        {"width": None}, {"dataset": None}, {"drop_last": None},
    ],
)  # fmt: skip
def test_a_whole_record_that_makes_no_sense_is_set_aside(fields, tmp_path):
    """Its SHA-256 agrees; its fields are not what they should be."""
    good = train_record(trial(), 0.1)
    odd = dataclasses.replace(good, trial=dataclasses.replace(trial(seed=1), **fields))
    for name, each in (("good.json", good), ("odd.json", odd)):
        (tmp_path / name).write_bytes(encode(each))
    found = tables.load([tmp_path])
    assert found.trials["path"].tolist() == ["good.json"]
    assert found.damaged[0][0] == "odd.json"
    said = found.damaged[0][1]
    assert next(iter(fields)) in said or said == "holds a whole number of more than 64 bits"


@pytest.mark.parametrize("norms", [0.5, None, "much", {"a": 1}])
def test_a_probe_of_another_form_costs_nothing_else(norms):
    odd = dataclasses.replace(train_record(trial(), 0.1), probes={"gradient_norms": {"layers": ["a"], "norms": norms}})
    found = tables.from_records([(Path("odd.json"), odd)])
    assert (len(found.trials), len(found.probes)) == (1, 0)


@pytest.mark.parametrize("device", [["cpu"], None, 7, {"a": 1}])
def test_a_device_that_is_no_name_costs_nothing_else(device):
    good = train_record(trial(), 0.1)
    odd = dataclasses.replace(good, environment={**good.environment, "device": device})
    assert tables.from_records([(Path("odd.json"), odd)]).trials["device"].tolist() == [""]


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
