"""A look at device and data where trials will run, before any of them: what cannot be served is refused here.

The sweep calls this through its executor, so that the sweep's own process never loads torch.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from bench.data import datasets as data
from bench.plan import own
from bench.plan.errors import first_line
from bench.plan.machine import Machine
from bench.plan.study import REHEARSED_IMAGES
from bench.plan.trial import Trial, spec_of
from bench.probes.table import PROBES
from bench.train import device
from models.network import build
from models.spec import nearest_depths, unknown


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
        for name in trial.probes:
            if name not in PROBES:
                raise ValueError(unknown("probe", name, PROBES))
        whole = data.load(trial.dataset, machine.data_root, machine.download)
        for name, have in (("train_examples", len(whole.train_labels)), ("test_examples", len(whole.test_labels))):
            asked = getattr(trial, name)
            if asked > have and asked != REHEARSED_IMAGES:
                raise ValueError(f"{name} {asked} is more than the {have} images of {trial.dataset!r}")
        stored = data.for_trial(trial, machine.data_root, machine.download)
        _try_own(trial, stored)
        found[trial.dataset] = {**device.describe(chosen), "data": stored.digest, "workers": machine.workers}
        if stored.left_out:
            found[trial.dataset]["data_left_out"] = stored.left_out
    return found


def _try_own(trial: Trial, stored: data.Data) -> None:
    """Builds a user's own architecture at its layout's least depth and runs two images through it."""
    if not trial.architecture.factory:
        return
    depth = nearest_depths(trial.layout, 1)[0]
    channels, height, width = stored.image
    image = (channels, trial.resize or height, trial.resize or width)
    spec = spec_of(replace(trial, depth=depth), image, stored.classes)
    try:
        covered, before = own.check(trial.architecture), set(sys.modules)
        network = build(spec)
        if covered and (file := own.uncovered(set(sys.modules) - before, covered)):
            raise ValueError(f"imports {file} in a way that the source does not show: write it as an import")
        if trial.checkpoint_blocks and not hasattr(network, "blocks"):
            raise ValueError("checkpoint_blocks = true needs the suite's blocks; a whole network of one's own has none")
        logits = network(torch.zeros(2, *image))
        if tuple(logits.shape) != (2, stored.classes):
            raise ValueError(f"gives {tuple(logits.shape)} for 2 images and {stored.classes} classes")
    except (Exception, SystemExit) as error:  # whatever a user's code does
        said = f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"architecture {trial.architecture.factory!r}: {said}") from None
