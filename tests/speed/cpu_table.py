"""The CPU rows of the table of targets, each a ratio from one interleaved run (`python -m tests.speed.cpu_table`).

Rows: a whole epoch on 32x32 images, the same as users start it, one net compiled and on all cores, the digits ladder
on all cores, and what the harness adds to a trial. Wall times mean something on a quiet machine only: CPU times of one
thread stand beside them, and the load is printed.
"""

import argparse
import dataclasses
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from bench.data import datasets
from bench.data.datasets import Data
from bench.data.images import Images
from bench.plan.machine import Machine, usable_cores
from bench.plan.study import Study
from bench.plan.trial import Trial
from bench.store.record import Record, Status
from bench.sweep import run as sweep
from bench.sweep.executor import Settings
from bench.sweep.process import Process
from bench.sweep.worker import Job
from bench.train import device as seam
from bench.train.execution import Execution
from bench.train.loop import train
from bench.train.network import network_of
from bench.train.step import Step
from models.spec import ARCHITECTURES
from tests.speed.reference import Reference, interleaved, threads

LADDER = tuple((name, depth) for depth in (130, 66, 34, 18) for name in ("plain", "preact"))
# At least and aim of a whole epoch, a thread per core on both sides.
ON_ALL = {"bf16": (2.2, 3.0), "fp32": (1.3, 1.6)}
Row = dict[str, Any]


