"""A look at device and data where trials will run, before any of them: what cannot be served is refused here.

The sweep calls this through its executor, so that the sweep's own process never loads torch.
"""

from collections.abc import Sequence
from typing import Any

import torch

from bench import data, device
from bench.machine import Machine
from bench.study import Trial
from models.network import build
from models.spec import LAYOUTS, ModelSpec, nearest_depths


def environments(machine: Machine, trials: Sequence[Trial]) -> dict[str, dict[str, Any]]:
    """What the records of these trials will say about device, code and data.

    Args:
        machine: With the device as asked, "auto" too.
        trials: One for each way in which the study uses data.

    Returns:
        By name of the data set: an environment with the keys that resume compares.

    Raises:
        ValueError: One line: no such device, data that is missing, damaged, or smaller than a batch, or a user's
            own architecture that cannot be built.
    """
    chosen = device.choose(machine.device)
    device.set_threads(machine.threads)
    found = {}
    for trial in trials:
        _try_own(trial)
        digest = data.for_trial(trial, machine.data_root, machine.download).digest
        found[trial.dataset] = {**device.describe(chosen), "data": digest, "workers": machine.workers}
    return found


def _try_own(trial: Trial) -> None:
    """Builds a user's own architecture at its layout's least depth and runs two images through it."""
    if not trial.architecture.factory:
        return
    depth = nearest_depths(trial.layout, 1)[0]
    side = 32 if LAYOUTS[trial.layout].stem != "dense" else 8
    spec = ModelSpec(trial.architecture, trial.layout, depth, trial.width, (3, side, side), 10)
    try:
        logits = build(spec)(torch.zeros(2, 3, side, side))
        if tuple(logits.shape) != (2, 10):
            raise ValueError(f"gives {tuple(logits.shape)} for 2 images and 10 classes")
    except Exception as error:  # whatever a user's code does
        line = (str(error).strip().splitlines() or [""])[0]
        raise ValueError(f"architecture {trial.architecture.factory!r}: {type(error).__name__}: {line}") from None
