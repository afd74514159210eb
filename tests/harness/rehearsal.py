"""A trial function without torch, and small sweeps of it, to rehearse faults with: same supervisor, same records.

Its numbers are a hash chain over (trial, step), so a lost, repeated or mixed-up step would show in the
record's bytes. `chaos.py` and the tests start `python -m tests.harness.rehearsal FOLDER` and do it harm.
"""

import argparse
import dataclasses
import hashlib
import json
import math
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.plan import study
from bench.plan.machine import Machine
from bench.plan.study import Study
from bench.plan.trial import Trial
from bench.store import record
from bench.store.record import Record, Status
from bench.sweep import display as progress
from bench.sweep import run as sweep
from tests.harness import faults

STEPS_AN_EPOCH = 10


@dataclass(frozen=True)
class RehearsalMachine(Machine):
    """And how long a step takes, and what stands for the code's version."""

    step_s: float = 0.001
    code: str = "rehearsal-1"


def environments(machine: RehearsalMachine, trials: Sequence[Trial]) -> dict[str, dict[str, Any]]:
    """What a record's environment will say, by data set."""
    common = {"device": "cpu", "device_name": "rehearsal", "code": machine.code, "torch": "none"}
    return {t.dataset: {**common, "data": hashlib.sha256(t.dataset.encode()).hexdigest()} for t in trials}


def run_trial(trial: Trial, machine: RehearsalMachine, tell: Callable[[Mapping[str, Any]], None]) -> Record:
    """Ten steps an epoch; the loss is a number in 0..1 made from all steps so far."""
    begin = time.monotonic()
    environment = environments(machine, [trial])[trial.dataset]
    epochs: list[dict[str, Any]] = []
    chain = trial.digest.encode()
    steps = STEPS_AN_EPOCH * max(1, trial.epochs)
    for step in range(1, steps + 1):
        time.sleep(machine.step_s)
        chain = hashlib.sha256(chain + str(step).encode()).digest()
        loss = int.from_bytes(chain[:6], "big") / 2**48
        epoch = -(-step // STEPS_AN_EPOCH)
        message: dict[str, Any] = {"epoch": epoch, "step": step, "steps": steps, "loss": loss}
        tell(message)
        if not math.isfinite(message["loss"]):
            result: dict[str, Any] = {"diverged_step": step, "train_error": math.nan}
            return Record(trial, Status.DIVERGED, f"diverged at step {step}", environment, result, epochs)
        if step % STEPS_AN_EPOCH == 0:
            epochs.append({"epoch": epoch, "train_loss": loss})
    result = {"diverged_step": None, "train_error": loss, "steps": steps}
    return Record(trial, Status.OK, "", environment, result, epochs, seconds=time.monotonic() - begin)


def small_study(seeds: int = 2) -> Study:
    """Two architectures, two depths and some seeds, and their costs."""
    table = {"architecture": ["plain", "resnet"], "depth": [18, 34], "epochs": 2}
    return study.parse("rehearsal", table, seeds=list(range(seeds)))


def options(folder: Path, **changes: Any) -> sweep.Options:
    """Options of a sweep over the rehearsal's trial function."""
    machine = RehearsalMachine(threads=1)
    found = sweep.Options(
        folder, machine, function="tests.harness.rehearsal:run_trial", probe="tests.harness.rehearsal:environments"
    )
    return dataclasses.replace(found, **changes)


def table(folder: Path) -> dict[str, str]:
    """What a folder's records say, by trial, without times and hosts: equal tables are the same results."""
    rows = {}
    for _, found in record.load(folder / "rehearsal")[0]:
        content = json.loads(record.encode(dataclasses.replace(found, seconds=0.0, started="")))["body"]
        content["environment"] = {k: content["environment"].get(k) for k in ("device", "code", "data", "torch")}
        rows[progress.Display().name(found.trial)] = json.dumps(content, sort_keys=True)
    return rows


def main() -> int:
    """Runs the small study in a folder, as `bench run` would."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--executor", default="process")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--step", type=float, default=0.001, help="seconds that a step takes")
    parser.add_argument("--time-limit", type=float, default=0.0)
    parser.add_argument("--trial-time-limit", type=float, default=0.0)
    parser.add_argument("--inject", action="append", default=[])
    parser.add_argument("--file-limit", type=int, default=0, help="largest file that this process may write, in bytes")
    asked = parser.parse_args()
    if asked.file_limit:  # a disk that is full
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked.file_limit, asked.file_limit))
    found = options(
        asked.folder,
        executor=asked.executor,
        workers=asked.workers,
        machine=RehearsalMachine(step_s=asked.step),
        time_limit_s=asked.time_limit,
        trial_time_limit_s=asked.trial_time_limit,
        faults=tuple(map(faults.parse, asked.inject)),
    )
    display = progress.Plain()
    try:
        summary = sweep.run(small_study(asked.seeds), found, display)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return sweep.EXIT_REFUSED
    display.say(f"end: {summary.reason or 'complete'}")
    return summary.code


if __name__ == "__main__":
    # Under its real name, so that a Machine is the same class here and in the workers.
    from tests.harness.rehearsal import main as real_main

    sys.exit(real_main())
