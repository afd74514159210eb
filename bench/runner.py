"""run_trial: one trial to one record, whatever happens inside. A failure becomes a status."""

import datetime
import time
import traceback
from pathlib import Path
from typing import TypedDict, cast

from torch import nn

from bench.cost import measure as profiling
from bench.data import datasets as data
from bench.data.images import Images
from bench.plan import own
from bench.plan.errors import first_line
from bench.plan.machine import Machine
from bench.plan.trial import Trial
from bench.probes.table import PROBES
from bench.store.agree import agreed
from bench.store.parts import Cost, Environment, Epoch, Probes, Result
from bench.store.record import Record, Status
from bench.train import device
from bench.train.checkpoint import Keeper
from bench.train.execution import numerics
from bench.train.loop import Progress, evaluate, reestimate, train
from bench.train.network import network_of

# Of fewer images BatchNorm's statistics say little; a batch that does not fit even so is out of memory. Assumed.
LEAST_MICRO_BATCH = 8


class Measured(TypedDict, total=False):
    """The parts of a record that a trial itself makes."""

    result: Result
    epochs: list[Epoch]
    cost: Cost
    probes: Probes


def run_trial(trial: Trial, machine: Machine, progress: Progress) -> Record:
    """Runs one trial.

    Args:
        trial: What to run.
        machine: Where and how.
        progress: See `train` in bench/train/loop.py; what it raises on purpose (not an `Exception`) passes through.

    Returns:
        Its record: status "ok", "diverged", "out_of_memory" or "error". A batch that does not fit is run in
        micro-batches, which the record's environment says; the effective batch stays the trial's.
    """
    start, started = time.perf_counter(), datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    device.start_clean(machine.threads)
    environment: Environment = {**device.describe(machine.device), "workers": machine.workers, "execution": "eager"}
    if machine.seeds_at_once > 1:
        environment["seeds_at_once"] = machine.seeds_at_once
    shrunk: list[str] = []
    micro_batches = 1
    while True:
        status, message, parts = _attempt(trial, machine, environment, micro_batches, progress)
        smaller = trial.batch_size // (2 * micro_batches) >= LEAST_MICRO_BATCH
        # Where other seeds have the memory, the batch may fit alone; and their graphs know addresses.
        if status != Status.OUT_OF_MEMORY or not trial.trains or not smaller or machine.seeds_at_once > 1:
            break
        # The exception is gone by now, and with it what its traceback held on the device.
        device.reset_peak_memory(machine.device)
        own.forget()  # nor what the user's modules kept
        shrunk.append(f"{trial.batch_size // micro_batches} images: {message}")
        micro_batches *= 2
    if shrunk:
        environment["did_not_fit"] = shrunk
    return Record(trial, status, message, environment, started=started, seconds=time.perf_counter() - start, **parts)


def _attempt(
    trial: Trial, machine: Machine, environment: Environment, micro_batches: int, progress: Progress
) -> tuple[Status, str, Measured]:
    """One try at a trial: status, message, and the record's measured parts. Completes the environment."""
    failures = device.memory_failures(machine.device)
    try:
        stored = data.for_trial(trial, machine.data_root)
        environment["data"] = stored.digest
        if not trial.trains:
            cost, environment["execution"] = profiling.measure(trial, stored.to(machine.device), machine.device)
            device.check_threads(machine.threads)
            return Status.OK, "", {"cost": cost}
        parts = _train(trial, stored.to(machine.device), machine, environment, micro_batches, progress)
        device.check_threads(machine.threads)
    except Exception as error:  # whatever a trial does, the others go on
        starved = device.out_of_memory(error, machine.device, failures)
        return (Status.OUT_OF_MEMORY if starved else Status.ERROR), failure(error), {}
    diverged = parts["result"]["diverged_step"]
    if diverged is not None:
        return Status.DIVERGED, f"diverged at step {diverged}", parts
    return Status.OK, "", parts


def failure(error: BaseException) -> str:
    """One line: kind, message and place of an exception."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"
    line = f"{type(error).__name__}: {first_line(error)} ({where})"[:500]
    return "".join(c if c.isprintable() else "?" for c in line)  # no escapes, no lone surrogates


def _train(
    trial: Trial,
    stored: data.Data,
    machine: Machine,
    environment: Environment,
    micro_batches: int,
    progress: Progress,
) -> Measured:
    where = machine.device
    images = Images(stored, trial)
    network = network_of(trial, images)
    probes = [PROBES[name](network, images, trial) for name in trial.probes]
    # Probes compare small differences: IEEE arithmetic, whatever the training's.
    with numerics("fp32"):
        for probe in probes:
            probe.progress, probe.micro_batches = progress, micro_batches
            probe.at_start()

    def on_epoch(_: nn.Module, epoch: int) -> None:
        with numerics("fp32"):
            for probe in probes:
                probe.after_epoch(epoch)

    keeper = None
    if machine.checkpoint:
        fingerprint: dict[str, object] = {**agreed(environment), "reads": machine.reads}
        fingerprint |= {"trial": trial.to_json(), "micro_batches": micro_batches}
        keeper = Keeper(Path(machine.checkpoint), fingerprint, machine.checkpoint_after_s, probes)
    run = train(network, images, trial, where, progress, on_epoch if probes else None, keeper, micro_batches)
    nan = float("nan")
    result: Result = {
        "steps": run.steps, "steps_planned": run.steps_planned, "diverged_step": run.diverged_step,
        "train_seconds": run.seconds, "longest_gap_s": run.longest_gap_s, "cpu_share": run.cpu_share,
        "micro_batch": trial.batch_size // micro_batches,
        "parameters": sum(p.numel() for p in network.parameters()),
        "n_train": len(stored.train_labels), "n_test": len(stored.test_labels), "classes": stored.classes,
        "train_loss_running": nan, "train_error_running": nan,
        "train_loss": nan, "train_error": nan, "test_loss": nan, "test_error": nan,
    }  # fmt: skip
    if run.diverged_step is None:
        result["train_loss_running"] = run.epochs[-1]["train_loss"]
        result["train_error_running"] = run.epochs[-1]["train_error"]
        reestimate(network, images)
        train_set, test_set = (stored.train_images, stored.train_labels), (stored.test_images, stored.test_labels)
        result["train_loss"], result["train_error"] = evaluate(network, images, *train_set)
        result["test_loss"], result["test_error"] = evaluate(network, images, *test_set)
        with numerics("fp32"):
            for probe in probes:
                probe.at_end()
    # A row of `PROBES` is a key of `Probes`: a test compares them.
    found = cast(Probes, {name: probe.found for name, probe in zip(trial.probes, probes, strict=True)})
    environment["execution"], environment["execution_note"] = run.execution, run.execution_note
    if keeper and keeper.note:
        environment["checkpoint"] = keeper.note
    return {"result": result, "epochs": run.epochs, "probes": found}
