"""What a user's own blocks do to their process: the next trial does not see it, and no record is wrong."""

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_own import PLAIN, folder, numbers, own, result

from bench.plan.checkout import ROOT
from bench.plan.machine import Machine
from bench.plan.trial import Trial
from bench.preflight import environments
from bench.sweep.executor import Settings
from bench.sweep.process import Process, _doubtful
from bench.sweep.worker import Job, run

__all__ = ["folder"]  # pytest finds the fixture here
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


# What a trial's network does to its process beyond torch's settings, and the words that tell of it.
FOOTPRINTS = {
    "F.relu = functools.partial(F.relu)": "torch.nn.functional.relu",
    "nn.BatchNorm2d.forward = nn.BatchNorm1d.forward": "torch.nn.modules.batchnorm.BatchNorm2d.forward",
    "torch.Tensor.relu = torch.Tensor.relu_": "torch.Tensor.relu",
    "F.silu.__code__ = F.mish.__code__": "torch.nn.functional.silu",
    "nn.Dropout.__init__.__defaults__ = (0.1, False)": "torch.nn.modules.dropout._DropoutNd.__init__",
    "np.seterr(all='raise')": "numpy's answer to errors",
    "os.environ['OMP_NUM_THREADS'] = '7'": "the environment",
    "sys.path.insert(0, '/nowhere')": "sys.path",
    "os.chdir('/')": "the working folder",
    "gc.disable()": "the collection of garbage",
    "sys.setrecursionlimit(5000)": "the limit of recursion",
    "random.random = lambda: 0.5": "random.random",
    "import bench.train.loop as loop; loop.EVAL_BATCH = 8": "bench.train.loop.EVAL_BATCH",
    "torch.set_autocast_enabled('cpu', True)": "torch's modes",
    "torch.set_flush_denormal(True)": "torch's modes",
    "import builtins; builtins.round = lambda *a: 0": "builtins.round",
    "import warnings; warnings.simplefilter('error', RuntimeWarning)": "warnings that are errors",
    "os.umask(0o022 ^ 0o011)": "the mask of new files",
    "import signal; signal.signal(signal.SIGUSR1, signal.SIG_IGN)": "handlers of signals",
    "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))": "limits of resources",
    "import bench.train.optimizers as o; o.OPTIMIZERS['sgd'] = o.OPTIMIZERS['adamw']": "OPTIMIZERS['sgd']",
    "import bench.data.datasets as d; d.DATASETS['new'] = d.DATASETS['digits']": "DATASETS['new']",
    "import models.blocks as blocks; blocks.Block.forward = nn.Module.forward": "models.blocks.Block.forward",
    "torch.library.define(f'own::f{len(torch.library._defs)}', '() -> Tensor')": "torch's libraries of operators",
    # Last, since one is left by each step, and what comes after these is slower.
    "nn.modules.module.register_module_forward_hook(lambda m, x, y: y)": "hooks of every module",
    "torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t).__enter__()": "torch's modes",
    "import threading as t, time; t.Thread(target=time.sleep, args=(99,), daemon=True).start()": "threads that go on",
    "os.nice(1)": "the priority",
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


def test_the_first_trial_of_a_worker_leaves_nothing_behind(folder: Path) -> None:
    """It imports torch and scikit-learn: that is no block's doing, and a new worker for each trial takes seconds."""
    code = (
        "from bench.plan import study; from bench.plan.machine import Machine\n"
        "from bench.sweep.worker import Job, run\n"
        f"trials = study.load({str(ROOT / 'examples' / 'rezero.toml')!r}, [0], [18]).trials\n"
        "own = next(trial for trial in trials if trial.architecture.factory and trial.trains)\n"
        "record = run(Job(1, own, Machine(), 'bench.runner:run_trial'), lambda _: None)\n"
        "print(record.status, record.environment.get('left_behind', 'nothing'))\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'examples'}", "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", code]
    said = subprocess.run(words, text=True, timeout=100, capture_output=True, env=environment, cwd=folder)
    assert said.stdout == "ok nothing\n", said.stderr


def test_a_worker_that_the_preflight_has_changed_runs_no_trial(folder: Path) -> None:
    """Only a user's own block is looked at for it: the suite's own preflight leaves the worker warm."""
    harmless = own(folder, "", name="harmless")
    harmful = own(folder, "import sys\nsys.setrecursionlimit(5000)\n", name="harmful")
    executor = Process(Settings(1, 1, 0.0, lambda *_: None, lambda: False))
    try:
        first = executor.call("os:getpid")
        for trials in ([PLAIN], [PLAIN, harmless]):
            executor.call("bench.preflight:environments", Machine(), trials)
            assert executor.call("os:getpid") == first
        executor.call("bench.preflight:environments", Machine(), [PLAIN, harmful])
        assert executor.call("os:getpid") != first
    finally:
        executor.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("deed", "words"),
    [("os._exit(3)", "ended with exit code 3"), ("__import__('ctypes').string_at(0)", r"signal 11 \(SIGSEGV\)")],
)
def test_a_block_that_ends_the_process_in_the_preflight_is_named(deed: str, words: str, folder: Path) -> None:
    harmless, harmful = own(folder, "", name="harmless"), own(folder, f"{deed}\n", name="harmful")
    executor = Process(Settings(1, 1, 0.0, lambda *_: None, lambda: False))
    try:
        with pytest.raises(ValueError, match=f"{words}.* trying architecture 'harmful:block'$"):
            executor.call("bench.preflight:environments", Machine(), [PLAIN, harmful])
        with pytest.raises(ValueError, match=r"one of the architectures 'harmful:block', 'harmless:block'$"):
            executor.call("bench.preflight:environments", Machine(), [harmless, harmful])
    finally:
        executor.close()


