"""How trials are to be executed, as far as that is not part of the trial. No torch: the sweep hands it to workers."""

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """The same trial gives the same results whatever stands here, but for times and memory.

    Attributes:
        device: "cpu" or "cuda"; "auto" until a worker has looked.
        threads: Of each process.
        workers: Processes side by side.
        data_root: Folder where data sets that are files lie.
        download: Whether a data set that is missing may be fetched.
        checkpoint: File for the trial's epoch checkpoint; empty keeps none. The sweep sets it for each trial.
        checkpoint_after_s: Trials that take longer keep one.
    """

    device: str = "cpu"
    threads: int = 1
    workers: int = 1
    data_root: str = ""
    download: bool = False
    checkpoint: str = ""
    checkpoint_after_s: float = 600.0


def usable_cores() -> int:
    """How many cores this process may use; at least one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
