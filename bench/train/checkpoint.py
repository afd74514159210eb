"""Epoch checkpoints: how a trial of hours survives its worker's death. Short trials keep none; they are run again.

A checkpoint is one file, written atomically: a line of JSON (fingerprint, SHA-256), then what `torch.save` made
of tensors and plain data. It is read only if both agree, and then with `weights_only`: nothing in it is
executed. The sweep says where it may lie and removes it once the trial has its record.
"""

import hashlib
import io
import json
import os
import pickle
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from bench.store.parts import Epoch
from bench.store.record import write
from bench.train.attributes import Attributes, Kept, plain
from bench.train.device import put_back_random_state, random_state
from bench.train.step import Step

# Epochs of a second each need not be kept one by one.
BETWEEN_S = 30.0


class Snapshot(TypedDict):
    """Everything that the next step depends on, but for what a user's own code keeps for itself."""

    tensors: list[Tensor]
    order: Tensor
    generators: list[Tensor]
    host: Tensor
    device: Tensor | None
    python: tuple[Any, ...]
    numpy: list[Any]
    done: int
    seen: int


class State(TypedDict):
    """What a checkpoint holds: the step, what a user's own code keeps, what the trial has found and spent so far."""

    step: Snapshot
    kept: Kept
    epochs: list[Epoch]
    seconds: float
    probes: list[dict[str, object]]


def save(path: Path, fingerprint: Mapping[str, object], state: State) -> None:
    """Writes a checkpoint; the one before it stays beside it as NAME.1 until the next.

    Raises:
        OSError: The disk is full, say; what was there before is whole.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getvalue()
    head = {"fingerprint": json.dumps(fingerprint, sort_keys=True), "sha256": hashlib.sha256(payload).hexdigest()}
    path.parent.mkdir(exist_ok=True)
    if path.exists():
        os.replace(path, older(path))
    write(path, json.dumps(head).encode() + b"\n" + payload)


def load(path: Path, fingerprint: Mapping[str, object]) -> State | None:
    """The newest whole checkpoint of just this trial, code, data, torch and device; else None."""
    for candidate in (path, older(path)):
        try:
            head, _, payload = candidate.read_bytes().partition(b"\n")
            said = json.loads(head)
            if said["fingerprint"] != json.dumps(fingerprint, sort_keys=True):
                continue
            if said["sha256"] != hashlib.sha256(payload).hexdigest():
                continue
            state: State = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError):
            continue
        return state
    return None


def older(path: Path) -> Path:
    """Where the checkpoint before the last lies."""
    return path.with_name(path.name + ".1")


def snapshot(step: Step) -> Snapshot:
    """Tensors, random states (a user's own block may draw from Python's and NumPy's), and the position in the data."""
    kind, numbers, *rest = np.random.get_state()
    return {
        "tensors": [tensor.detach().cpu().clone() for tensor in step.state()],
        "order": step.order.cpu(),
        "generators": [generator.get_state() for generator in (step.order_generator, step.augment_generator)],
        "host": torch.get_rng_state(),
        "device": random_state(step.device),
        "python": random.getstate(),
        "numpy": [kind, np.asarray(numbers).tolist(), *rest],
        "done": step.done,
        "seen": step.seen,
    }


@torch.no_grad()
def put_back(step: Step, saved: Snapshot) -> None:
    """The inverse of `snapshot`; in place, since a graph knows its tensors by their addresses."""
    for tensor, value in zip(step.state(), saved["tensors"], strict=True):
        tensor.copy_(value)
    step.order.copy_(saved["order"])
    for generator, state in zip((step.order_generator, step.augment_generator), saved["generators"], strict=True):
        generator.set_state(state)
    torch.set_rng_state(saved["host"])
    put_back_random_state(saved["device"])
    random.setstate(saved["python"])
    np.random.set_state(tuple(saved["numpy"]))
    step.done, step.seen = saved["done"], saved["seen"]


class Keeper:
    """Keeps a trial's checkpoints, if it turns out to be long.

    Args:
        path: Where; a file name that is this trial's alone.
        fingerprint: What must be the same to go on from it.
        after_s: Keep one only if the trial, at the pace of its epochs so far, takes longer than this.
        probes: Objects whose plain attributes belong to the trial's state.

    Attributes:
        note: What went wrong with saving, for the record; a trial does not fail for it.
    """

    def __init__(
        self, path: Path, fingerprint: Mapping[str, object], after_s: float, probes: Sequence[Any] = ()
    ) -> None:
        self._path, self._fingerprint, self._after_s, self._probes = path, fingerprint, after_s, probes
        self._saved = time.monotonic()
        self._own: Attributes | None = None
        self.note = ""

    def resume(self, step: Step) -> tuple[list[Epoch], float]:
        """Puts the last checkpoint into the step and the probes; before any step.

        Returns:
            The rows of the epochs that are done (none: there is no checkpoint), and the seconds they took.
        """
        if step.trial.architecture.factory:
            self._own = Attributes(step.network)
        state = load(self._path, self._fingerprint)
        if state is None:
            return [], 0.0
        put_back(step, state["step"])
        if self._own:
            self._own.put_back(state["kept"])
        for probe, attributes in zip(self._probes, state["probes"], strict=True):
            vars(probe).update(attributes)
        epochs = state["epochs"]
        self.note = f"resumed after epoch {len(epochs)}"
        return epochs, state["seconds"]

    def after_epoch(self, step: Step, epochs: list[Epoch], planned: int, seconds: float) -> None:
        """Saves, when the trial is a long one and the last checkpoint some time ago.

        Args:
            step: Between two epochs.
            epochs: Rows so far.
            planned: Epochs in all.
            seconds: Spent so far.
        """
        long = seconds / len(epochs) * planned >= self._after_s
        if not long or time.monotonic() - self._saved < min(BETWEEN_S, self._after_s):
            return
        if self._own and (what := self._own.changed()):
            self.note = f"no checkpoint could be kept: {what} cannot be saved"
            return
        attributes = [{k: v for k, v in vars(probe).items() if plain(v)} for probe in self._probes]
        kept = self._own.read() if self._own else {}
        state: State = {
            "step": snapshot(step), "kept": kept, "epochs": epochs, "seconds": seconds, "probes": attributes,
        }  # fmt: skip
        try:
            save(self._path, self._fingerprint, state)
        except OSError as error:
            self.note = f"no checkpoint could be kept: {error.strerror}"
        self._saved = time.monotonic()
