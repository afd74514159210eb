"""A long trial that is interrupted goes on from its last epoch, and ends as if nothing had happened."""

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.plan import study
from bench.plan.machine import Machine
from bench.plan.trial import Trial
from bench.runner import run_trial
from bench.store.record import TIMES, Record, Status, encode
from bench.sweep.worker import Stop
from bench.train import checkpoint

# Everything that draws random numbers or keeps state: augmentation, dropout, a partial last batch, probes by epoch.
TRIAL = study.parse(
    "s",
    {
        "architecture": "resnet-dropout", "depth": 18, "seed": 1, "purpose": "train", "dataset": "synthetic",
        "width": 2, "epochs": 4, "batch_size": 96, "drop_last": False, "augment": "crop-flip", "lr": 0.01,
        "test_each_epoch": True, "probes": ["gradient_norms", "branch_ratio", "lesions"],
    },
).trials[0]  # fmt: skip
STEPS_AN_EPOCH = 3


def silent(message: Mapping[str, Any]) -> None:
    """Tells nobody."""


def stop_at(step: int) -> Any:
    def progress(message: Mapping[str, Any]) -> None:
        if message.get("step") == step:
            raise Stop

    return progress


def run(path: Path, progress: Any = silent, trial: Trial = TRIAL) -> Record:
    return run_trial(trial, Machine(checkpoint=str(path), checkpoint_after_s=0.0), progress)


def result(record: Record) -> str:
    body = json.loads(encode(record))["body"]
    for time in TIMES:
        body["result"].pop(time)
    for row in body["epochs"]:
        row.pop("seconds")
    return json.dumps([body["status"], body["result"], body["epochs"], body["probes"]])


@pytest.fixture(scope="module")
def undisturbed() -> Record:
    record = run_trial(TRIAL, Machine(), silent)
    assert record.status == Status.OK, record.message
    return record


def test_a_trial_interrupted_twice_ends_with_the_same_result(undisturbed: Record, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "trial.pt"
    for step in (1 * STEPS_AN_EPOCH + 2, 3 * STEPS_AN_EPOCH + 1):
        with pytest.raises(Stop):
            run(path, stop_at(step))
    seen: list[int] = []
    record = run(path, lambda message: seen.append(message.get("step", 0)))
    assert result(record) == result(undisturbed)
    assert record.environment["checkpoint"] == "resumed after epoch 3"
    assert min(step for step in seen if step) == 3 * STEPS_AN_EPOCH + 1, "three of four epochs were not run again"


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(undisturbed: Record, tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "trial.pt"
    with pytest.raises(Stop):
        run(path, stop_at(3 * STEPS_AN_EPOCH + 1))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    record = run(path)
    assert record.environment["checkpoint"] == "resumed after epoch 2"
    assert result(record) == result(undisturbed)


def test_truncated_at_any_offset_it_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c" / "x.pt"
    checkpoint.save(path, {"trial": 1}, {"tensor": torch.arange(10)})
    data = path.read_bytes()
    loaded = checkpoint.load(path, {"trial": 1})
    assert loaded is not None
    assert loaded["tensor"].tolist() == list(range(10))
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        assert checkpoint.load(path, {"trial": 1}) is None


@pytest.mark.parametrize("name", ["code", "data", "torch", "device", "trial"])
def test_a_checkpoint_of_anything_else_is_not_used(name: str, tmp_path: Path) -> None:
    made = dict.fromkeys(("code", "data", "torch", "device", "trial"), "this")
    checkpoint.save(tmp_path / "c" / "x.pt", made, {})
    assert checkpoint.load(tmp_path / "c" / "x.pt", made) == {}
    assert checkpoint.load(tmp_path / "c" / "x.pt", {**made, name: "another"}) is None


class Hostile:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize("how", ["pickle", "torch", "signed"])
def test_a_hostile_checkpoint_is_not_executed(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "c" / "x.pt"
    path.parent.mkdir()
    if how == "pickle":
        path.write_bytes(pickle.dumps(Hostile()))
    elif how == "torch":
        torch.save(Hostile(), path)
    else:
        checkpoint.save(path, {}, {"x": Hostile()})
    assert checkpoint.load(path, {}) is None
    assert not (tmp_path / "executed").exists()


def test_a_full_disk_costs_the_checkpoint_and_not_the_trial(
    undisturbed: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "write", full)
    record = run(tmp_path / "c" / "x.pt")
    assert result(record) == result(undisturbed)
    assert record.environment["checkpoint"] == "no checkpoint could be kept: No space left on device"


def test_a_short_trial_keeps_none(tmp_path: Path) -> None:
    run_trial(TRIAL, Machine(checkpoint=str(tmp_path / "c" / "x.pt")), silent)
    assert list(tmp_path.iterdir()) == []
