"""How many cores and how much memory a process may use: its container's limits count."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest
from cpuinfo.cpuinfo import DataSource

from bench.plan.machine import processor, usable_cores, usable_memory

# macOS has no affinity.
ALL = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
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


# The processor's name.

GRAVITON = "processor\t: 0\nBogoMIPS\t: 243.75\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n"


def asked(monkeypatch: pytest.MonkeyPatch, machine: str, **sources: str) -> None:
    """py-cpuinfo on another machine: of its sources only these say something."""
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(DataSource, "arch_string_raw", machine)
    monkeypatch.setattr(DataSource, "can_cpuid", False)
    for name in dir(DataSource):
        if name.startswith("has_"):
            monkeypatch.setattr(DataSource, name, lambda: False)
    for name, text in sources.items():
        has = {"sysctl_machdep_cpu_hw_cpufrequency": "has_sysctl"}.get(name, f"has_{name}")
        monkeypatch.setattr(DataSource, has, lambda: True)
        monkeypatch.setattr(DataSource, name, lambda text=text: (0, text))


def linux(root: Path, text: str) -> Path:
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text(text)
    return root


def test_on_linux_the_processors_name_is_the_kernels(tmp_path: Path) -> None:
    """Records compare it, so it must stay as it was; and the name is had without another package."""
    root = linux(tmp_path, "processor\t: 0\nmodel name\t: AMD EPYC 9B14 \nflags\t\t: fpu\n")
    assert processor(root) == "AMD EPYC 9B14"
    code = (
        "import sys; from pathlib import Path; from bench.plan.machine import processor\n"
        "processor(Path(sys.argv[1])); sys.exit('cpuinfo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(root)], check=False).returncode == 0


def test_arm_processors_have_a_name_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked(monkeypatch, "aarch64", lscpu="Architecture: aarch64\nVendor ID: ARM\nModel name: Neoverse-N1\n")
    assert processor(linux(tmp_path, GRAVITON)) == "Neoverse-N1"
    asked(monkeypatch, "aarch64", lscpu="Architecture: aarch64\nVendor ID: ARM\nModel name: -\n")
    assert processor(tmp_path) == "aarch64"


def test_macs_have_a_name_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no /proc there."""
    asked(monkeypatch, "arm64", sysctl_machdep_cpu_hw_cpufrequency="machdep.cpu.brand_string: Apple M3 Pro\n")
    assert processor(tmp_path) == "Apple M3 Pro"


def test_a_machine_that_nobody_knows_is_called_by_its_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(monkeypatch, "e2k")
    assert processor(tmp_path) == "e2k"
