"""One side of a comparison: a process that holds one benchmark and runs a round of it whenever it is told to.

`python -m tests.regressions.side DEVICE BENCHMARKS`, the second "module:name" of a table. Reads a JSON line per request
and answers each with one: {"hold": name}, {"round": whether with the calibration}.
"""

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from typing import Any

import calibration

from bench.train import device as seam

# A shorter round is several calls: between neighbours a few milliseconds are had whole or wait for their turn.
ROUND_S = 0.05
# Rounds of these begin and end with nothing held, so that their peak memory is that of a net and its step.
AFRESH = "first step"


def clocked(call: Callable[[], object], times: int = 1) -> tuple[float, float]:
    """Seconds that each of so many calls took by the wall's clock, and of processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(times):
        call()
    return (time.perf_counter() - wall) / times, (time.process_time() - processor) / times


def main() -> None:
    device = seam.choose(sys.argv[1])
    module, _, name = sys.argv[2].partition(":")
    table = getattr(import_module(module), name)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a benchmark prints is no answer

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    answer(machine={**seam.describe(device), "calibration": calibration.DIGEST}, names=list(table))
    call: Callable[[], object] = int
    times, afresh = 1, False

    def waited() -> None:
        call()
        seam.synchronize(device)

    with ExitStack() as held:
        for line in sys.stdin:
            request = json.loads(line)
            if "hold" in request:
                held.close()
                afresh = request["hold"].startswith(AFRESH)
                call = held.enter_context(table[request["hold"]](device))
                waited()  # what only a first call does is no round
                times = max(1, round(ROUND_S / clocked(waited)[1]))
                gc.freeze()  # or each collection between two rounds would walk through all of torch
                answer(held=request["hold"])
                continue
            # The collector's passes made one build up to 1.5 times longer than the next, by what earlier ones left.
            gc.disable()
            pace = clocked(lambda: calibration.work(device)) if request["round"] else (0.0, 0.0)
            floor = seam.reset_peak_memory(device) if afresh else 0
            seconds = clocked(waited, times)
            peak = seam.peak_memory(device) if floor else 0
            answer(round=[*seconds, *pace, max(0, peak - floor)])
            gc.enable()


if __name__ == "__main__":
    main()
