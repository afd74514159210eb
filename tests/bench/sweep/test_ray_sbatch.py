"""The Slurm example with Ray, on one node, with stand-ins for what Slurm brings."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.plan.checkout import ROOT

TINY = """
architecture = ["plain", "resnet"]
depth = 18
seed = 0
width = 2
dataset = "synthetic"
epochs = 1
purpose = "train"
"""
# The example ends with `ray stop`, which ends every Ray that it sees: it sees those of its own process namespace only.
APART = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]


def test_the_ray_example_runs_its_study_on_one_node(tmp_path: Path) -> None:
    if shutil.which("unshare") is None or subprocess.run([*APART, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process namespace can be made here")
    (tmp_path / "tiny.toml").write_text(TINY)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    slurm = tmp_path / "slurm"
    slurm.mkdir()
    for name, line in (("scontrol", "echo 127.0.0.1"), ("srun", 'exec "$@"')):
        (slurm / name).write_text(f"#!/bin/sh\n{line}\n")
        (slurm / name).chmod(0o755)
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{slurm}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "STUDY": str(tmp_path / "tiny.toml"),
        "SLURM_JOB_NODELIST": "one", "SLURM_JOB_NUM_NODES": "1", "SLURM_CPUS_PER_TASK": "2",
    }  # fmt: skip
    example = str(ROOT / "examples" / "slurm" / "ray.sbatch")
    ran = subprocess.run(
        [*APART, "sh", example], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    assert len(list((tmp_path / "results" / "records" / "tiny").glob("*.json"))) == 2
