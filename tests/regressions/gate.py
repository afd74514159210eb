"""Has something become slower? Runs the benchmarks of tests/regressions, keeps baselines, and gates on them. No torch.

    python -m tests.regressions.gate                         saves a baseline where there is none, else compares
    python -m tests.regressions.gate --base FILE             compares with that file; exit code 1 where something slowed
    python -m tests.regressions.gate --against PYTHON|DIR    takes turns with another interpreter or checkout

Machines are noisy and two runs are seldom alike. So each benchmark has a calibration workload between its rounds, its
fastest round is divided by the fastest of these, and whatever seems slower is measured again before the gate speaks.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = "tests/regressions/test_depth.py"
# A quarter: one run against another of the same code, 24 benchmarks, differed by up to 15 % (2 cores of an AMD EPYC).
THRESHOLD = 0.25
# Runs that make a baseline, and of each side when two are interleaved; the fastest round of all counts.
PASSES = 2
# How often what seems slower is measured again. Noise makes a time longer, never shorter: a change stays, noise goes.
AGAIN = 3
# What must agree for two runs to be comparable; torch and Python may differ, that is the question.
DEVICE = ("device", "device_name", "cores", "timer", "calibration")
# What pytest-benchmark writes, as far as it is read here.
Content = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """The times of one run, or of several merged.

    Attributes:
        machine: Device kind and name, cores, versions, digest of the calibration workload.
        times: By benchmark, its fastest round over the fastest calibration between its rounds.
        unit_s: Seconds of the fastest calibration of all.
    """

    machine: dict[str, Any]
    times: dict[str, float]
    unit_s: float


@dataclass
class Comparison:
    """What a comparison found: a row a benchmark, and the reasons why it fails; none is a pass.

    Attributes:
        rows: Name, time before and now, and their ratio.
        faults: A line each.
        slower: The benchmarks that a fault is about and that could be measured again.
    """

    rows: list[tuple[str, float, float, float]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    slower: list[str] = field(default_factory=list)


def read(path: Path) -> Content:
    """A saved run.

    Raises:
        ValueError: One line: the file is missing or is none of ours.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        times(content)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, ArithmeticError, AttributeError, RecursionError):
        raise ValueError(f"{path} is not a run of these benchmarks, or one of an earlier version") from None
    return dict(content)


def times(content: Content) -> Run:
    """What is compared of a saved run."""
    found, paces = {}, []
    for benchmark in content["benchmarks"]:
        paces.append(min(benchmark["extra_info"]["calibration_s"]))
        found[str(benchmark["name"])] = float(benchmark["stats"]["min"]) / paces[-1]
    return Run(dict(content["machine_info"]["suite"]), found, min(paces, default=math.nan))


def merged(contents: Sequence[Content]) -> Content:
    """Several runs of one side as one: of each benchmark the run that was fastest in calibrated time."""
    best: Content = {}
    for content in contents:
        calibrated = times(content).times
        for benchmark in content["benchmarks"]:
            name = benchmark["name"]
            if name not in best or calibrated[name] < best[name][0]:
                best[name] = (calibrated[name], benchmark)
    return {**contents[0], "benchmarks": [benchmark for _, benchmark in best.values()]}


def compare(base: Run, new: Run, threshold: float = THRESHOLD, seconds: bool = False) -> Comparison:
    """Compares two runs.

    Args:
        base: What it was.
        new: What it is.
        threshold: A benchmark fails when its time rose by more than this fraction.
        seconds: Compare seconds at each side's own fastest pace instead of units of the calibration. For two sides
            that took turns: both met the machine at its best, and a faster Python would change the unit itself.

    Returns:
        Rows of name, time before and now, and their ratio; and every reason to fail.
    """
    found = Comparison()
    for name in DEVICE:
        if base.machine.get(name) != new.machine.get(name):
            found.faults.append(f"unlike devices: {name} {base.machine.get(name)!r} and {new.machine.get(name)!r}")
    if found.faults:
        return found
    for name in sorted(base.times):
        if name not in new.times:
            found.faults.append(f"{name} vanished")
            continue
        old = base.times[name] * (base.unit_s if seconds else 1)
        fresh = new.times[name] * (new.unit_s if seconds else 1)
        ratio = fresh / old if old > 0 else math.nan
        found.rows.append((name, old, fresh, ratio))
        if not ratio <= 1 + threshold:
            found.faults.append(f"{name} is {ratio:.2f} times what it was")
            found.slower.append(name)
    if not found.rows:
        found.faults.append("nothing was compared")
    return found


def file_name(machine: dict[str, Any]) -> str:
    """Of a saved run: device and versions, as file systems take it."""
    words = f"{machine['device']}-{machine['device_name']}-torch-{machine['torch']}-python-{machine['python']}"
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", words) + ".json"


