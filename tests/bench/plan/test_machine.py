"""How many cores and how much memory a process may use: its container's limits count."""

import os
from pathlib import Path

import pytest

from bench.plan.machine import usable_cores, usable_memory

ALL = len(os.sched_getaffinity(0))
HAS = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def machine(root: Path, groups: str, **files: str) -> Path:
    """A root folder with these control groups; `__` stands for a slash, `_dot_` for a dot."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_a_limit_it_is_the_machines(tmp_path: Path) -> None:
    assert (usable_cores(tmp_path), usable_memory(tmp_path)) == (ALL, HAS)
    unlimited = machine(tmp_path / "m", "0::/\n", cpu_dot_max="max 100000\n", memory_dot_max="max\n")
    assert (usable_cores(unlimited), usable_memory(unlimited)) == (ALL, HAS)


@pytest.mark.parametrize("path", ["/", "/docker/1f3a", "/../../out/of/sight"])
def test_version_two(path: str, tmp_path: Path) -> None:
    root = machine(tmp_path, f"0::{path}\n", cpu_dot_max="100000 100000\n", memory_dot_max="1073741824\n")
    assert (usable_cores(root), usable_memory(root)) == (1, 2**30)


def test_a_group_further_up_may_set_the_limit(tmp_path: Path) -> None:
    files = {"a__cpu_dot_max": "50000 100000", "a__b__cpu_dot_max": "max 100000", "a__b__memory_dot_max": "123456789"}
    root = machine(tmp_path, "0::/a/b\n", **files)
    assert (usable_cores(root), usable_memory(root)) == (1, 123456789)


def test_version_one(tmp_path: Path) -> None:
    files = {
        "cpu__cpu_dot_cfs_quota_us": "150000\n",
        "cpu__cpu_dot_cfs_period_us": "100000\n",
        "memory__memory_dot_limit_in_bytes": "2147483648\n",
    }
    root = machine(tmp_path, "4:memory:/docker/1f\n3:cpu,cpuacct:/docker/1f\n", **files)
    assert (usable_cores(root), usable_memory(root)) == (1, 2**31)


@pytest.mark.parametrize("text", ["", "nonsense", "-1", "0 0", "9" * 400])
def test_what_makes_no_sense_is_no_limit(text: str, tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/\nodd", cpu_dot_max=text, memory_dot_max=text)
    assert (usable_cores(root), usable_memory(root)) == (ALL, HAS)
