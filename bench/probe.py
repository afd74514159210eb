"""A look at device and data where trials will run, before any of them: what cannot be served is refused here.

The sweep calls this through its executor, so that the sweep's own process never loads torch.
"""

from collections.abc import Sequence
from typing import Any

from bench import data, device
from bench.machine import Machine
from bench.study import Trial


def environments(machine: Machine, trials: Sequence[Trial]) -> dict[str, dict[str, Any]]:
    """What the records of these trials will say about device, code and data.

    Args:
        machine: With the device as asked, "auto" too.
        trials: One for each way in which the study uses data.

    Returns:
        By name of the data set: an environment with the keys that resume compares.

    Raises:
        ValueError: One line: no such device, or data that is missing, damaged, or smaller than a batch.
    """
    chosen = device.choose(machine.device)
    device.set_threads(machine.threads)
    found = {}
    for trial in trials:
        digest = data.for_trial(trial, machine.data_root).digest
        found[trial.dataset] = {**device.describe(chosen), "data": digest, "workers": machine.workers}
    return found
