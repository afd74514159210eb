"""The bf16 step with Inductor's cooperative reductions against the same step without, in a process that may hang.

Inductor splits a reduction into two or three kernels; a cooperative one is a single kernel whose blocks wait for each
other. Where they do not all fit on the card at once they wait for ever, so the suite does not ask for them.
"""

import argparse
import importlib
import json
import math
import statistics
import subprocess
import sys
from typing import Any

import torch

from tests.speed.reference import interleaved
from tests.speed.scale import REAL, REHEARSAL

# Of the process, which compiles each block twice.
LIMIT_S = 150


def rows(table: Any) -> list[dict[str, Any]]:
    """How many times faster the step is with them; a process that hangs or fails is a row that says so."""
    depth = table.scale.exact[-1]
    what = f"step, batch {table.scale.batch}, depth {depth}, bf16, with cooperative reductions over without"
    command = [sys.executable, "-m", "tests.speed.cooperative", str(depth)]
    command += ["--rehearse"] if table.device == "cpu" else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        note = f"not done after {LIMIT_S} s: a kernel may wait for ever"
        return [table.row(what, math.nan, "ratio", "shown", "-", False) | {"note": note}]
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        return [table.row(what, math.nan, "ratio", "shown", "-", False) | {"note": last[0][:300]}]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    table.ways += [tuple(way) for way in found["ways"]]
    times = found["times"]
    value = statistics.median(times["without"]) / statistics.median(times["with"])
    seconds = {f"{name}_s": samples for name, samples in times.items()}
    return [table.row(what, value, "ratio", "shown", "-", True, **seconds)]


def compare(table: Any, depth: int) -> dict[str, Any]:
    """Seconds of steps of both kinds by turns, and how these were executed."""
    trial = table.trial(depth, precision="bf16")
    with table.step(trial) as without:
        without()
        torch._inductor.config.triton.cooperative_reductions = True
        torch._inductor.config.triton.force_cooperative_reductions = True  # its own rule takes none for these shapes
        with table.step(trial) as cooperative:
            calls = {"without": without, "with": cooperative}
            times = interleaved(calls, 3 * table.scale.rounds, table.device)
    return {"times": times, "ways": table.ways}


def main() -> None:
    """What the process does."""
    from tests.speed.cuda_table import Table, seam

    parser = argparse.ArgumentParser(prog="python -m tests.speed.cooperative", description=__doc__)
    parser.add_argument("depth", type=int)
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, where nothing is compiled")
    options = parser.parse_args()
    scale = REHEARSAL if options.rehearse else REAL
    seam.choose(scale.device)
    seam.start_clean(1)
    importlib.import_module("torch._inductor.config")
    print(json.dumps(compare(Table(scale), options.depth)))


if __name__ == "__main__":
    main()
