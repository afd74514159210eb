"""The one seam between CUDA and CPU: choose, wait, time, memory, energy, random state, and what this machine is.

Everything that a device does in its own way stands here, so that the rest of the suite reads the same on all; how CUDA
captures a step is in `graph`, what is known of a device without torch in `bench/plan/machine.py`.
"""

import ctypes
import functools
import gc
import hashlib
import os
import platform
import re
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity

from bench.plan.checkout import ROOT
from bench.plan.machine import DEVICES, processor, usable_cores
from bench.store.parts import Environment, Kernels
from models import settings
from models.spec import unknown

# What training depends on. A record made by other sources is kept apart: its numbers may differ.
_SOURCES = (
    "models/**/*.py",
    "bench/data/**/*.py",
    "bench/train/**/*.py",
    "bench/probes/**/*.py",
    "bench/cost/**/*.py",
    "bench/runner.py",
)


def choose(name: str) -> str:
    """ "auto", "cpu" or "cuda" to "cpu" or "cuda".

    Raises:
        ValueError: Unknown name, or CUDA asked for and absent, in one line.
    """
    if name not in DEVICES:
        raise ValueError(unknown("device", name, DEVICES))
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        built = "this torch has no CUDA" if torch.version.cuda is None else "torch finds no CUDA device"
        raise ValueError(f"device cuda: {built}. Use --device cpu (or auto).")
    return "cuda" if available and name != "cpu" else "cpu"


def synchronize(device: str) -> None:
    """Waits until the device has done what was asked of it."""
    if device == "cuda":
        torch.cuda.synchronize()


def own_stream(device: str) -> AbstractContextManager[object]:
    """Within, what this thread asks of a GPU waits for no other thread's work."""
    return torch.cuda.stream(torch.cuda.Stream()) if device == "cuda" else nullcontext()  # type: ignore[no-untyped-call]


def timed(call: Callable[[], object], device: str) -> float:
    """Seconds of a call, all that it asked of the device included: by events on CUDA, by the clock on a CPU."""
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def activities(device: str) -> list[ProfilerActivity]:
    """What a profile of a step is to hold."""
    return [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]


def random_state(device: str) -> Tensor | None:
    """Of the device's own default generator; None on a CPU, whose generator is the host's."""
    return torch.cuda.get_rng_state() if device == "cuda" else None


def put_back_random_state(state: Tensor | None) -> None:
    """The inverse of `random_state`."""
    if state is not None:
        torch.cuda.set_rng_state(state)


@functools.cache
def _at_first() -> dict[str, object]:
    return {name: value for name, value in settings.read().items() if name != "threads"}


def start_clean(threads: int) -> None:
    """Sets the threads of this process, and all other settings as they were when this was called first.

    Before each trial: what one trial's network did to the process must not reach the next. Two processes of two threads
    each ran 55 times slower than one.
    """
    settings.put_back(_at_first())
    torch.set_num_threads(threads)


def check_threads(threads: int) -> None:
    """Refuses a network that has set other threads: its record would say what did not run, and sums round otherwise.

    Raises:
        ValueError: One line that names both numbers.
    """
    found = torch.get_num_threads()
    if found != threads:
        raise ValueError(f"the network set torch's threads to {found}, a trial has {threads}: use --threads instead")


def threads_help(asked: int) -> bool:
    """Whether a fixed piece of work takes less time with so many threads than with one.

    Threads wait for each other after each operator: with a neighbour on a core two took 10 to 15 times as long as one.
    """
    some = torch.ones(128, 16, 16, 16)

    def seconds(threads: int) -> float:
        torch.set_num_threads(threads)
        times = []
        for _ in range(5):
            began = time.perf_counter()
            for _ in range(50):
                some.relu()
            times.append(time.perf_counter() - began)
        return statistics.median(times)

    return asked == 1 or seconds(asked) < seconds(1)


