"""The CUDA rows of the table of targets, measured in one run (`python -m tests.speed.cuda_table`, under 11 minutes).

Exactness first: a fast step that computes something else is worth nothing. Then each row, ours and the reference turn
by turn. `--rehearse` runs the same code on a CPU with tiny networks, to find its mistakes: its numbers mean nothing.
"""

import argparse
import gc
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.data.datasets import Data
from bench.data.images import Images
from bench.plan.trial import Trial
from bench.train import device as seam
from bench.train.device import timed
from bench.train.execution import Execution, numerics, usual
from bench.train.graph import Body, CudaCapture
from bench.train.network import network_of
from bench.train.step import Step
from models.layouts import blocks_per_stage
from models.spec import ARCHITECTURES
from tests.speed import apart, at_once
from tests.speed.cpu_table import line, pictures
from tests.speed.reference import Reference, interleaved
from tests.speed.scale import REAL, REHEARSAL, Scale

Row = dict[str, Any]
# How a step was asked to be executed, how it was, and why that differs.
Way = tuple[str, str, str]
# Of a process that takes one first step, which may compile everything anew; the table has ten minutes in all.
FIRST_STEP_LIMIT_S = 150
# Traffic of a step with BatchNorm, ReLU and addition fused, in units of all layer outputs (docs/performance.md, 2).
FUSED_PASSES = 15


class TimedCapture(CudaCapture):
    """Notes how long captures take, warm-up not counted."""

    seconds = 0.0

    def __call__(self, body: Body) -> Body:
        began = time.perf_counter()
        replay = super().__call__(body)
        torch.cuda.synchronize()
        self.seconds += time.perf_counter() - began
        return replay


