"""The benchmarks for pytest-benchmark, as its users know it: pytest tests/regressions --benchmark-only; and for
pytest-codspeed: pytest tests/regressions --codspeed.

Its own comparisons, histograms and JSON work. `make bench` takes other care: turns, both clocks, calibration.
"""

from typing import Any

import pytest
import torch

from bench.train import device
from tests.regressions.benchmarks import BENCHMARKS

# Deep nets take seconds per round; so do the verdicts of 84 records.
SLOW, ROUNDS, SLOW_ROUNDS = ("1002", "verdicts"), 10, 3


@pytest.mark.parametrize("name", BENCHMARKS)
def test_benchmark(benchmark: Any, name: str) -> None:
    kind = device.choose("auto")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as trials run
    try:
        with BENCHMARKS[name](kind) as call:

            def waited() -> None:
                call()
                device.synchronize(kind)

            rounds = SLOW_ROUNDS if any(word in name for word in SLOW) else ROUNDS
            benchmark.pedantic(waited, rounds=rounds, warmup_rounds=1)
    finally:
        torch.set_num_threads(threads)
