"""`make setup`: what it installs, from which lock, for which torch; by a stand-in for uv that writes down its call."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.plan.checkout import ROOT

# `uv venv ... DIR` makes a folder; `uv pip install ... -r LOCK` notes its words and the lock's lines.
UV = """#!/bin/sh
if [ "$1" = venv ]; then for last; do :; done; mkdir -p "$last/bin"; exit 0; fi
echo "$@" >>"$UV_CALLS"
for last; do :; done
cp "$last" "$UV_CALLS.lock"
exit "${UV_CODE:-0}"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("Makefile", "requirements.lock", "requirements-dev.lock"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci", ignore=shutil.ignore_patterns("out"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "uv").write_text(UV)
    (tmp_path / "bin" / "uv").chmod(0o755)
    return tmp_path


def made(checkout: Path, *words: str, code: int = 0) -> tuple[subprocess.CompletedProcess[str], list[str], set[str]]:
    """`make WORDS` in this checkout: how it ended, uv's calls so far, and the packages of the last one."""
    calls = checkout / "calls"
    environment = {"PATH": f"{checkout / 'bin'}:/usr/bin:/bin", "UV_CALLS": str(calls), "UV_CODE": str(code)}
    command = ["make", *words, f"PYTHON={sys.executable}"]
    ran = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    lock = Path(f"{calls}.lock")
    packages = (
        {re.split(r"[=; ]", line)[0] for line in lock.read_text().split("\n") if line} if lock.exists() else set()
    )
    return ran, calls.read_text().splitlines() if calls.exists() else [], packages


def test_a_study_needs_neither_ray_nor_a_browser_nor_tests(checkout: Path) -> None:
    ran, calls, packages = made(checkout, "setup")
    assert ran.returncode == 0, ran.stderr
    assert {"torch", "torchvision", "pandas", "seaborn", "torch-tb-profiler"} <= packages
    assert not {"ray", "playwright", "mypy", "pytest", "hypothesis", "ruff"} & packages
    assert made(checkout, "setup")[1] == calls, "once"


def test_the_two_locks_agree() -> None:
    run, dev = (set((ROOT / f"requirements{name}.lock").read_text().splitlines()) for name in ("", "-dev"))
    assert run < dev


def test_without_cuda_the_cpu_build_is_asked_for_and_nothing_of_nvidia(checkout: Path) -> None:
    ran, calls, packages = made(checkout, "setup", "TORCH=cpu")
    assert ran.returncode == 0, ran.stderr
    assert "--torch-backend cpu" in calls[0]
    assert "torch" in packages
    assert not [name for name in packages if name.startswith(("nvidia", "cuda", "triton"))]
    # What tests need besides comes into the same environment, and brings no CUDA either.
    subprocess.run(["touch", "-d", "yesterday", ".venv/.ready"], cwd=checkout, check=True)
    made(checkout, ".venv/.ready-dev")
    _, calls, packages = made(checkout, ".venv/.ready-dev")
    assert "--torch-backend cpu" in calls[-1]
    assert {"pytest", "ray"} <= packages
    assert not [name for name in packages if name.startswith(("nvidia", "cuda", "triton"))]


def test_where_the_cpu_build_cannot_be_had_one_line_says_where_it_is(checkout: Path) -> None:
    ran, _, _ = made(checkout, "setup", "TORCH=cpu", code=1)
    assert ran.returncode == 2
    said = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert "download.pytorch.org" in said[0]
    assert not (checkout / ".venv" / ".ready").exists()


def test_another_torch_brings_its_own_companions(checkout: Path) -> None:
    ran, calls, packages = made(checkout, "other", "TORCH=2.11.0")
    assert ran.returncode == 0, ran.stderr
    assert ".venv-2.11.0" in calls[0]
    assert "torch==2.11.0" in (checkout / "calls.lock").read_text().splitlines()
    assert {"torchvision", "pytest"} <= packages
    assert "triton" not in packages
