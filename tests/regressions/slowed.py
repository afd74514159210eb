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

# Calls from which a benchmark's own time is taken, and products in the work that is timed beside each.
CALLS, PRODUCTS = 11, 20
# Rows of the matrices in a product: tens of microseconds, far less than a tenth of a step.
ROWS = 64

Benchmark = Callable[[str], AbstractContextManager[Call]]


def _seconds(call: Call, device: str) -> float:
    seam.synchronize(device)
    began = time.perf_counter()
    call()
    seam.synchronize(device)
    return time.perf_counter() - began


@contextmanager
def slowed(benchmark: Benchmark, factor: float, waiting: bool, device: str) -> Iterator[Call]:
    """A benchmark whose every call takes so many times as long as it did: by products of matrices, or by sleeping."""
    some = torch.ones(ROWS, ROWS, device=device)

    def work(products: int) -> None:
        for _ in range(products):
            some @ some

    with benchmark(device) as call:
        call()
        work(PRODUCTS)
        # By turns, so that both meet the same neighbours.
        pairs = [(_seconds(call, device), _seconds(lambda: work(PRODUCTS), device)) for _ in range(CALLS)]
        pause = (factor - 1) * statistics.median(own for own, _ in pairs)
        products = round((factor - 1) * PRODUCTS * statistics.median(own / busy for own, busy in pairs))

        def slower() -> None:
            call()
            if waiting:
                time.sleep(pause)
            else:
                work(products)

        yield slower


def table(factor: float, waiting: bool) -> Mapping[str, Benchmark]:
    """All benchmarks, slowed."""
    return {name: partial(slowed, benchmark, factor, waiting) for name, benchmark in EQUAL.items()}


BENCHMARKS = table(float(os.environ.get(FACTOR, "1")), WAITING in os.environ)
