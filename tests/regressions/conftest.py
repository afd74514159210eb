"""pytest-benchmark's benchmarks are collected only when they are asked for, and say on what they ran."""

from typing import Any

import pytest

_ASKED = ("--benchmark-only", "--benchmark-enable", "--codspeed")


def pytest_ignore_collect(collection_path: Any, config: pytest.Config) -> bool | None:
    asked = any(config.getoption(option.lstrip("-").replace("-", "_"), False) for option in _ASKED)
    return True if collection_path.name == "test_depth.py" and not asked else None


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """pytest-benchmark's own description knows no GPU and no torch."""
    from bench.train import device

    machine_info["suite"] = device.describe(device.choose("auto"))