def reset_peak_memory(device: str) -> int:
    """Sets the high-water mark back to what is in use now, and returns that, in bytes.

    On Linux the mark of a process is VmHWM, reset through /proc/self/clear_refs: without the reset a warm
    worker's mark would be that of its largest net so far. Freed memory is given back first.
    """
    gc.collect()
    if device == "cuda":
        # Workspaces of streams long gone; a live graph would know their addresses, so between trials only.
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return 0
    return peak_memory(device)


def free(device: str) -> None:
    """Gives back to a GPU what nothing on it needs any more."""
    if device == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


def peak_memory(device: str) -> int:
    """The high-water mark since `reset_peak_memory`, in bytes; 0 where it cannot be read."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return 0
    return int(found.group(1)) * 1024 if found else 0


def memory_failures(device: str) -> int:
    """How often CUDA's allocator has had no memory at hand in this process; 0 on a CPU.

    Its second tries count too: one inside a capture ends the capture before it can count as a failure.
    """
    if device != "cuda":
        return 0
    counts = torch.cuda.memory_stats()
    return int(counts["num_ooms"]) + int(counts["num_alloc_retries"])


def out_of_memory(error: BaseException, device: str = "cpu", failures: int = 0) -> bool:
    """Whether an exception says that a device or the host had no memory left.

    Args:
        error: The exception.
        device: Where the work ran.
        failures: What `memory_failures` said before the work began. An allocation that fails in cuDNN's search for
            the fastest algorithm comes as "unable to find an engine", one that fails inside a capture as an operation
            not permitted there. Both may have other reasons, so the allocator is asked.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if error.__context__ and out_of_memory(error.__context__, device, failures):
        return True  # a capture that could not be ended properly raises an error of its own
    words = str(error)
    if "unable to find an engine" in words or "captur" in words:
        return memory_failures(device) > failures
    return any(known in words for known in ("can't allocate memory", "out of memory", "STATUS_ALLOC_FAILED"))


def memory_of_others(device: str) -> int:
    """Bytes of a GPU that this process's tensors do not hold: its context, and what other processes use; else 0."""
    if device != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info()
    return total - free - torch.cuda.memory_reserved()


def energy(device: str) -> float | None:
    """Joules that a GPU has used since it was started; None where it does not say."""
    if device != "cuda":
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        # By PCI address: CUDA_VISIBLE_DEVICES renumbers torch's devices, not NVML's.
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(0).uuid}")
        torch.cuda.synchronize()
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
    except Exception:  # no such package, driver or counter: the record then has no energy
        return None


def device_name(device: str) -> str:
    """The marketing name of GPU or processor."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return processor()


@functools.cache
def code_digest() -> str:
    """SHA-256 over the sources that training depends on."""
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def describe(device: str) -> Environment:
    """What resume compares and the page shows: device, versions, host; and the threads as they are now."""
    return {**_unchanging(device), "threads": torch.get_num_threads()}


def _kernels() -> Kernels:
    """Which kernels torch and oneDNN choose on this CPU: others round otherwise. Both read the environment once.

    Source: oneDNN's "CPU Dispatcher Control" (DEFAULT is its word for no limit); torch's ATen/native/DispatchStub.cpp.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or "DEFAULT"
    return {"cpu_capability": torch.backends.cpu.get_cpu_capability(), "onednn_max_cpu_isa": limit.upper()}


@functools.cache
def _unchanging(device: str) -> Environment:
    found: Environment = {
        "device": device,
        "device_name": device_name(device),
        "host": platform.node(),
        "os": platform.platform(),
        "cores": usable_cores(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "suite": metadata.version("depth-ablation") if _installed() else "checkout",
        "code": code_digest(),
    }
    return {**found, **_kernels()} if device == "cpu" else found


def _installed() -> bool:
    try:
        metadata.version("depth-ablation")
    except metadata.PackageNotFoundError:
        return False
    return True
