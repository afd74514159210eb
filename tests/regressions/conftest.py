"""Benchmarks are collected only when `tests.regressions.gate` asks for them; they say on what they ran."""

import os
from typing import Any

collect_ignore = [] if os.environ.get("DEPTH_BENCH") else ["test_depth.py"]


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    """pytest-benchmark's own description knows no GPU and no torch."""
    import calibration

    from bench.train import device

    kind = os.environ.get("DEPTH_BENCH", "cpu")
    machine_info["suite"] = {
        **device.describe(kind),
        "timer": str(config.getoption("benchmark_timer")),
        "calibration": calibration.DIGEST,
    }
