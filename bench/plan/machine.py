"""How trials are to be executed, as far as that is not part of the trial; and the kinds of device that there are.

No torch: the sweep hands this to workers. What a device does is in `bench/train/device.py`; what is known of it without
asking it stands here.
"""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kind:
    """A kind of device.

    Attributes:
        gpu: Whether it is beside the processor: one trial has it at a time, and its memory is its own.
        look_every: Steps between two looks at the loss: each look waits for the device.
        graphs: Whether a step can be captured as a graph.
        channels_first: Precisions in which convolutions are faster with channels first, not last.
        calibration_side: Of the matrices of a fixed piece of work; not to be seen beside a step's activations.
        copy_bytes, product_side: Of the copy and the matrix product that its ceilings are measured by.
        drivers: Files of which one is there where its driver is; asking torch instead costs seconds.
        memory_command: Prints its memory in MiB.
    """

    gpu: bool = False
    look_every: int = 1
    graphs: bool = False
    channels_first: tuple[str, ...] = ()
    calibration_side: int = 512
    copy_bytes: int = 2**25
    product_side: int = 1024
    drivers: tuple[str, ...] = ()
    memory_command: tuple[str, ...] = ()


# By the name that torch has for it.
KINDS = {
    "cpu": Kind(),
    "cuda": Kind(
        gpu=True, look_every=50, graphs=True, channels_first=("fp32",),
        calibration_side=2048, copy_bytes=2**30, product_side=8192,
        drivers=("/dev/nvidiactl", "/dev/dxg"),
        memory_command=("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"),
    ),
}  # fmt: skip
GPUS = tuple(name for name, kind in KINDS.items() if kind.gpu)
# "auto": a GPU where there is one.
DEVICES = ("auto", *KINDS)


def driven() -> bool:
    """Whether the driver of a GPU is here."""
    return any(Path(file).exists() for kind in KINDS.values() for file in kind.drivers)


@dataclass(frozen=True)
class Machine:
    """The same trial gives the same results whatever stands here, but for times and memory.

    Attributes:
        device: A key of `KINDS`; "auto" until a worker has looked.
        threads: Of each process.
        workers: Processes side by side.
        seeds_at_once: Trials of one net that train by turns in the trial's process. The sweep sets it for each trial.
        data_root: Folder where data sets that are files lie.
        download: Whether a data set that is missing may be fetched.
        checkpoint: File for the trial's epoch checkpoint; empty keeps none. The sweep sets it for each trial.
        checkpoint_after_s: Trials that take longer keep one.
        reads: Digest of the files and variables that the trial's own block reads; the sweep sets it for each trial.
        rehearsal: Whether trials are miniatures, which take as many images as there are.
    """

    device: str = "cpu"
    threads: int = 1
    workers: int = 1
    seeds_at_once: int = 1
    data_root: str = ""
    download: bool = False
    checkpoint: str = ""
    checkpoint_after_s: float = 600.0
    reads: str = ""
    rehearsal: bool = False


# Of workers, and of threads: more is a slip of the keyboard.
MOST = 4096
# torch has 32 streams on a GPU: with more seeds than that, two would wait for each other.
MOST_AT_ONCE = 32


def within_reason(**options: int) -> None:
    """Refuses numbers of workers or threads that no machine has.

    Raises:
        ValueError: One line that names the option.
    """
    for name, value in options.items():
        if not 0 <= value <= MOST:
            raise ValueError(f"--{name} must be 0 to {MOST}, not {value!r:.40}")


def check_at_once(name: str, value: object, least: int = 1) -> None:
    """Refuses what is no number of seeds at once.

    Raises:
        ValueError: One line that names the key or option.
    """
    if type(value) is not int or not least <= value <= MOST_AT_ONCE:
        raise ValueError(f"{name} must be a whole number, {least} to {MOST_AT_ONCE}, not {value!r:.40}")


def processor(files: Path = Path("/")) -> str:
    """The processor's brand, by which records of unlike machines are told apart.

    Where Linux names no model, as on ARM, and on a Mac py-cpuinfo knows whom to ask (lscpu, sysctl).
    """
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", (files / "proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    if found:
        return found.group(1).strip()
    import cpuinfo  # not above: commands that run nothing do without it

    try:
        brand = str(cpuinfo.get_cpu_info().get("brand_raw", "")).strip(" -")
    except Exception:  # of an architecture that it has never heard of; it raises no class of its own
        brand = ""
    return brand or platform.processor() or platform.machine()


def usable_cores(files: Path = Path("/")) -> int:
    """How many cores this process may use, by its affinity and its container's limit; at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _groups(files, "cpu"):
        given = _numbers(folder / "cpu.max")
        given = given or [n for part in ("quota", "period") for n in _numbers(folder / f"cpu.cfs_{part}_us")]
        if len(given) == 2 and min(given) > 0:
            cores = min(cores, given[0] // given[1])
    return max(1, cores)


def usable_memory(files: Path = Path("/")) -> int:
    """Bytes that the processes of this one's container may have together; without one, what the machine has."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder in _groups(files, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limits += _numbers(folder / name)
    return min(limit for limit in limits if limit > 0)


def _groups(files: Path, controller: str) -> list[Path]:
    """Folders of this process's control groups, those around them too: any may set a limit. Linux, versions 1 and 2."""
    found = []
    try:
        lines = (files / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        root = files / "sys/fs/cgroup" / (controller if controllers else "")
        inner = root / path.lstrip("/")
        # A container often sees its own group as the root, whatever the path says.
        found += [folder for folder in (inner, *inner.parents) if folder.is_relative_to(root)]
    return found


def _numbers(file: Path) -> list[int]:
    """The whole numbers at the start of a file; "max", no limit, is -1; nothing where it cannot be read."""
    try:
        return [-1 if word == "max" else int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []
