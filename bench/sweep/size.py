"""How many trials run at a time, and of how many threads: never more than there are cores."""

import dataclasses
import os

from bench.plan.machine import GPUS, MOST, Machine, usable_cores, usable_memory

# A worker with torch and a net of 1002 layers (width 8, 64 images of 8x8) was seen to take 1.1 GiB.
WORKER_BYTES = 2 * 2**30


def size(machine: Machine, executor: str, workers: int) -> Machine:
    """The machine with its threads and the number of workers chosen.

    One thread a worker, however many there are: sums in another order would be other results, and a table must
    not depend on how many trials ran side by side. So on the CPU it is a worker a core, as memory allows. Workers times
    threads are never more than the cores: two trials of two threads on two cores took ten times as long as one.

    Args:
        machine: With the threads that are asked for; 0 is one.
        executor: A key of `EXECUTORS`.
        workers: As asked for; 0 chooses.

    Raises:
        ValueError: One line: more threads than cores.
    """
    cores, threads = usable_cores(), machine.threads or 1
    if executor == "ray" and os.environ.get("RAY_ADDRESS"):
        cores = MOST * MOST  # the nodes' cores, which Ray counts itself
    if threads > cores:
        raise ValueError(f"--threads {threads}: there are {cores} cores to use")
    room = min(cores // threads, usable_memory() // WORKER_BYTES)
    single = machine.device in GPUS or executor == "inline"
    chosen = min(workers, cores // threads) or (1 if single else max(1, room))
    return dataclasses.replace(machine, threads=threads, workers=chosen)
