"""A long trial that is interrupted goes on from its last epoch, and ends as if nothing had happened."""

import json
import pickle
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_own import folder, own

from bench.plan import study
from bench.plan.machine import Machine
from bench.plan.trial import Trial
from bench.runner import run_trial
from bench.store.record import TIMES, Record, Status, encode
from bench.sweep import worker
from bench.sweep.worker import Job, Stop
from bench.train import checkpoint

__all__ = ["folder"]  # pytest finds the fixture here
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


# What a user's own block keeps from step to step, as its `__init__` and its `forward` have it.
KEEPS = {
    "a count": ("self.n = 0", "self.n += 1\n        y = y * min(1, self.n / 7)"),
    "a mean": ("self.m = None", "self.m = y.mean() if self.m is None else (self.m + y.mean()).detach() / 2\n"
               "        y = y - self.m"),
    "counts of a kind": ("self.n = {'all': [0, 0.5]}", "self.n['all'][0] += 1\n        y = y / self.n['all'][0]"),
    "a count of its source's": ("", "global N; N += 1\n        y = y / N"),
    "Python's random numbers": ("", "y = y * random.random()"),
    "NumPy's random numbers": ("", "y = y * float(np.random.rand())"),
    "torch's random numbers": ("", "y = y * float(torch.rand(()))"),
    "a second name": ("self.w = [self.c.weight]; self.by = {'c': self.c}", "y = y * self.w[0].mean()"),
}  # fmt: skip
# Likewise, and it cannot be saved.
HIDES = {
    "a queue": (
        "self.q = collections.deque([1.0], 3)",
        "self.q.append(1 + float(y.detach().mean()) / 9); y = y * self.q[0]",
    ),
    "an own generator": ("self.g = random.Random(1)", "y = y * self.g.random()"),
    "an array": ("self.a = np.ones(2)", "self.a += 1; y = y / float(self.a[0])"),
    "a queue of its source's": ("", "Q.append(len(Q)); y = y / len(Q)"),
}


def own_trial(folder: Path, init: str, forward: str) -> Trial:
    text = (
        "import collections\nN, Q = 0, collections.deque()\nclass Keeps(Base):\n    def __init__(self, *a):\n"
        f"        super().__init__(*a)\n        {init or 'pass'}\n    def trains(self, y):\n        {forward}\n"
        "        return y\n    def forward(self, x):\n        y = super().forward(x)\n"
        "        return self.trains(y) if self.training else y\n"
    )
    return replace(own(folder, text, "Keeps"), epochs=3)


@pytest.mark.parametrize("kind", [*KEEPS, *HIDES])
def test_what_a_users_block_keeps_survives_or_no_checkpoint_is_kept(kind: str, folder: Path) -> None:
    trial, path = own_trial(folder, *{**KEEPS, **HIDES}[kind]), folder / "c" / "x.pt"

    def run_own(progress: Any = silent) -> Record:
        machine = Machine(checkpoint=str(path), checkpoint_after_s=0.0)
        return worker.run(Job(1, trial, machine, "bench.runner:run_trial"), progress)

    undisturbed = run_own()
    assert undisturbed.status == Status.OK, undisturbed.message
    for left in path.parent.glob("*"):
        left.unlink()
    steps = undisturbed.result["steps"] // 3
    with pytest.raises(Stop):
        run_own(stop_at(2 * steps + 1))
    again = run_own()
    assert result(again) == result(undisturbed)
    assert (again.environment.get("checkpoint") == "resumed after epoch 2") == (kind in KEEPS)


def test_a_checkpoint_of_a_block_that_read_another_file_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "c" / "x.pt"
    with pytest.raises(Stop):
        run(path, stop_at(1 * STEPS_AN_EPOCH + 2))
    machine = Machine(checkpoint=str(path), checkpoint_after_s=0.0, reads="another")
    assert "resumed" not in run_trial(TRIAL, machine, silent).environment.get("checkpoint", "")


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
