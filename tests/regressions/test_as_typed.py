"""What users of pytest-benchmark and pytest-codspeed type, as they type it: on one short benchmark."""

import json
import os
import subprocess
import sys
from pathlib import Path

from bench.plan.checkout import ROOT

SHORT = ("-k", "build and 18 and plain and not verdicts")


def typed(*options: str, **more: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "pytest", "tests/regressions", "-p", "no:cacheprovider", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | more
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_only_compare_and_histogram(tmp_path: Path) -> None:
    storage = f"--benchmark-storage={tmp_path}"
    short = (*SHORT, "--benchmark-only", storage)
    first = typed(*short, "--benchmark-compare", "--benchmark-autosave")  # nothing to compare with yet
    assert first.returncode == 0, first.stdout + first.stderr
    (saved,) = tmp_path.rglob("0001_*.json")
    told = json.loads(saved.read_text())
    assert [each["name"] for each in told["benchmarks"]] == ["test_benchmark[build 18 plain]"]
    assert told["benchmarks"][0]["stats"]["median"] > 0
    assert told["machine_info"]["suite"]["torch"], "what it ran on"
    again = typed(*short, "--benchmark-compare", f"--benchmark-histogram={tmp_path / 'shape'}")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "(0001_" in again.stdout, "the run before stands beside"
    assert list(tmp_path.glob("shape*.svg"))


def test_codspeed(tmp_path: Path) -> None:
    found = typed(*SHORT, "--codspeed", CODSPEED_PROFILE_FOLDER=str(tmp_path))
    assert found.returncode == 0, found.stdout + found.stderr
    (saved,) = tmp_path.rglob("*.json")
    (benchmark,) = json.loads(saved.read_text())["benchmarks"]
    assert benchmark["name"] == "test_benchmark[build 18 plain]"
    assert benchmark["stats"]["median_ns"] > 0


def test_nothing_is_benchmarked_unless_asked() -> None:
    found = typed("--collect-only")
    assert found.returncode == 0, found.stdout
    assert "test_depth" not in found.stdout
