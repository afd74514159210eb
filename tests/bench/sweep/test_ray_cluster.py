"""Trials as Ray tasks: the same table as inline, though a node is lost on the way. Skipped without Ray."""

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.plan.checkout import ROOT
from tests.harness import chaos, rehearsal

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra 'ray' is not installed"),
]

# In a process of its own: Ray installs handlers and threads that would outlive the test. One cluster for both sweeps:
# its start takes longer than they do, and the one that loses a node comes last.
CLUSTER = """
import json, os, sys
from pathlib import Path
from tests.harness import rehearsal
from bench.sweep import display as progress
from bench.sweep import run as sweep
from ray.cluster_utils import Cluster

class Removes(progress.Plain):
    def ended(self, job, record):
        super().ended(job, record)
        if self.done == 3 and not removed:
            removed.append(True)
            cluster.remove_node(second, allow_graceful=False)

removed = []
# The sweep's own node has no cores: all trials run on the two others.
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
first, second = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
os.environ["RAY_ADDRESS"] = cluster.address
machine = rehearsal.RehearsalMachine(step_s=0.02, threads=1)

def swept(name, display, *faults):
    options = rehearsal.options(Path(sys.argv[1]) / name, executor="ray", machine=machine, trial_time_limit_s=20,
                                faults=tuple(map(rehearsal.faults.parse, faults)))
    summary = sweep.run(rehearsal.small_study(), options, display)
    return [summary.code, {str(status): number for status, number in summary.ended.items()}]

found = {"faulty": swept("faulty", progress.Plain(), "kill@1:3", "raise@4:2"), "lost": swept("lost", Removes())}
print("SUMMARY", json.dumps({**found, "removed": removed}))
cluster.shutdown()
"""
REZERO = """
title = "A block of one's own"
architecture = "rezero:rezero"
depth = 18
seed = 0
purpose = "train"
epochs = 1
lr = 0.1
"""


def environment() -> dict[str, str]:
    auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    return {**os.environ, **auth, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folders of two sweeps over two nodes, and what became of them."""
    folder = tmp_path_factory.mktemp("cluster")
    done = subprocess.run(
        [sys.executable, "-c", CLUSTER, str(folder)],
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=300, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("SUMMARY ")]
    assert lines, done.stdout[-2000:] + done.stderr[-2000:]
    return folder, json.loads(lines[0].removeprefix("SUMMARY "))


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return chaos.reference(tmp_path_factory.mktemp("inline"))


def test_two_nodes_one_removed_mid_sweep(cluster: tuple[Path, dict[str, Any]], expected: dict[str, str]) -> None:
    folder, found = cluster
    assert (found["lost"], found["removed"]) == ([0, {"ok": 12}], [True])
    assert rehearsal.table(folder / "lost") == expected


def test_a_trial_that_kills_its_worker_is_not_tried_elsewhere(
    cluster: tuple[Path, dict[str, Any]], expected: dict[str, str]
) -> None:
    folder, found = cluster
    assert found["faulty"] == [1, {"ok": 10, "error": 2}]
    table = rehearsal.table(folder / "faulty")
    assert sum(table[name] != expected[name] for name in expected) == 2


def test_a_block_of_ones_own_is_found_on_a_ray_of_this_machine(tmp_path: Path) -> None:
    """Beside its study, from another folder, by preflight and trial: each has a process of its own."""
    (tmp_path / "study").mkdir()
    study = tmp_path / "study" / "rezero.toml"
    study.write_text(REZERO)
    shutil.copy(ROOT / "examples" / "rezero.py", study.parent)
    # It imports a module that is called as the suite's, too.
    (study.parent / "models.py").write_text("SIGN = 1\n")
    with (study.parent / "rezero.py").open("a") as file:
        file.write("from models import SIGN\n")
    command = [sys.executable, "-m", "bench", "run", str(study), "--rehearse", "--executor", "ray", "--workers", "2"]
    done = subprocess.run(
        [*command, "--records", str(tmp_path / "records")],
        capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (kept,) = (tmp_path / "rehearsal" / "rezero").glob("*.json")
    assert "rezero" in kept.name
    assert "error" not in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999", "bogus"])
def test_an_address_where_no_ray_is_is_refused_in_seconds(address: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "run", "digits", "--executor=ray", f"--records={tmp_path / 'new'}"]
    there = {**environment(), "RAY_ADDRESS": address}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=there, timeout=30, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: RAY_ADDRESS={address}: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
