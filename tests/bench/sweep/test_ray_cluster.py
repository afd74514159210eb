"""Trials as Ray tasks: the same table as inline, though a node is lost on the way. Skipped without Ray."""

import importlib.util
import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import chaos, rehearsal

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra 'ray' is not installed"),
]
ROOT = Path(__file__).resolve().parents[3]

# In a process of its own: Ray installs handlers and threads that would outlive the test.
CLUSTER = """
import json, sys
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
import os
os.environ["RAY_ADDRESS"] = cluster.address
machine = rehearsal.RehearsalMachine(step_s=0.05, threads=1)
faults = tuple(map(rehearsal.faults.parse, sys.argv[2:]))
options = rehearsal.options(Path(sys.argv[1]), executor="ray", machine=machine, faults=faults, trial_time_limit_s=20)
summary = sweep.run(rehearsal.small_study(), options, Removes())
print("SUMMARY", json.dumps([summary.code, {str(k): v for k, v in summary.ended.items()}, removed]))
cluster.shutdown()
"""


def environment() -> dict[str, str]:
    auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    return {**os.environ, **auth, "PYTHONPATH": str(ROOT)}


def on_cluster(folder: Path, *faults: str) -> list[Any]:
    command = [sys.executable, "-c", CLUSTER, str(folder), *faults]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=300, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("SUMMARY ")]
    assert lines, done.stdout[-2000:] + done.stderr[-2000:]
    found: list[Any] = json.loads(lines[0].removeprefix("SUMMARY "))
    return found


def test_two_nodes_one_removed_mid_sweep(tmp_path: Path) -> None:
    expected = chaos.reference(tmp_path / "inline")
    code, ended, removed = on_cluster(tmp_path / "ray")
    assert (code, ended, removed) == (0, {"ok": 12}, [True])
    assert rehearsal.table(tmp_path / "ray") == expected


def test_a_trial_that_kills_its_worker_is_not_tried_elsewhere(tmp_path: Path) -> None:
    expected = chaos.reference(tmp_path / "inline")
    code, ended, _ = on_cluster(tmp_path / "ray", "kill@1:3", "raise@4:2")
    assert (code, ended) == (1, {"ok": 10, "error": 2})
    table = rehearsal.table(tmp_path / "ray")
    assert sum(table[name] != expected[name] for name in expected) == 2


def test_a_local_ray_through_the_command(tmp_path: Path) -> None:
    command = chaos.command(tmp_path / "ray", "--executor", "ray", "--workers", "2", "--step", "0.005")
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert rehearsal.table(tmp_path / "ray") == chaos.reference(tmp_path / "inline")


def test_a_block_of_ones_own_is_found_on_a_ray_of_this_machine(tmp_path: Path) -> None:
    study = ROOT / "examples" / "rezero.toml"
    command = [sys.executable, "-m", "bench", "run", str(study), "--depths", "18", "--rehearse", "--executor", "ray"]
    done = subprocess.run(
        [*command, "--workers", "2", "--records", str(tmp_path / "records")],
        capture_output=True, text=True, cwd=tmp_path, env=environment(), timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    kept = list((tmp_path / "rehearsal" / "rezero").glob("*.json"))
    assert any("rezero" in path.name for path in kept)
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
