"""A machine without /proc, /sys, affinity and glibc, as a Mac is and some sandboxes are: everything runs there, too."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.plan.checkout import ROOT
from bench.store import record

TAKEN_AWAY = ROOT / "tests" / "harness" / "elsewhere"
TINY = """
architecture = ["preact"]
depth = [18, 34]
purpose = ["train", "cost"]
seed = [0]
dataset = "synthetic"
width = 2
epochs = 1
batch_size = 128
claims = ["cost-grows"]
"""


def typed(*words: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(TAKEN_AWAY)}
    words = (sys.executable, *words)
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


ASKS = """
import ctypes, os, subprocess, sys
def fails(function, *words):
    try: function(*words)
    except OSError: return True
print(sys.platform, hasattr(os, "sched_getaffinity"), fails(open, "/proc/self/status"), fails(ctypes.CDLL, "libc.so.6"))
if len(sys.argv) == 2: subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
"""


def test_it_is_taken_away_from_child_processes_too() -> None:
    assert typed("-c", ASKS, ASKS).stdout == "darwin False True True\n" * 2


@pytest.mark.slow
def test_a_study_is_run_tabled_and_judged(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    study, records = str(tmp_path / "tiny.toml"), ["--records", str(tmp_path / "records")]
    out = ["--out", str(tmp_path / "out")]
    for words in (
        ["bench", "run", study, *records],
        ["bench", "show", study, *records],
        ["results", study, *records, *out],
        ["reports", study, *records, *out, "--html", str(tmp_path)],
    ):
        done = typed("-m", *words)
        assert (done.returncode, done.stderr) == (0, ""), f"{words}\n{done.stdout}{done.stderr}"
    found = [each for _, each in record.load(tmp_path / "records" / "tiny")[0]]
    assert sorted(each.trial.purpose for each in found) == ["cost", "cost", "train", "train"]
    assert all(each.environment["cores"] >= 1 for each in found)
    assert not any("peak_memory_bytes" in each.cost for each in found)
    page = (tmp_path / "tiny.html").read_text(encoding="utf-8")
    assert "Peak memory" in page
    assert not re.search(r"(?<![\d.,])0 MiB", page)


@pytest.mark.slow
def test_tests_of_the_machine_and_of_workers_pass(tmp_path: Path) -> None:
    files = ["tests/bench/plan/test_machine.py", "tests/bench/sweep/test_executors.py"]
    chosen = ["-k", "test_machine or session or hang or die_with"]
    done = typed("-m", "pytest", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "new"), *files, *chosen)
    assert done.returncode == 0, done.stdout
