"""A user's own blocks, trained: whatever they do to themselves and to the process, the record is true."""

import dataclasses
import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.cost.measure import multiply_adds
from bench.data import datasets as data
from bench.data.images import Images
from bench.plan import study
from bench.plan.machine import Machine
from bench.plan.trial import Trial, architecture, spec_of
from bench.preflight import environments
from bench.runner import run_trial
from bench.store.record import Record
from bench.train import graph
from bench.train.execution import Execution
from bench.train.step import Step
from models.network import build

ROOT = Path(__file__).resolve().parents[2]
HEAD = """
import functools, os, random
import numpy as np
import torch
from torch import nn
from torch import nn
from torch.nn import functional as F

class Base(nn.Module):
    def __init__(self, i, o, s):
        super().__init__()
        self.c, self.b = nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o)
        self.s, self.e = s, o - i
    def short(self, x):
        return F.pad(x[:, :, ::self.s, ::self.s], (0, 0, 0, 0, 0, self.e))
    def forward(self, x):
        return F.relu(self.b(self.c(x)) + self.short(x))
"""
MAKE = "\ndef block(in_channels, out_channels, stride): return {kind}(in_channels, out_channels, stride)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own(folder: Path, text: str, kind: str = "Base", name: str = "own_trial_block", **values: Any) -> Trial:
    """A trial of a block of this source."""
    sys.modules.pop(name, None)
    importlib.invalidate_caches()
    (folder / f"{name}.py").write_text(HEAD + text + MAKE.format(kind=kind))
    fields = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    (folder / "own.toml").write_text(
        f'architecture = "{name}:block"\ndepth = 10\nseed = 0\nwidth = 2\ndataset = "synthetic"\nbatch_size = 64\n'
        f'purpose = "train"\nepochs = 2\n{fields}'
    )
    (trial,) = study.load(str(folder / "own.toml")).trials
    return trial


def result(trial: Trial) -> Record:
    return run_trial(trial, Machine(), lambda _: None)


def numbers(record: Record) -> tuple[Any, ...]:
    assert record.status == "ok", record.message
    return record.result["train_loss"], record.result["train_error"], record.epochs[-1]["train_loss"]


PLAIN = Trial("t", architecture("resnet"), 10, 0, width=2, dataset="synthetic", batch_size=64, epochs=2)
HARM = """
torch.set_num_threads(2)
torch.manual_seed(3)
torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
torch.use_deterministic_algorithms(True)
torch.autograd.set_detect_anomaly(True)
torch.backends.mkldnn.enabled = False
random.seed(0)
np.random.seed(0)
"""


@pytest.mark.parametrize("where", ["at import", "at build", "in forward"])
def test_what_a_block_does_to_the_process_does_not_reach_the_next_trial(where: str, folder: Path) -> None:
    fresh, state = numbers(result(PLAIN)), torch.get_default_dtype()
    inside = [line for line in HARM.splitlines() if "grad_enabled" not in line]
    if where == "in forward":  # on a busy machine two threads wait for each other for minutes
        inside = [line for line in inside if "threads" not in line]
    if where == "at build":  # that would change the block itself
        inside = [line for line in inside if "dtype" not in line and "manual_seed" not in line]
    indented = "\n        ".join(inside)
    init = "    def __init__(self, *a):\n        super().__init__(*a)"
    harmful = {
        "at import": HARM + "os.chdir('/')\nclass Harm(Base): pass\n",
        "at build": f"class Harm(Base):\n{init}{indented}\n        os.chdir('/')\n",
        "in forward": f"class Harm(Base):\n    def forward(self, x):{indented}\n        return super().forward(x)\n",
    }
    first = result(own(folder, harmful[where], "Harm"))
    if where != "in forward":
        # Nor its own trial: the record says the threads that it had, and the settings are the suite's.
        assert numbers(first) == numbers(result(own(folder, "", name="other_block")))
        assert (first.environment["threads"], torch.get_num_threads(), Path.cwd()) == (1, 1, folder)
    assert numbers(result(PLAIN)) == fresh
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (state, True)
    assert result(PLAIN).environment["threads"] == 1


@pytest.mark.parametrize("draw", ["random.random()", "float(np.random.rand())", "float(torch.rand(()))"])
def test_what_a_block_draws_in_training_does_not_depend_on_what_ran_before(draw: str, folder: Path) -> None:
    text = f"class Drops(Base):\n    def forward(self, x):\n        y = super().forward(x)\n        return y * {draw}\n"
    trial = own(folder, text, "Drops")
    first = numbers(result(trial))
    result(PLAIN)
    assert numbers(result(trial)) == first


