"""A user's own blocks for tests: their source, a trial of it, and what the trial gave."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.plan import study
from bench.plan.checkout import ROOT
from bench.plan.machine import Machine
from bench.plan.trial import Trial, architecture
from bench.runner import run_trial
from bench.store.record import Record

EXAMPLES = ROOT / "examples"

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


# A study and its block in a folder outside the tree, as a user has them.

WHOLE = "from torch import nn\ndef {name}(spec): return nn.Sequential(nn.Flatten(), nn.Linear(64, spec.classes))\n"


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("rezero", "own_block"):
        sys.modules.pop(name, None)
    for name in ("rezero.py", "rezero.toml"):
        shutil.copy(EXAMPLES / name, tmp_path)
    return tmp_path


def command(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = (sys.executable, *words)
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def write(outside: Path, text: str) -> list[Trial]:
    (outside / "own_block.py").write_text("import torch\nfrom torch import nn\n" + text)
    toml = 'architecture = "own_block:block"\ndepth = 18\nseed = 0\npurpose = "train"\ndataset = "synthetic"\n'
    (outside / "mine.toml").write_text(toml)
    return list(study.load(str(outside / "mine.toml")).trials)


def started(
    folder: Path, cwd: Path, module: str = "block", function: str = "net"
) -> "subprocess.CompletedProcess[str]":
    """`bench run` of a study beside the user's file, from another working folder."""
    toml = f'architecture = "{module}:net"\ndepth = 18\nseed = 0\npurpose = "train"\ndataset = "synthetic"\n'
    (folder / "own.toml").write_text(toml)
    cwd.mkdir(exist_ok=True)
    words = ("run", str(folder / "own.toml"), "--workers=1", f"--records={folder / 'records'}", "--device=cpu")
    return command("-m", "bench", *words, cwd=cwd)
