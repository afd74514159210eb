"""Has something become slower? Runs the benchmarks of tests/regressions, keeps baselines, and gates on them. No torch.

    python -m bench.regressions                        saves a baseline where there is none, else compares
    python -m bench.regressions --base FILE            compares with that file; exit code 1 where something slowed
    python -m bench.regressions --against PYTHON|DIR   takes turns with another interpreter or checkout

Machines are noisy and two runs are seldom alike: what is compared is each benchmark's fastest round over that
of a calibration workload in the same run.
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

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = "tests/regressions/test_depth.py"
CALIBRATION = "test_calibration"
# A quarter: on this project's shared machine 5 % is noise (notes, traps).
THRESHOLD = 0.25
# Runs of each side when two are interleaved; the fastest round of all counts.
TURNS = 3
# What must agree for two runs to be comparable; torch and Python may differ, that is the question.
DEVICE = ("device", "device_name", "cores", "timer")


@dataclass(frozen=True)
class Run:
    """A run's fastest rounds.

    Attributes:
        machine: Device kind and name, cores, versions.
        seconds: By benchmark, the fastest round; the calibration's under `CALIBRATION`.
    """

    machine: dict[str, Any]
    seconds: dict[str, float]


@dataclass
class Comparison:
    """What a comparison found: a row a benchmark, and the reasons why it fails; none is a pass."""

    rows: list[tuple[str, float, float, float]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read(path: Path) -> Run:
    """A saved run.

    Raises:
        ValueError: One line: the file is missing or is none of ours.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        seconds = {b["name"]: float(b["stats"]["min"]) for b in content["benchmarks"]}
        machine = dict(content["machine_info"]["suite"])
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{path} is not a run of these benchmarks") from None
    return Run(machine, seconds)


def merged(runs: Sequence[Run]) -> Run:
    """Several runs of one side as one: each benchmark's fastest round in calibrated time.

    Calibrated within each run, since the machine's pace may change between turns.
    """
    best: dict[str, float] = {}
    for run in runs:
        pace = run.seconds.get(CALIBRATION, math.nan)
        for name, seconds in run.seconds.items():
            best[name] = min(best.get(name, math.inf), seconds / pace)
    return Run(runs[0].machine, best)


def compare(base: Run, new: Run, threshold: float = THRESHOLD) -> Comparison:
    """Compares two runs.

    Args:
        base: What it was.
        new: What it is.
        threshold: A benchmark fails when its ratio to the calibration rose by more than this fraction.

    Returns:
        Rows of name, calibrated time before and now, and their ratio; and every reason to fail.
    """
    found = Comparison()
    for name in DEVICE:
        if base.machine.get(name) != new.machine.get(name):
            found.faults.append(f"unlike devices: {name} {base.machine.get(name)!r} and {new.machine.get(name)!r}")
    if found.faults:
        return found
    before, now = base.seconds.get(CALIBRATION, math.nan), new.seconds.get(CALIBRATION, math.nan)
    if not (before > 0 and now > 0):
        found.faults.append("no calibration in one of the runs")
        return found
    for name in sorted(base.seconds.keys() - {CALIBRATION}):
        if name not in new.seconds:
            found.faults.append(f"{name} vanished")
            continue
        old, fresh = base.seconds[name] / before, new.seconds[name] / now
        ratio = fresh / old if old > 0 else math.nan
        found.rows.append((name, old, fresh, ratio))
        if not ratio <= 1 + threshold:
            found.faults.append(f"{name} is {ratio:.2f} times what it was")
    if not found.rows:
        found.faults.append("nothing was compared")
    return found


def file_name(machine: dict[str, Any]) -> str:
    """Of a saved run: device and versions, as file systems take it."""
    words = f"{machine['device']}-{machine['device_name']}-torch-{machine['torch']}-python-{machine['python']}"
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", words) + ".json"


def run(python: str, checkout: Path, target: Path, device: str, only: str = "") -> Run:
    """Runs the benchmarks with an interpreter in a checkout, and reads what they wrote.

    Raises:
        ValueError: One line: they did not run through.
    """
    environment = {**os.environ, "DEPTH_BENCH": device, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(checkout)}
    command = [python, "-m", "pytest", BENCHMARKS, "-q", "-p", "no:cacheprovider", "--benchmark-enable",
               f"--benchmark-json={target}", *(["-k", f"{only} or calibration"] if only else [])]  # fmt: skip
    if device == "cpu":
        # CPU time: on a shared machine wall times of one and the same step differed fivefold.
        command.append("--benchmark-timer=time.process_time")
    done = subprocess.run(
        command, cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        tail = done.stdout.strip().splitlines()[-1:] or ["no output"]
        print(done.stdout, file=sys.stderr)
        raise ValueError(f"benchmarks failed in {checkout} with {python}: {tail[0]}")
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
    parser = argparse.ArgumentParser(prog="python -m bench.regressions", description="Has something become slower?")
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
    options.dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "new.json"
        if options.against:
            python, checkout = interpreter_and_checkout(options.against)
            sides: tuple[list[Run], list[Run]] = ([], [])
            for _ in range(TURNS):
                sides[0].append(run(python, checkout, fresh, options.device, options.only))
                sides[1].append(run(sys.executable, ROOT, fresh, options.device, options.only))
            return tell(compare(merged(sides[0]), merged(sides[1]), options.threshold), options.against)
        base = read(Path(options.base)) if options.base else None
        if options.only and not base and not any(options.dir.glob("*-torch-*.json")):
            raise ValueError("a baseline of a part would hide what it lacks: leave --only out")
        new = run(sys.executable, ROOT, fresh, options.device, options.only)
        kept = options.dir / file_name(new.machine)
        if base is None and not kept.exists():
            if options.only:
                raise ValueError("a baseline of a part would hide what it lacks: leave --only out")
            kept.write_bytes(fresh.read_bytes())
            print(f"baseline saved: {kept} ({len(new.seconds)} benchmarks)")
            return 0
        base = base or read(kept)
        (options.dir / "latest.json").write_bytes(fresh.read_bytes())
    if options.only:
        base = Run(base.machine, {n: s for n, s in base.seconds.items() if options.only in n or n == CALIBRATION})
    return tell(compare(base, new, options.threshold), options.base or str(kept))


def tell(found: Comparison, base: str) -> int:
    """Prints a comparison, slowest ratio first, and gives the exit code."""
    print(f"compared with {base}; times in units of the same run's calibration workload")
    for name, before, now, ratio in sorted(found.rows, key=lambda row: -row[3]):
        print(f"{name:<44} {before:>9.3f} {now:>9.3f} {ratio:>7.2f}x")
    for fault in found.faults:
        print(f"FAILED: {fault}", file=sys.stderr)
    return 1 if found.faults else 0


if __name__ == "__main__":
    main()