def test_a_module_that_is_imported_unseen_after_a_while_is_an_error(folder: Path) -> None:
    """The look before a run has not seen it; an edit of it would not be seen either."""
    (folder / "own_late.py").touch()
    text = (
        "class Harm(Base):\n    calls = 0\n    def forward(self, x):\n        Harm.calls += 1\n"
        "        if Harm.calls > 60: __import__('own_' + 'late')\n        return super().forward(x)\n"
    )
    trial = dataclasses.replace(own(folder, text, "Harm"), epochs=9)
    assert environments(Machine(), [trial])
    sys.modules.pop("own_trial_block")
    record = run(Job(1, trial, Machine(), "bench.runner:run_trial"), lambda _: None)
    assert (record.status, record.result) == ("error", {})
    assert "own_late.py in a way that the source does not show" in record.message
    assert _doubtful(record)


# What a module keeps from one trial to the next: layers, a count, and where it stands.
KEEPS = {
    "a table": ("", "made = {}\ndef conv(*a): return made.setdefault(a, nn.Conv2d(*a, bias=False))\n"),
    "a cache": ("", "@functools.lru_cache\ndef conv(*a): return nn.Conv2d(*a, bias=False)\n"),
    "a count": ("", "count = itertools.count(1)\ndef conv(*a): return nn.Conv2d(*a, padding_mode=next(count)"
                    " > 4 and 'circular' or 'zeros', bias=False)\n"),
    "a table of a helper": ("import own_kept as kept\n", "made = {}\n"),
    "a table in a folder": ("from own_kept import kept\n", "made = {}\n"),
    "a table in a package of the suite's name": ("from models import kept\n", "made = {}\n"),
}  # fmt: skip
PLACES = {"own_kept as kept": "own_kept.py", "own_kept": "own_kept/kept.py", "models": "models/kept.py"}


@pytest.mark.parametrize("kind", KEEPS)
def test_what_a_module_keeps_does_not_reach_the_next_trial(kind: str, folder: Path) -> None:
    """Neither the preflight nor other seeds: in a warm process a trial gives what it gives alone."""
    imports, keeps = KEEPS[kind]
    if imports:
        place = folder / next(file for words, file in PLACES.items() if f" {words} " in imports.replace("\n", " "))
        place.parent.mkdir(exist_ok=True)
        place.write_text(keeps)
        keeps = imports + "def conv(*a): return kept.made.setdefault(a, nn.Conv2d(*a, bias=False))\n"
    text = (
        f"import itertools\n{keeps}class Keeps(Base):\n    def __init__(self, i, o, s):\n"
        "        super().__init__(i, o, s)\n        self.c = conv(i, o, 3, s, 1)\n"
    )
    first = own(folder, text, "Keeps")
    second = replace(first, seed=1)

    def runs(trial: Trial) -> tuple[Any, ...]:
        record = run(Job(1, trial, Machine(), "bench.runner:run_trial"), lambda _: None)
        assert "left_behind" not in record.environment
        return numbers(record)

    alone = runs(second)
    environments(Machine(), [first])
    assert runs(first) != alone
    assert runs(second) == alone


@pytest.mark.parametrize("raised", ["SystemExit(7)", "GeneratorExit"])
def test_what_would_end_the_process_ends_its_trial_only(raised: str, folder: Path) -> None:
    trial = own(folder, f"class Harm(Base):\n    def forward(self, x): raise {raised}\n", "Harm")
    record = run(Job(1, trial, Machine(), "bench.runner:run_trial"), lambda _: None)
    assert (record.status, record.message.partition(":")[0]) == ("error", raised.partition("(")[0])


@pytest.mark.parametrize("from_step", [0, 60])
def test_threads_that_a_block_sets_as_it_runs_are_refused(from_step: int, folder: Path) -> None:
    text = (
        "class Harm(Base):\n    calls = 0\n    def forward(self, x):\n        Harm.calls += 1\n"
        f"        if Harm.calls > {from_step}: torch.set_num_threads(3)\n        return super().forward(x)\n"
    )
    trial = dataclasses.replace(own(folder, text, "Harm"), epochs=9)
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