class Table:
    """Measures the rows.

    Args:
        scale: How large.
    """

    def __init__(self, scale: Scale) -> None:
        self.scale, self.device = scale, scale.device
        self.data = pictures(max(4 * scale.large_batch, 4 * scale.batch), scale.side)
        self.resident = self.data.to(self.device)
        self.ways: list[Way] = []  # of the steps since the last row

    def trial(self, depth: int, **fields: Any) -> Trial:
        values = {"layout": "cifar", "width": self.scale.width, "batch_size": self.scale.batch, "lr": 1e-4,
                  "epochs": 500, "augment": "crop-flip", **fields}  # fmt: skip
        return Trial("table", ARCHITECTURES[values.pop("architecture", "resnet")], depth, 0, **values)

    def execution(self, trial: Trial) -> Execution:
        return usual(trial, self.device)

    @contextmanager
    def step(
        self, trial: Trial, execution: Execution | None = None, data: Data | None = None, capture: Any = None
    ) -> Iterator[Step]:
        """A step under its own switches; everything is given back afterwards."""
        execution = execution or self.execution(trial)
        images = Images(data or self.resident, trial)
        with numerics(trial.precision, execution.exact):
            step = Step(network_of(trial, images), images, trial, self.device, execution, capture)
            try:
                yield step
            finally:
                self.ways.append((execution.name, step.execution.name, step.note))
                step.close()
        del step
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def row(self, what: str, value: float, unit: str, at_least: Any, aim: Any, passed: bool, **more: Any) -> Row:
        """A row on the steps that were taken since the last one; it fails where one was not executed as asked."""
        ways, self.ways = self.ways, []
        apart = [f"asked {asked}, was {real}: {note}" for asked, real, note in ways if asked != real]
        return {"what": what, "value": value, "unit": unit, "at_least": at_least, "aim": aim,
                "passed": passed and not apart, "execution": sorted({real for _, real, _ in ways}),
                "note": "; ".join(apart or {note for _, _, note in ways if note}), **more}  # fmt: skip

    def exactness(self) -> list[Row]:
        """Graphed steps against eager ones in exact fp32, every kind of block: bits that differ after so many steps."""
        rows = []
        for depth in self.scale.exact:
            for name, row in ARCHITECTURES.items():
                if depth != self.scale.exact[0] and name not in ("plain", "resnet", "preact"):
                    continue
                trial = self.trial(depth, architecture=name, epochs=50)
                ends = []
                for graph in (False, True):
                    with self.step(trial, Execution(graph=graph and self.device == "cuda", exact=True)) as step:
                        for _ in range(self.scale.exact_steps):
                            step()
                        ends.append([t.detach().cpu().clone() for t in step.state()])
                apart = max(float((a.double() - b.double()).abs().max()) for a, b in zip(*ends, strict=True))
                equal = all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(*ends, strict=True))
                what = f"exact: {row.name} at {depth}, {self.scale.exact_steps} steps"
                rows.append(self.row(what, apart, "apart", 0, 0, equal))
        return rows

    def gaps(self) -> list[Row]:
        """How far the fast modes' losses are from exact fp32 after as many steps; shown, not judged."""
        rows = []
        for depth in self.scale.exact:
            losses: dict[str, float] = {}
            for precision, name in (("fp32", "fp32"), ("tf32", "tf32"), ("bf16", "bf16"), ("bf16", "bf16 compiled")):
                trial = self.trial(depth, precision=precision, epochs=50)
                with self.step(trial, replace(self.execution(trial), compiled=self._compiles(name))) as step:
                    for _ in range(self.scale.exact_steps):
                        step()
                    losses[name] = step.read()[0]
            for name in list(losses)[1:]:
                gap = abs(losses[name] / losses["fp32"] - 1)
                what = f"mean loss of {self.scale.exact_steps} steps, {name} against fp32, depth {depth}"
                rows.append(self.row(what, 100 * gap, "%", "shown", "-", passed=True))
        return rows

    def _compiles(self, name: str) -> bool:
        return self.device == "cuda" and name.endswith("compiled")

    def steps(self) -> list[Row]:
        """Steps at batch 128 against the reference, its data already on the device.

        Judged against the reference in IEEE fp32; shown beside the one in TF32, which people who know the switch have.
        """
        rows = []
        for depth in self.scale.depths:
            reference = Reference(self.trial(depth, augment="none"), self.data, self.device, 0)
            images = Images(self.resident, self.trial(depth, augment="none"))
            x, y = images.train(torch.arange(self.scale.batch, device=self.device), None)
            x = x.contiguous()
            for precision, words, target in (
                ("bf16", "bf16", (3.0, 6.0)), ("tf32", "tf32", ("shown", "-")), ("fp32", "fp32 exact", (2.0, 4.0)),
            ):  # fmt: skip
                with self.step(self.trial(depth, precision=precision)) as step:

                    def theirs(kind: str, reference: Reference = reference, x: Any = x, y: Any = y) -> None:
                        # Not under our switches: any algorithm that torch takes by itself.
                        with numerics(kind):
                            reference.step(x, y)

                    calls = {"reference": partial(theirs, "fp32"), "tf32": partial(theirs, "tf32"), "ours": step}
                    times = interleaved(calls, self._rounds(depth), self.device)
                rows.append(self._ratio(f"step, batch {self.scale.batch}, depth {depth}, {words}", times, target))
            del reference, theirs, calls
        return rows

    def epoch(self) -> list[Row]:
        """A whole epoch at the shallowest depth, with data, against the `DataLoader` loop."""
        depth = self.scale.depths[0]
        stored = pictures(self.scale.images, self.scale.side)
        trial = self.trial(depth, precision="bf16", epochs=50, drop_last=False)
        reference = Reference(replace(trial, precision="fp32"), stored, self.device)
        with self.step(trial, data=stored.to(self.device)) as step:

            def ours() -> None:
                for _ in range(step.per_epoch):
                    step()
                step.read()

            def theirs() -> None:
                with numerics("fp32"):
                    reference.epoch()

            times = interleaved({"reference": theirs, "ours": ours}, 1, self.device)
        return [self._ratio(f"whole epoch of {self.scale.images} images, depth {depth}", times, (8.0, 20.0))]

    def bandwidth(self) -> list[Row]:
        """Share of a step that fused traffic alone would take at the speed of a copy in this run."""
        size = 2**30 if self.device == "cuda" else 2**22
        source = torch.ones(size // 4, device=self.device)
        target = torch.empty_like(source)
        speed = 2 * size / min(timed(lambda: target.copy_(source), self.device) for _ in range(5))
        rows = []
        for depth in self.scale.large:
            trial = self.trial(depth, precision="bf16", batch_size=self.scale.large_batch)
            with self.step(trial) as step:
                times = self._samples(step, depth)
            traffic = FUSED_PASSES * self.outputs(depth) * self.scale.large_batch * 2
            share = traffic / speed / statistics.median(times)
            what = f"bandwidth-bound over measured, batch {self.scale.large_batch}, depth {depth}"
            rows.append(self.row(what, 100 * share, "%", "40 %", "60 %", share >= 0.4,
                                 copy_bytes_per_s=speed, ours_s=times))  # fmt: skip
        return rows

    def slope(self) -> list[Row]:
        """Slope of log step time over log depth."""
        medians = []
        for depth in self.scale.slope:
            with self.step(self.trial(depth, precision="bf16")) as step:
                medians.append(statistics.median(self._samples(step, depth)))
        slope = log_slope(self.scale.slope, medians)
        what = f"slope of log time over log depth, {self.scale.slope[0]} to {self.scale.slope[-1]}"
        times = dict(zip(self.scale.slope, medians, strict=True))
        return [self.row(what, slope, "", "0.97 to 1.03", "-", 0.97 <= slope <= 1.03, ours_s=times)]

    def first_steps(self) -> list[Row]:
        """Seconds to the first step, deepest less shallowest, each in a fresh process with an empty compiler cache."""
        seconds = []
        for depth in self.scale.first:
            with tempfile.TemporaryDirectory() as cache:
                command = [sys.executable, "-m", "tests.speed.cuda_table", "--first-step", str(depth)]
                command += ["--rehearse"] if self.device == "cpu" else []
                environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": cache, "TRITON_CACHE_DIR": cache}
                done = subprocess.run(
                    command, capture_output=True, text=True, env=environment, timeout=FIRST_STEP_LIMIT_S, check=False
                )
            if done.returncode != 0:
                last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
                raise RuntimeError(f"first step at {depth}: {last[0]}")
            found = json.loads(done.stdout.strip().splitlines()[-1])
            seconds.append(found["seconds"])
            self.ways += [tuple(way) for way in found["ways"]]
        more = seconds[1] - seconds[0]
        shallow, deep = self.scale.first
        what = f"first step at {deep} less at {shallow}, cold cache"
        return [self.row(what, more, "s", "10 s", "2 s", more <= 10, seconds=seconds)]

    def capture(self) -> list[Row]:
        """Capture at the deepest net in eager steps, warm-up not counted."""
        if self.device != "cuda":
            return []
        trial = self.trial(self.scale.deepest)
        with self.step(trial, Execution(exact=True)) as step:
            eager = statistics.median(self._samples(step, trial.depth))
        capture = TimedCapture([])
        with self.step(replace(trial, augment="none"), Execution(graph=True, exact=True), capture=capture) as step:
            step()
        what, passed = f"capture at {trial.depth}, in eager steps", 0 < capture.seconds <= 5 * eager
        return [self.row(what, capture.seconds / eager, "steps", 5, 2, passed, eager_s=eager)]

    def memory(self) -> list[Row]:
        """Peak memory of the deepest net over what must be kept, and with checkpointing."""
        depth, peaks, medians = self.scale.deepest, [], []
        for checkpointed in (False, True):
            peak, median, state = self._peak(depth, checkpointed)
            peaks.append(peak)
            medians.append(median)
        needed = 2 * self.outputs(depth) * self.scale.batch * 2 + state
        first, second, slower = peaks[0] / needed, peaks[1] / max(1, peaks[0]), medians[1] / medians[0]
        what = f"peak memory at {depth}, batch {self.scale.batch}"
        ways, rows = self.ways, []
        for words, value, least, aim, more in (
            (f"{what}, over 2 x stage outputs + state", first, 1.3, 1.15, {"bytes": peaks[0]}),
            (f"{what}, checkpointed over not", second, 0.3, "-", {"bytes": peaks[1]}),
            (f"step at {depth}, checkpointed over not", slower, 1.4, "-", {}),
        ):
            self.ways = list(ways)  # the same two nets
            rows.append(self.row(words, value, "ratio", least, aim, value <= least, **more))
        return rows

    def at_once(self) -> list[Row]:
        """Steps of several seeds at once, each with a graph of its own."""
        return at_once.rows(self)

    def fused(self) -> list[Row]:
        """The bf16 step with fused blocks: what they compute, then their time."""
        return apart.rows(self, "fused")

    def cooperative(self) -> list[Row]:
        """The bf16 step with cooperative reductions; last, since it may hang until its time is over."""
        return apart.rows(self, "cooperative")

    def _peak(self, depth: int, checkpointed: bool) -> tuple[int, float, int]:
        """Bytes at the peak, seconds of a step, bytes of weights, gradients and momenta in fp32.

        A function of its own: with the last network still in a loop's variable the next floor would be too high.
        """
        floor = seam.reset_peak_memory(self.device)
        with self.step(self.trial(depth, precision="bf16", checkpoint_blocks=checkpointed)) as step:
            median = statistics.median(self._samples(step, depth))
            state = sum(p.numel() for p in step.network.parameters()) * 12
        return seam.peak_memory(self.device) - floor, median, state

    def outputs(self, depth: int) -> int:
        """Elements of all convolutions' outputs, for one image: stem and two a block."""
        side, width, blocks = self.scale.side, self.scale.width, blocks_per_stage("cifar", depth)
        stages: int = sum(2 * n * (width * 2**s) * (side // 2**s) ** 2 for s, n in enumerate(blocks))
        return width * side * side + stages

    def _ratio(self, what: str, times: dict[str, list[float]], target: tuple[Any, Any]) -> Row:
        value = statistics.median(times["reference"]) / statistics.median(times["ours"])
        passed = target[0] == "shown" or value >= target[0]
        seconds = {f"{name}_s": samples for name, samples in times.items()}
        return self.row(what, value, "ratio", target[0], target[1], passed, **seconds)

    def _rounds(self, depth: int) -> int:
        return self.scale.rounds if depth > 500 else 3 * self.scale.rounds

    def _samples(self, step: Step, depth: int) -> list[float]:
        for _ in range(2):
            step()
        return [timed(step, self.device) for _ in range(self._rounds(depth))]


def log_slope(depths: tuple[int, ...], seconds: list[float]) -> float:
    """Least-squares slope of log seconds over log depth."""
    x, y = [math.log(d) for d in depths], [math.log(s) for s in seconds]
    return statistics.linear_regression(x, y).slope


def first_step(scale: Scale, depth: int) -> dict[str, Any]:
    """Seconds from nothing built to the end of the first step of a four-stage net, in this process; and its way."""
    table = Table(scale)
    nn.Linear(1, 1, device=scale.device)  # the device's own start is no network's fault
    seam.synchronize(scale.device)
    began = time.perf_counter()
    with table.step(table.trial(depth, layout="four-stage", precision="bf16")) as step:
        step()
        seam.synchronize(scale.device)
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "ways": table.ways}


def main() -> None:
    """Exit code 0, or 1 where a row missed its least or a graphed step was not exact, 2 without a device."""
    parser = argparse.ArgumentParser(prog="python -m tests.speed.cuda_table", description=__doc__)
    parser.add_argument("--rehearse", action="store_true", help="tiny networks on the CPU; the numbers mean nothing")
    parser.add_argument("--out", type=Path, default=Path("results/out/bench/cuda.json"))
    parser.add_argument("--first-step", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    scale = REHEARSAL if options.rehearse else REAL
    try:
        seam.choose(scale.device)
    except ValueError as error:
        print(f"error: {error} --rehearse runs tiny networks on the CPU.", file=sys.stderr)
        raise SystemExit(2) from None
    seam.start_clean(1)
    if options.first_step:
        print(json.dumps(first_step(scale, options.first_step)))
        return
    raise SystemExit(measure(Table(scale), options.out))


def measure(table: Table, out: Path) -> int:
    """Measures every row, prints and saves each as it comes; a row that fails is one that says why."""
    rows: list[Row] = []
    parts: tuple[Callable[[], list[Row]], ...] = (
        table.exactness, table.gaps, table.steps, table.epoch, table.bandwidth, table.slope,
        table.first_steps, table.capture, table.memory, table.at_once, table.fused, table.cooperative,
    )  # fmt: skip
    began = time.perf_counter()
    for part in parts:
        table.ways.clear()
        try:
            new = part()
        except Exception as error:  # the other rows are still worth having
            new = [{"what": part.__name__, "value": math.nan, "unit": "", "at_least": "-", "aim": "-", "passed": False,
                    "note": f"{type(error).__name__}: {error}"[:300]}]  # fmt: skip
        rows += new
        for row in new:
            print(("pass  " if row["passed"] else "MISSED") + " " + line(row), row.get("note", ""), flush=True)
        found = {**seam.describe(table.device), "seconds": time.perf_counter() - began,
                 "rehearsal": table.device == "cpu", "rows": rows}  # fmt: skip
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{found['device_name']}, torch {found['torch']}, {found['seconds']:.0f} s; saved: {out}")
    if table.device == "cpu":
        print("a rehearsal on the CPU: no number above means anything")
    return 0 if all(row["passed"] for row in rows) else 1


if __name__ == "__main__":
    main()
