"""The seam: what a record says of the code that made it, and memory marks that fall again."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.plan.checkout import ROOT
from bench.train import device


def reached(start: str) -> set[str]:
    """Files of models/ and bench/ that a module imports, directly or not."""
    found: set[str] = set()
    todo = [start]
    while todo:
        path = todo.pop()
        if path in found or not (ROOT / path).exists():
            continue
        found.add(path)
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            todo += [f"{n.replace('.', '/')}.py" for n in names if n.split(".")[0] in ("models", "bench")]
    return found


# They carry a trial and its result, but no arithmetic of training: a change there leaves records comparable.
CARRIERS = ("bench/plan/", "bench/store/")


def test_code_digest_covers_what_training_depends_on() -> None:
    covered = {p.relative_to(ROOT).as_posix() for pattern in device._SOURCES for p in ROOT.glob(pattern)}
    left = reached("bench/runner.py") - covered
    assert {path for path in left if not path.startswith(CARRIERS)} == set()
    assert all(list(ROOT.glob(pattern)) for pattern in device._SOURCES)


def test_absent_cuda_is_refused_and_auto_takes_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.choose("auto") == "cpu"
    with pytest.raises(ValueError, match="--device cpu"):
        device.choose("cuda")
    with pytest.raises(ValueError, match="auto, cpu, cuda"):
        device.choose("gpu")


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the mark can be reset on Linux only")
def test_peak_memory_sees_an_allocation_and_falls_again() -> None:
    floor = device.reset_peak_memory("cpu")
    torch.ones(64 * 2**20, dtype=torch.uint8).sum()
    assert device.peak_memory("cpu") >= floor + 60 * 2**20
    assert device.reset_peak_memory("cpu") < floor + 20 * 2**20


def kernels(**settings: str) -> tuple[str, str]:
    """What a new process says of its kernels, under settings of the environment."""
    plain = {n: v for n, v in os.environ.items() if n not in ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")}
    code = "from bench.train.device import describe as d; e = d('cpu')\n"
    code += "print(e['cpu_capability'], e['onednn_max_cpu_isa'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=plain | settings, capture_output=True, text=True)
    capability, limit = done.stdout.split()
    return capability, limit


def test_a_record_names_the_kernels_that_its_processor_ran() -> None:
    assert kernels()[1] == "DEFAULT"
    assert kernels(ATEN_CPU_CAPABILITY="default", ONEDNN_MAX_CPU_ISA="avx2") == ("DEFAULT", "AVX2")