# A block whose class would compute something else than the block itself: `real` is what Base computes.
SETS_FORWARD = """
class Own(Base):
    def __init__(self, *a):
        super().__init__(*a)
        {sets}
    def real(self, x, by=1.0):
        return by * super().forward(x)
    def forward(self, x):
        return 0 * super().forward(x)
"""


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize(
    "sets",
    [
        "self.forward = self.real",
        "self.forward = functools.partial(self.real, by=1.0)",
        "self.forward = lambda x: self.real(x)",
        "self.forward = functools.partial(Own.real, self)",
        "self.__dict__['forward'] = self.real",
    ],
)
def test_a_forward_pass_that_a_block_sets_on_itself_is_trained_and_judged(
    sets: str, checkpointed: bool, folder: Path
) -> None:
    plain = numbers(result(own(folder, "", name="plain_block")))
    found = numbers(result(own(folder, SETS_FORWARD.format(sets=sets), "Own", checkpoint_blocks=checkpointed)))
    assert found == plain
    assert found[1] < 0.1  # it has learned


def test_what_the_suite_changes_about_blocks_it_gives_back_as_it_was() -> None:
    def mine(x: torch.Tensor) -> torch.Tensor:
        return x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            shared = nn.Conv2d(1, 1, 1)
            self.blocks = nn.ModuleList([nn.Conv2d(1, 1, 1), shared, shared, nn.Identity()])

    network = Net()
    network.blocks[0].forward = mine
    network.blocks[3]._compiled_call_impl = mine  # compiled by its own author
    before = [dict(vars(block)) for block in network.blocks]
    graph.checkpoint_blocks(network)
    assert all("forward" in vars(block) for block in network.blocks)
    graph.uncompile(network)
    graph.uncheckpoint(network)
    assert [dict(vars(block)) for block in network.blocks] == before


@pytest.mark.parametrize(
    "text",
    [
        "class Odd(Base):\n    def __init__(self, *a):\n        super().__init__(*a)\n"
        "        self.p = [x.item() for x in torch.linspace(0, 0.2, 3)][1]\n",
        "class Odd(Base):\n    def __init__(self, i, o, s):\n        super().__init__(i, o, s)\n"
        "        self.b = nn.BatchNorm2d(o, momentum=None)\n",
        "class Odd(Base):\n    def forward(self, x):\n        assert bool((x == x).all())\n"
        "        return super().forward(x)\n",
    ],
)
def test_a_net_that_needs_values_has_its_cost_all_the_same(text: str, folder: Path) -> None:
    def macs(trial: Trial) -> int:
        return multiply_adds(spec_of(trial, (1, 8, 8), 4))

    assert macs(own(folder, text, "Odd")) == macs(own(folder, "", name="plain_block"))


PREFLIGHT = {
    "lazy layers": "class Odd(Base):\n    def __init__(self, i, o, s):\n        super().__init__(i, o, s)\n"
    "        self.c = nn.LazyConv2d(o, 3, s, 1)\n",
    "a lazy whole": "class Odd(Base):\n    def __init__(self, i, o, s):\n        super().__init__(i, o, s)\n"
    "        self.b = nn.LazyBatchNorm2d()\n",
}
REFUSED = {
    "a weight of five dimensions": "class Odd(Base):\n    def __init__(self, *a):\n        super().__init__(*a)\n"
    "        self.d = nn.Conv3d(1, 1, (3, 1, 1), padding=(1, 0, 0))\n"
    "    def forward(self, x):\n        y = super().forward(x)\n        return y + self.d(y[:, None])[:, 0]\n",
    "in place before backward": "class Odd(Base):\n    def forward(self, x):\n"
    "        y = torch.sigmoid(self.b(self.c(x)))\n        y.add_(self.short(x))\n        return y\n",
    "another output in evaluation": "class Odd(Base):\n    def forward(self, x):\n        y = super().forward(x)\n"
    "        return y if self.training else y[:1]\n",
    "small batches only": "class Odd(Base):\n    def forward(self, x):\n        assert len(x) < 64\n"
    "        return super().forward(x)\n",
}


@pytest.mark.parametrize("kind", [*PREFLIGHT, *REFUSED])
def test_what_is_let_through_before_any_work_trains(kind: str, folder: Path) -> None:
    text = {**PREFLIGHT, **REFUSED}[kind]
    trial = own(folder, text, "Odd")
    if kind in REFUSED:
        with pytest.raises(ValueError, match="own_trial_block:block") as caught:
            environments(Machine(), [trial])
        assert "\n" not in str(caught.value)
    else:
        assert environments(Machine(), [trial])
        assert numbers(result(trial)) == numbers(result(trial))


