"""The benchmarks, each made slower by a share of its own time; the gate's second side in `tries`.

The environment says how: a factor, and whether by waiting in place of work.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import torch

from bench.train import device as seam
from tests.regressions.benchmarks import BENCHMARKS as EQUAL
from tests.regressions.benchmarks import Call
from tests.regressions.tries import FACTOR, WAITING

# Calls from which a benchmark's own time is taken: as many as fit into so many seconds, from LEAST to MOST. Products in
# the first work that is timed beside each.
LEAST, MOST, BUDGET_S, PRODUCTS = 5, 41, 2.0, 20
# Rows of the matrices in a product: tens of microseconds, far less than a tenth of a step.
ROWS = 64

Benchmark = Callable[[str], AbstractContextManager[Call]]


def _seconds(call: Call, device: str, clock: Callable[[], float]) -> float:
    seam.synchronize(device)
    began = clock()
    call()
    seam.synchronize(device)
    return clock() - began


@contextmanager
def slowed(benchmark: Benchmark, factor: float, waiting: bool, device: str) -> Iterator[Call]:
    """A benchmark whose every call takes so many times as long as it did: by products of matrices, or by sleeping."""
    some = torch.ones(ROWS, ROWS, device=device)
    # Neighbours interrupt a step more often than what is a tenth as long; the processor's clock stands still meanwhile.
    clock = time.process_time if device == "cpu" and not waiting else time.perf_counter
    more, products = factor - 1, PRODUCTS

    def work() -> None:
        for _ in range(products):
            some @ some

    with benchmark(device) as call:
        call()
        work()
        calls = max(LEAST, min(MOST, int(BUDGET_S / _seconds(call, device, clock))))
        # Twice: what is timed at last is about as long as what is planted, and follows a call as that does.
        for _ in range(2):
            pairs = [(_seconds(call, device, clock), _seconds(work, device, clock)) for _ in range(calls)]
            products = max(1, round(products * more * statistics.median(own / busy for own, busy in pairs)))
        pause = more * statistics.median(own for own, _ in pairs)

        def slower() -> None:
            call()
            if waiting:
                time.sleep(pause)
            else:
                work()

        yield slower


def table(factor: float, waiting: bool) -> Mapping[str, Benchmark]:
    """All benchmarks, slowed."""
    return {name: partial(slowed, benchmark, factor, waiting) for name, benchmark in EQUAL.items()}


BENCHMARKS = table(float(os.environ.get(FACTOR, "1")), WAITING in os.environ)