@dataclass(frozen=True)
class Side:
    """What is measured: an interpreter in a checkout, on a device."""

    python: str
    checkout: Path
    device: str

    def run(self, only: str = "", names: Sequence[str] = ()) -> Content:
        """Runs the benchmarks once and reads what they wrote.

        Args:
            only: Only those whose name holds this.
            names: Only these.

        Raises:
            ValueError: One line: they did not run through.
        """
        which = [f"{BENCHMARKS}::{name}" for name in names] or [BENCHMARKS, *(["-k", only] if only else [])]
        environment = {
            **os.environ, "DEPTH_BENCH": self.device, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(self.checkout)
        }  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "run.json"
            # The collector's passes made one build up to 1.5 times longer than the next, by what earlier ones left.
            command = [self.python, "-m", "pytest", *which, "-q", "-p", "no:cacheprovider", "--benchmark-enable",
                       "--benchmark-disable-gc", f"--benchmark-json={target}"]  # fmt: skip
            if self.device == "cpu":
                # CPU time: on a shared machine wall times of one and the same step differed fivefold.
                command.append("--benchmark-timer=time.process_time")
            try:
                done = subprocess.run(command, cwd=self.checkout, env=environment, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True)  # fmt: skip
            except OSError as error:
                words = "is no saved run (.json), no folder of a checkout, and no interpreter that starts"
                raise ValueError(f"{self.python} {words}: {error.strerror}") from None
            if done.returncode != 0:
                tail = done.stdout.strip().splitlines()[-1:] or ["no output"]
                print(done.stdout, file=sys.stderr)
                raise ValueError(f"benchmarks failed in {self.checkout} with {self.python}: {tail[0]}")
            return read(target)


def interpreter_and_checkout(other: str) -> tuple[str, Path]:
    """A folder is another checkout, run by this interpreter; anything else is another interpreter.

    Raises:
        ValueError: One line: a folder without these benchmarks.
    """
    path = Path(other)
    if not path.is_dir():
        return other, ROOT
    if not (path / BENCHMARKS).is_file():
        raise ValueError(f"{path} has no {BENCHMARKS}")
    return sys.executable, path.resolve()


def main() -> None:
    """Exit code 0, 1 where something slowed or vanished, 2 for a request that cannot be served."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.regressions.gate", description="Has something become slower?"
    )
    parser.add_argument("--base", help="a saved run to compare with")
    parser.add_argument("--against", help="another interpreter, or the folder of another checkout")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, help="fraction that a ratio may rise by")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--only", default="", help="only benchmarks whose name holds this")
    parser.add_argument("--dir", type=Path, default=Path(".benchmarks"), help="where baselines lie")
    options = parser.parse_args()
    try:
        raise SystemExit(_serve(options))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _serve(options: argparse.Namespace) -> int:
    ours = Side(sys.executable, ROOT, options.device)
    if options.against:
        theirs = Side(*interpreter_and_checkout(options.against), options.device)
        sides: tuple[list[Content], list[Content]] = ([], [])
        for _ in range(PASSES):
            sides[0].append(theirs.run(options.only))
            sides[1].append(ours.run(options.only))
        found = _patient(sides, (theirs, ours), options.threshold, seconds=True)
        return tell(found, options.against, seconds=True)
    try:
        options.dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make the folder {options.dir}: {error.strerror}") from None
    base = read(Path(options.base)) if options.base else None
    if options.only and not base and not any(options.dir.glob("*-torch-*.json")):
        raise ValueError("a baseline of a part would hide what it lacks: leave --only out")
    first = ours.run(options.only)
    kept = options.dir / file_name(times(first).machine)
    if base is None and not kept.exists():
        if options.only:
            raise ValueError("a baseline of a part would hide what it lacks: leave --only out")
        whole = merged([first, *(ours.run() for _ in range(PASSES - 1))])
        kept.write_text(json.dumps(whole), encoding="utf-8")
        print(f"baseline saved: {kept} ({len(whole['benchmarks'])} benchmarks)")
        return 0
    base = base or read(kept)
    if options.only:
        base = {**base, "benchmarks": [b for b in base["benchmarks"] if options.only in b["name"]]}
    runs = ([base], [first])
    found = _patient(runs, (None, ours), options.threshold)
    (options.dir / "latest.json").write_text(json.dumps(merged(runs[1])), encoding="utf-8")
    return tell(found, options.base or str(kept))


def _patient(
    runs: tuple[list[Content], list[Content]],
    sides: tuple[Side | None, Side],
    threshold: float,
    seconds: bool = False,
) -> Comparison:
    """Compares, and measures again what seems slower, on every side that can be, before it says so."""
    for left in reversed(range(AGAIN + 1)):
        found = compare(times(merged(runs[0])), times(merged(runs[1])), threshold, seconds)
        if not found.slower or not left:
            break
        print(f"measured again: {', '.join(found.slower)}", flush=True)
        for kept, side in zip(runs, sides, strict=True):
            if side:
                kept.append(side.run(names=found.slower))
    return found


def tell(found: Comparison, base: str, seconds: bool = False) -> int:
    """Prints a comparison, slowest ratio first, and gives the exit code."""
    unit = "seconds, in turns" if seconds else "units of the calibration workload run between the rounds"
    print(f"compared with {base}; times in {unit}")
    for name, before, now, ratio in sorted(found.rows, key=lambda row: -row[3]):
        print(f"{name:<44} {before:>9.4f} {now:>9.4f} {ratio:>7.2f}x")
    for fault in found.faults:
        print(f"FAILED: {fault}", file=sys.stderr)
    return 1 if found.faults else 0


if __name__ == "__main__":
    main()