def test_parts_of_a_batch_that_does_not_fit_hold_two_images_at_least() -> None:
    """Of a last batch of three, BatchNorm refuses the one that would be left over."""
    trial = dataclasses.replace(PLAIN, train_examples=131, drop_last=False, epochs=1)
    images = Images(data.for_trial(trial), trial)
    for parts in (1, 2, 4, 8):
        network = build(spec_of(trial, images.shape, 4), 0)
        step = Step(network, images, trial, "cpu", Execution(micro_batches=parts))
        for _ in range(step.per_epoch):
            step()
        assert math.isfinite(float(step.loss))


@pytest.mark.parametrize("number", [39, 40, 41, 10**6])
def test_more_images_than_there_are_is_refused_unless_rehearsed(number: int) -> None:
    trial = dataclasses.replace(PLAIN, dataset="synthetic", test_examples=256 + number)
    with pytest.raises(ValueError, match="test_examples"):
        environments(Machine(), [trial])
    assert environments(Machine(rehearsal=True), [trial])


# What a trial's network does to its process beyond torch's settings, and the words that tell of it.
FOOTPRINTS = {
    "F.relu = functools.partial(F.relu)": "torch.nn.functional.relu",
    "nn.BatchNorm2d.forward = nn.BatchNorm1d.forward": "torch.nn.modules.batchnorm.BatchNorm2d.forward",
    "torch.Tensor.relu = torch.Tensor.relu_": "torch.Tensor.relu",
    "nn.modules.module.register_module_forward_hook(lambda m, x, y: y)": "hooks of every module",
    "np.seterr(all='raise')": "numpy's answer to errors",
    "os.environ['OMP_NUM_THREADS'] = '7'": "the environment",
    "sys.path.insert(0, '/nowhere')": "sys.path",
    "gc.disable()": "the collection of garbage",
    "sys.setrecursionlimit(5000)": "the limit of recursion",
    "random.random = lambda: 0.5": "random.random",
    "import bench.train.loop as loop; loop.EVAL_BATCH = 8": "bench.train.loop.EVAL_BATCH",
    "import models.blocks as blocks; blocks.Block.forward = nn.Module.forward": "models.blocks.Block.forward",
}


def test_a_worker_whose_process_a_block_has_changed_is_replaced(folder: Path) -> None:
    """One process, a trial of each kind: each record says what its own trial has left, and none but these."""
    trials = [PLAIN, own(folder, "", name="harmless")]
    for number, harm in enumerate(FOOTPRINTS):
        text = "import gc, sys\nclass Harm(Base):\n    def forward(self, x):\n        y = super().forward(x)\n"
        trials.append(own(folder, f"{text}        {harm}\n        return y\n", "Harm", f"harm{number}"))
    trials.append(own(folder, "", name="harmless"))
    code = (
        "import json, sys; from bench.plan.machine import Machine; from bench.plan.trial import Trial\n"
        "from bench.sweep.process import _doubtful; from bench.sweep.worker import Job, run\n"
        "for trial in map(Trial.from_json, json.loads(sys.argv[1])):\n"
        "    record = run(Job(1, trial, Machine(), 'bench.runner:run_trial'), lambda _: None)\n"
        "    print(_doubtful(record), record.environment.get('left_behind', ''))\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, json.dumps([trial.to_json() for trial in trials])], text=True, timeout=100,
        capture_output=True, env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    plain, harmless, *changed, last = said.stdout.splitlines()
    assert {plain.strip(), harmless.strip(), last.strip()} == {"False"}
    for line, words in zip(changed, FOOTPRINTS.values(), strict=True):
        assert line.startswith("True")
        assert words in line


@pytest.mark.parametrize("from_step", [0, 12])
def test_threads_that_a_block_sets_as_it_runs_are_refused(from_step: int, folder: Path) -> None:
    text = (
        "class Harm(Base):\n    calls = 0\n    def forward(self, x):\n        Harm.calls += 1\n"
        f"        if Harm.calls > {from_step}: torch.set_num_threads(3)\n        return super().forward(x)\n"
    )
    trial = own(folder, text, "Harm")
    if from_step == 0:
        with pytest.raises(ValueError, match=r"own_trial_block:block.*set torch's threads to 3, a trial has 1"):
            environments(Machine(), [trial])
    else:
        assert environments(Machine(), [trial])
        sys.modules.pop("own_trial_block")
    record = result(trial)
    assert (record.status, record.result) == ("error", {})
    assert "the network set torch's threads to 3, a trial has 1: use --threads instead" in record.message
    assert result(PLAIN).environment["threads"] == torch.get_num_threads() == 1
