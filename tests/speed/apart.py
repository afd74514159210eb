"""The bf16 step in ways that the suite does not take yet, against the one that it takes, each in a process of its own.

"cooperative": with Inductor's cooperative reductions. Inductor splits a reduction into two or three kernels; a
cooperative one is a single kernel whose blocks wait for each other. Where they do not all fit on the card at once they
wait for ever, so the suite does not ask for them.

"fused": with the suite's own kernels (bench/train/fused.py). What they compute is held against torch first.
"""

import argparse
import importlib
import json
import math
import os
import statistics
import subprocess
import sys
from dataclasses import replace
from typing import Any

import torch

from bench.train.execution import Execution
from tests.speed.reference import interleaved
from tests.speed.scale import REAL, REHEARSAL

# By name, in words. The last takes the card along if it hangs, so it is the last to run.
WAYS = {"fused": "with fused blocks", "cooperative": "with cooperative reductions"}
# Of the process, which compiles each block twice, or the fused kernels for many shapes.
LIMIT_S = 240


def rows(table: Any, way: str) -> list[dict[str, Any]]:
    """How many times faster the step is that way; a process that hangs or fails is a row that says so."""
    depth = table.scale.exact[-1]
    what = f"step, batch {table.scale.batch}, depth {depth}, bf16, {WAYS[way]} over without"
    command = [sys.executable, "-m", "tests.speed.apart", way, str(depth)]
    command += ["--rehearse"] if table.device == "cpu" else []
    # Without a card Triton's kernels are interpreted.
    environment = os.environ | ({"TRITON_INTERPRET": "1"} if table.device == "cpu" else {})
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=environment, check=False)
    except subprocess.TimeoutExpired:
        note = f"not done after {LIMIT_S} s: a kernel may wait for ever"
        return [table.row(what, math.nan, "ratio", "shown", "-", False) | {"note": note}]
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return [table.row(what, math.nan, "ratio", "shown", "-", False) | {"note": last[0][:300]}]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    table.ways += [tuple(each) for each in found["ways"]]
    times = found["times"]
    value = statistics.median(times["without"]) / statistics.median(times["with"])
    seconds = {f"{name}_s": samples for name, samples in times.items()}
    made = [table.row(what, value, "ratio", "shown", "-", True, **seconds)]
    if worst := found["worst"]:
        words = "fused blocks' values against torch's in float64, worst error over its bound"
        made.insert(0, table.row(words, worst["error"], "ratio", 1, "-", worst["error"] <= 1, where=worst["where"]))
    return made


def compare(table: Any, way: str, depth: int) -> dict[str, Any]:
    """Seconds of steps of both kinds by turns, how these were executed, and of fused blocks the worst error."""
    trial = table.trial(depth, precision="bf16")
    worst = _worst(table.device) if way == "fused" else None
    with table.step(trial) as without:
        without()
        with table.step(trial, _execution(table, trial, way)) as step:
            calls = {"without": without, "with": step}
            times = interleaved(calls, 3 * table.scale.rounds, table.device)
    return {"times": times, "ways": table.ways, "worst": worst}


def _execution(table: Any, trial: Any, way: str) -> Execution:
    usual: Execution = table.execution(trial)
    if way == "fused":
        return replace(usual, fused=True)
    torch._inductor.config.triton.cooperative_reductions = True
    torch._inductor.config.triton.force_cooperative_reductions = True  # its own rule takes none for these shapes
    return usual


def _worst(device: str) -> dict[str, Any]:
    from tests.harness.norms import CASES, FEW, errors

    if device == "cpu":
        importlib.import_module("tests.harness.interpreted")  # it rounds as a card does
    found = [
        {"error": error, "where": f"{name} of {case}"}
        for case in (CASES if device != "cpu" else FEW[::8])
        for name, error in errors(case, device).items()
    ]
    return max(found, key=lambda each: (math.isnan(each["error"]), each["error"]))


def main() -> None:
    """What the process does."""
    from tests.speed.cuda_table import Table, seam

    parser = argparse.ArgumentParser(prog="python -m tests.speed.apart", description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("depth", type=int)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, where nothing is compiled")
    options = parser.parse_args()
    scale = REHEARSAL if options.rehearse else REAL
    seam.choose(scale.device)
    seam.start_clean(1)
    importlib.import_module("torch._inductor.config")
    print(json.dumps(compare(Table(scale), options.way, options.depth)))


if __name__ == "__main__":
    main()
