"""A look at device and data where trials will run, before any of them: what cannot be served is refused here.

The sweep calls this through its executor, so that the sweep's own process never loads torch.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from torch import nn

from bench.data import datasets as data
from bench.data.images import Images
from bench.plan import own, own_reads, own_variables
from bench.plan.errors import RAISED, first_line
from bench.plan.machine import Machine
from bench.plan.trial import Trial, spec_of
from bench.probes.table import PROBES
from bench.store.parts import Environment, Today
from bench.train import device
from bench.train.execution import Execution
from bench.train.lagging import lagging
from bench.train.network import network_of
from bench.train.step import Step
from models.layouts import nearest_depths
from models.network import build
from models.spec import unknown

# Said of what `lagging` finds.
LAGGING = (
    "{} depends on the images that training saw: it, or what comes before it, lags behind the weights, and cannot be "
    "re-estimated before the net is judged; keep such averages in torch's BatchNorm or InstanceNorm, and call it as a "
    "module"
)


def environments(machine: Machine, trials: Sequence[Trial], nets: Sequence[Trial] = ()) -> dict[str, Today]:
    """What the records of these trials will say about device, code and data.

    Args:
        machine: With the device as asked, "auto" too.
        trials: One for each way in which the study uses data.
        nets: Further nets of users' own architectures among these: what they read as they are built counts, too.

    Returns:
        By name of the data set: an environment with the keys that resume compares, and by each architecture of the
        user's the digest of the files that it reads, and the variables.

    Raises:
        ValueError: One line: no such device, data that is missing, damaged, or smaller than a batch, or a user's
            own architecture that cannot be built.
    """
    chosen = device.choose(machine.device)
    threads = machine.threads
    helped = device.threads_help(threads)
    found: dict[str, Environment] = {}
    files: dict[str, set[Path]] = {}
    variables: dict[str, dict[str, str]] = {}

    def note(trial: Trial, paths: set[Path], names: dict[str, str]) -> None:
        files.setdefault(trial.architecture.factory, set()).update(paths)
        variables.setdefault(trial.architecture.factory, {}).update(names)

    for trial in trials:
        device.start_clean(threads)
        for name in trial.probes:
            if name not in PROBES:
                raise ValueError(unknown("probe", name, PROBES))
        whole = data.load(trial.dataset, machine.data_root, machine.download)
        for name, have in (("train_examples", len(whole.train_labels)), ("test_examples", len(whole.test_labels))):
            asked = getattr(trial, name)
            if asked > have and not machine.rehearsal:
                raise ValueError(f"{name} {asked} is more than the {have} images of {trial.dataset!r}")
        stored = data.for_trial(trial, machine.data_root, machine.download)
        note(trial, *_try_own(trial, stored, chosen, threads))
        found[trial.dataset] = {**device.describe(chosen), "data": stored.digest, "workers": machine.workers}
        if not helped:
            found[trial.dataset]["threads_note"] = f"--threads {threads}: just now one thread took less time here"
        if stored.left_out:
            found[trial.dataset]["data_left_out"] = stored.left_out
        if stored.repeated:
            found[trial.dataset]["data_repeated"] = stored.repeated
    for trial in nets:
        stored = data.for_trial(trial, machine.data_root, machine.download)
        device.start_clean(threads)
        note(trial, *_build_own(trial, stored))
    today: Today = {
        "files_by_factory": {factory: own_reads.digest(paths) for factory, paths in files.items() if paths},
        "variables_by_factory": {factory: names for factory, names in variables.items() if names},
    }
    return {name: {**environment, **today} for name, environment in found.items()}


def _try_own(trial: Trial, stored: data.Data, chosen: str, threads: int) -> tuple[set[Path], dict[str, str]]:
    """Builds a user's own architecture at its layout's least depth, takes two training steps, and evaluates it.

    Returns:
        The user's files that it reads, and the variables of the environment.
    """
    if not trial.architecture.factory:
        return set(), {}
    trial = replace(trial, depth=nearest_depths(trial.layout, 1)[0], epochs=2, warmup_epochs=0.0)
    images = Images(stored.to(chosen), trial)
    try:
        covered, before = own.check(trial.architecture), set(sys.modules)
        with own_variables.watched(), own_reads.watched() as read:
            network = network_of(trial, images)
            if covered and (file := own.uncovered(set(sys.modules) - before, covered)):
                raise ValueError(own.UNSEEN.format(file))
            if trial.checkpoint_blocks and not hasattr(network, "blocks"):
                raise ValueError(
                    "checkpoint_blocks = true needs the suite's blocks; a whole network of one's own has none"
                )
            _steps(network, images, trial, chosen)
            if name := lagging(lambda: network_of(trial, images), images.prepare(images.data.train_images[:2])):
                raise ValueError(LAGGING.format(name))
        device.check_threads(threads)
        files = own_reads.theirs(read, covered)
        return files, own_variables.theirs(covered | files)
    except RAISED as error:  # whatever a user's code raises
        said = f"{type(error).__name__}: {first_line(error):.300}".removesuffix(": ")
        raise ValueError(f"architecture {trial.architecture.factory!r}: {said}") from None


def _build_own(trial: Trial, stored: data.Data) -> tuple[set[Path], dict[str, str]]:
    """As `_try_own`, of what is read as the network is built at its own depth. What it raises is the trial's to say."""
    spec = spec_of(trial, Images(stored, trial).shape, stored.classes)
    covered = own.check(trial.architecture)
    # Not on "meta": that takes longer, and what looks at values fails there.
    with own_variables.watched(), own_reads.watched() as read, suppress(*RAISED):
        build(spec, trial.seed)
    files = own_reads.theirs(read, covered)
    return files, own_variables.theirs(covered | files)


def _steps(network: nn.Module, images: Images, trial: Trial, chosen: str) -> None:
    """Two, since a block may keep something of the first that fails in the second."""
    some = images.prepare(images.data.train_images[:2])
    built = dict(network.named_parameters())
    for training in (True, False):
        logits = network.train(training)(some)
        if tuple(logits.shape) != (len(some), images.data.classes):
            words = f"{len(some)} images and {images.data.classes} classes"
            raise ValueError(f"gives {tuple(logits.shape)} for {words}")
    network.train()
    step = Step(network, images, trial, chosen, Execution())
    try:
        step()
        step()
    finally:
        step.close()
    for name, parameter in network.named_parameters():
        if built.get(name) is not parameter:  # the optimizer has those that a network begins with
            raise ValueError(f"parameter {name} is made in a forward pass and would never be trained: make it before")