def main() -> None:
    """Measures and prints; `--rounds` more samples, `--out` a JSON file."""
    parser = argparse.ArgumentParser(prog="python -m tests.speed.cpu_table", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/out/bench/cpu.json"))
    parser.add_argument(
        "--rehearse", action="store_true", help="tiny networks, seconds in all; the ratios mean nothing"
    )
    measures = {measure.__name__: measure for measure in (epochs_32, epochs_as_started, one_net, ladder, harness)}
    parser.add_argument("--measures", nargs="+", choices=measures, default=list(measures), help="only these")
    parser.add_argument("--busy", action="store_true", help="other work runs here: CPU times only, no wall times")
    options = parser.parse_args()
    seam.start_clean(1)
    rows: list[Row] = []
    for name in options.measures:
        for row in measures[name](options):
            rows.append(row)
            print(line(row), flush=True)
    found = {**seam.describe("cpu"), "load": os.getloadavg(), "rehearsal": options.rehearse, "rows": rows}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{found['device_name']}, torch {found['torch']}, load {found['load'][0]:.1f}; saved: {options.out}")


def line(row: Row) -> str:
    """A row as text: what, ratio or milliseconds, target."""
    digits = "2g" if 0 < abs(row["value"]) < 1 else "1f"  # a gap of 0.002 % is not none
    value = f"{row['value']:.2f}x" if row["unit"] == "ratio" else f"{row['value']:.{digits}} {row['unit']}"
    target = f"   at least {row['at_least']}, aim {row['aim']}" if row["aim"] else ""
    return f"{row['what']:<88} {value:>10}{target}"


def ratio(what: str, reference: list[float], ours: list[float], target: tuple[float, float], **more: Any) -> Row:
    """The ratio of two medians, with the samples behind it."""
    value = statistics.median(reference) / statistics.median(ours)
    return {"what": what, "value": value, "unit": "ratio", "at_least": target[0], "aim": target[1],
            "reference_s": reference, "ours_s": ours, **more}  # fmt: skip


def pictures(n: int, side: int, classes: int = 10) -> Data:
    """Random colour images: speed does not depend on what they show."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (n, 3, side, side), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, classes, (n,), generator=generator)
    return Data(images, labels, images[:classes], labels[:classes], classes, 255)


def precisions() -> tuple[str, ...]:
    """Where a processor has no kernels for bf16, an epoch in it takes over ten times as long as in fp32: left out."""
    return ("bf16", "fp32") if torch.ops.mkldnn._is_mkldnn_bf16_supported() else ("fp32",)


def epochs_32(options: argparse.Namespace) -> Iterator[Row]:
    """A whole epoch of 32x32 colour images, width 16, crops and flips, against the reference loop."""
    shallow, stored = _trial_32(20, "fp32", options.rehearse)
    for fp32 in (shallow, dataclasses.replace(shallow, depth=56)):
        calls: dict[str, Callable[[], object]] = {"reference": Reference(fp32, stored, "cpu").epoch}
        for precision in precisions():
            calls[precision] = _epoch(dataclasses.replace(fp32, precision=precision), stored)
        on_all = {f"{name} on all": _on_all(call) for name, call in calls.items()}
        cpu = interleaved(calls, options.rounds, "cpu", time.process_time) if fp32 is shallow else {}
        alone = calls if fp32 is shallow else {}
        wall = {} if options.busy else interleaved({**alone, **on_all}, options.rounds, "cpu")
        for precision in precisions():
            what = _epoch_of(fp32, precision)
            if cpu:
                yield ratio(what + "CPU time, one thread each", cpu["reference"], cpu[precision], (2.0, 2.5))
            if precision in wall:
                one = wall["reference on all"], wall[precision]
                yield ratio(what + "wall, 1 thread against all", *one, (2.0, 2.5))
            if wall:
                both = wall["reference on all"], wall[f"{precision} on all"]
                yield ratio(what + "wall, all threads each", *both, ON_ALL[precision])


def epochs_as_started(options: argparse.Namespace) -> Iterator[Row]:
    """The same epochs, each side as a user starts it: ours in a sweep's worker, the reference loop in this process.

    A worker sets how memory is allocated before Python starts (`MALLOC_SETTINGS` in bench/sweep/supervisor.py).
    """
    if options.busy:
        return
    for depth in (20, 56):
        fp32, stored = _trial_32(depth, "fp32", options.rehearse)
        loop = _on_all(Reference(fp32, stored, "cpu").epoch)
        executor = Process(Settings(1, usable_cores(), 0.0, lambda *_: None, lambda: False))
        try:
            ours = partial(executor.call, "tests.speed.cpu_table:epoch_here", depth)
            calls = {precision: partial(ours, precision, options.rehearse) for precision in precisions()}
            wall = interleaved({"reference": loop, **calls}, 2 * options.rounds, "cpu")
        finally:
            executor.close()
        for precision in precisions():
            what = _epoch_of(fp32, precision) + "wall, all threads each, ours in a worker"
            yield ratio(what, wall["reference"], wall[precision], ON_ALL[precision])


def epoch_here(depth: int, precision: str, rehearse: bool) -> None:
    """Trains one of those epochs in this process, on all cores."""
    seam.start_clean(usable_cores())
    trial, stored = _trial_32(depth, precision, rehearse)
    _epoch(trial, stored)()


def _epoch_of(trial: Trial, precision: str) -> str:
    words = precision if precision == "bf16" else "fp32 (stated apart)"
    return f"epoch 32x32, width {trial.width}, depth {trial.depth}, {words}: "


def _trial_32(depth: int, precision: str, rehearse: bool) -> tuple[Trial, Data]:
    n, side, width, batch = (32, 8, 2, 16) if rehearse else (640, 32, 16, 128)
    trial = Trial("table", ARCHITECTURES["resnet"], depth, 0, layout="cifar", width=width, batch_size=batch, lr=0.01,
                  epochs=1, schedule="constant", precision=precision, augment="crop-flip")  # fmt: skip
    return trial, pictures(n, side)


def _on_all(call: Callable[[], object]) -> Callable[[], None]:
    """The call with a thread per core."""

    def on_all() -> None:
        with threads(0):
            call()

    return on_all


def one_net(options: argparse.Namespace) -> Iterator[Row]:
    """A step of our own against the same step compiled, block by block and as a whole, and on all cores; no targets."""
    n, side, width, depths = (32, 8, 2, (8,)) if options.rehearse else (128, 32, 16, (20, 56))
    for precision, depth in product(precisions(), depths):
        trial = Trial("table", ARCHITECTURES["resnet"], depth, 0, layout="cifar", width=width, batch_size=n, lr=0.01,
                      epochs=1000, schedule="constant", precision=precision)  # fmt: skip
        images = Images(pictures(n, side), trial)
        nets = [network_of(trial, images) for _ in range(3)]
        whole: Any = torch.compile(nets[2])
        steps = {
            "eager": Step(nets[0], images, trial, "cpu"),
            "blocks": Step(nets[1], images, trial, "cpu", Execution(compiled=True)),
            "whole": Step(whole, images, trial, "cpu"),
        }
        first = {name: seam.timed(step, "cpu") for name, step in steps.items()}
        calls: dict[str, Callable[[], object]] = {**steps, "cores": _on_all(steps["eager"])}
        times = interleaved(calls, 4 * options.rounds, "cpu")
        for name, words in (("blocks", "blocks compiled"), ("whole", "whole net compiled"), ("cores", "all cores")):
            what = f"step 32x32, width {width}, depth {depth}, {precision}: {words} against eager on one"
            yield ratio(what, times["eager"], times[name], (0, 0), first_step_s=first.get(name))


def _epoch(trial: Trial, stored: Data) -> Callable[[], None]:
    """A whole epoch as a trial trains it, its step made anew."""
    images = Images(stored, trial)
    network = network_of(trial, images)

    def call() -> None:
        train(network, images, trial, "cpu", lambda message: None)

    return call


def train_only(trial: Trial, machine: Machine, progress: Callable[[Mapping[str, Any]], None]) -> Record:
    """A trial function that builds and trains and judges nothing, as the reference loop."""
    seam.start_clean(machine.threads)
    _epoch(trial, datasets.for_trial(trial))()
    return Record(trial, Status.OK)


def ladder(options: argparse.Namespace) -> list[Row]:
    """Plain and pre-activation nets from 130 layers down, an epoch of digits each, building included, on all cores."""
    rungs = LADDER[-2:] if options.rehearse else LADDER
    trials = [
        Trial("table", ARCHITECTURES[name], depth, 0, epochs=1, lr=0.01, schedule="constant") for name, depth in rungs
    ]
    stored = datasets.load("digits")
    cores = usable_cores()
    executor = Process(Settings(cores, 1, 0.0, lambda job, message: None, lambda: False))

    def side_by_side() -> None:
        waiting = [Job(i + 1, t, Machine(), "tests.speed.cpu_table:train_only") for i, t in enumerate(trials)]
        busy = 0
        while waiting or busy:
            while waiting and busy < cores:
                executor.submit(waiting.pop(0))
                busy += 1
            for outcome in executor.wait(1.0):
                busy -= 1
                if outcome.record is None or outcome.record.status is not Status.OK:
                    raise RuntimeError(f"ladder: {outcome.record}")

    def single(make: Callable[[Trial], Callable[[], object]]) -> Callable[[], None]:
        def call() -> None:
            for trial in trials:
                make(trial)()

        return call

    alone = {
        "reference": single(lambda t: Reference(t, stored, "cpu").epoch),
        "ours": single(lambda t: _epoch(t, stored)),
    }
    cpu = interleaved(alone, options.rounds, "cpu", time.process_time)
    what = "digits ladder, 18 to 130 layers: "
    rows = [ratio(what + "CPU time, one thread each", cpu["reference"], cpu["ours"], (1.5, 2.0))]
    if not options.busy:
        try:
            wall = interleaved({"reference": _on_all(alone["reference"]), "ours": side_by_side}, options.rounds, "cpu")
        finally:
            executor.close()
        words = f"wall, {cores} processes against torch's threads"
        rows.append(ratio(what + words, wall["reference"], wall["ours"], (1.5, 2.0)))
    return rows


def nothing(trial: Trial, machine: Machine, progress: Callable[[Mapping[str, Any]], None]) -> Record:
    """A trial of zero steps."""
    return Record(trial, Status.OK, environment={"device": "cpu"})


def harness(options: argparse.Namespace) -> list[Row]:
    """Milliseconds that a sweep spends on a trial of zero steps, its worker being warm and its record written.

    From the first record's moment to the last one's, so that starting the worker, which takes seconds, is in neither.
    """
    count = 12 if options.rehearse else 45

    def a_trial() -> float:
        trials = tuple(
            Trial("table", ARCHITECTURES["plain"], 18, seed, dataset="synthetic", epochs=1) for seed in range(count)
        )
        study = Study("table", "", "", (), trials)
        with tempfile.TemporaryDirectory() as folder:
            asked = sweep.Options(Path(folder), Machine(threads=1), workers=1, function="tests.speed.cpu_table:nothing")
            summary = sweep.run(study, asked)
            if summary.ended != {Status.OK: count}:
                raise RuntimeError(f"harness: {summary}")
            written = [path.stat().st_mtime_ns for path in Path(folder).rglob("*.json")]
        return (max(written) - min(written)) / 1e9 / (count - 1)

    times = [a_trial() for _ in range(max(1, options.rounds))]
    return [{"what": "harness around a trial of zero steps, warm worker", "value": 1e3 * statistics.median(times),
             "unit": "ms", "at_least": "50 ms", "aim": "10 ms", "samples_s": times}]  # fmt: skip


if __name__ == "__main__":
    main()
