"""A trial function without torch, to rehearse faults with: same supervisor, same records, milliseconds a trial.

Its numbers are a hash chain over (trial, step), so a lost, repeated or mixed-up step would show in the
record's bytes. `python -m bench.rehearsal` is the long fault matrix (`make faults`).
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.record import Record, Status
from bench.study import Trial


@dataclass(frozen=True)
class Machine:
    """How the rehearsal runs: as `machine.Machine`, and how long a step takes."""

    device: str = "cpu"
    threads: int = 1
    workers: int = 1
    step_s: float = 0.001
    code: str = "rehearsal-1"


def environments(machine: Machine, trials: Sequence[Trial]) -> dict[str, dict[str, Any]]:
    """What a record's environment will say, by data set."""
    common = {"device": "cpu", "device_name": "rehearsal", "code": machine.code, "torch": "none"}
    return {name: {**common, "data": hashlib.sha256(name.encode()).hexdigest()} for name in {t.dataset for t in trials}}


def run_trial(trial: Trial, machine: Machine, progress: Callable[[Mapping[str, Any]], None]) -> Record:
    """Ten steps an epoch; the loss is a number in 0..1 made from all steps so far."""
    begin = time.monotonic()
    chain = trial.digest.encode()
    epochs = []
    steps = 10 * max(1, trial.epochs)
    environment = environments(machine, [trial])[trial.dataset]
    for step in range(1, steps + 1):
        time.sleep(machine.step_s)
        chain = hashlib.sha256(chain + str(step).encode()).digest()
        loss = int.from_bytes(chain[:6], "big") / 2**48
        message = {"epoch": (step + 9) // 10, "step": step, "steps": steps, "loss": loss}
        progress(message)
        if message["loss"] != message["loss"]:
            result = {"diverged_step": step, "train_error": float("nan")}
            words = f"diverged at step {step}: loss is nan"
            return Record(trial, Status.DIVERGED, words, environment, result, epochs, seconds=time.monotonic() - begin)
        if step % 10 == 0:
            epochs.append({"epoch": step // 10, "train_loss": loss})
    result = {"train_error": loss, "steps": steps, "diverged_step": None}
    return Record(trial, Status.OK, "", environment, result, epochs, seconds=time.monotonic() - begin)
