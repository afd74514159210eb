"""A batch that does not fit is run in parts, the update stays that of the whole batch, and the record says so."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from bench.plan import study
from bench.plan.machine import Machine
from bench.plan.trial import Trial
from bench.runner import LEAST_MICRO_BATCH, run_trial
from bench.store.record import Record, Status


def trial(architecture: str, **changes: Any) -> Trial:
    table = {"architecture": architecture, "depth": 18, "seed": 0, "purpose": "train", "dataset": "synthetic",
             "width": 2, "epochs": 2, "batch_size": 64, "lr": 0.01, "drop_last": False,
             "train_examples": 150}  # fmt: skip
    return study.parse("s", {**table, **changes}).trials[0]


def run(trial: Trial, fits: int = 10**6, error: type[BaseException] = torch.OutOfMemoryError) -> Record:
    """Runs a trial on a device where only micro-batches of so many images fit."""
    attempts = 0

    def progress(message: Mapping[str, Any]) -> None:
        nonlocal attempts
        if message["step"] == 1:
            attempts += 1
        if message["step"] == 2 and trial.batch_size >> (attempts - 1) > fits:
            raise error("CUDA out of memory. Tried to allocate 64.00 GiB.")

    return run_trial(trial, Machine(), progress)


@pytest.mark.parametrize("fits", [32, 16, 8])
def test_without_batchnorm_the_result_is_that_of_the_whole_batch(fits: int) -> None:
    """plain-orthogonal has none, so only rounding may differ; the last batch of 22 images is split unevenly."""
    whole, parts = run(trial("plain-orthogonal")), run(trial("plain-orthogonal"), fits)
    assert (whole.status, parts.status) == (Status.OK, Status.OK)
    assert parts.result["micro_batch"] == fits
    assert [row["train_loss"] for row in parts.epochs] == pytest.approx(
        [row["train_loss"] for row in whole.epochs], 1e-4
    )
    assert parts.result["test_loss"] == pytest.approx(whole.result["test_loss"], 1e-3)


def test_every_attempt_is_in_the_record() -> None:
    record = run(trial("resnet"), 16)
    assert (record.status, record.result["micro_batch"], record.result["steps"]) == (Status.OK, 16, 6)
    first, second = record.environment["did_not_fit"]
    assert first.startswith("64 images: ")
    assert second.startswith("32 images: ")
    assert "64.00 GiB" in first


def test_a_whole_batch_that_fits_says_so_too() -> None:
    record = run(trial("resnet"))
    assert record.result["micro_batch"] == 64
    assert "did_not_fit" not in record.environment


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, MemoryError])
def test_at_the_least_micro_batch_it_is_out_of_memory_with_the_bytes_asked(error: type[BaseException]) -> None:
    record = run(trial("resnet"), 0, error)
    assert record.status == Status.OUT_OF_MEMORY
    assert record.environment["did_not_fit"][-1].startswith(f"{2 * LEAST_MICRO_BATCH} images: ")
    assert "64.00 GiB" in record.message
    assert record.result == {}
