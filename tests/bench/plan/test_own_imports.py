"""A block from a repository whose packages are called as the suite's: its imports are its own, everywhere."""

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import models
import models.blocks
from bench.plan import own, study
from bench.plan.checkout import ROOT
from bench.plan.machine import Machine
from bench.plan.trial import Trial
from bench.preflight import environments
from bench.runner import run_trial
from bench.store import record
from bench.store.record import Record
from bench.sweep import footprints
from models.network import build
from models.spec import ModelSpec

# `models.blocks` and `bench.runner` are modules of the suite's, too.
REPOSITORY = {
    "block.py": """
import torch, models.layers
import models.blocks as parts
from torch import nn
from results import SCALE

class Own(nn.Module):
    def __init__(self, i, o, s):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(i, o, 3, s, 1), models.layers.Norm(o)
    def forward(self, x):
        from models.blocks import act
        return act(SCALE * self.norm(self.conv(x)))

def block(in_channels, out_channels, stride):
    \"\"\"A block that imports its own models.\"\"\"
    from bench.runner import checked
    assert parts.act is models.act
    return checked(Own(in_channels, out_channels, stride))
""",
    "models/__init__.py": "from .blocks import act\n",
    "models/blocks.py": "from torch.nn.functional import elu as act\n",
    "models/layers.py": "from torch import nn\nfrom utils import WIDTH\n"
    "class Norm(nn.BatchNorm2d):\n    width = WIDTH\n",
    "models/tower.py": "from . import blocks\nfrom block import block\ncalls = []\n"
    "def tower(in_channels, out_channels, stride):\n    from .layers import Norm\n    calls.append(Norm)\n"
    "    return block(in_channels, out_channels, stride)\n",
    "results.py": "SCALE = 1.0\n",
    "utils.py": "import models\nWIDTH = 1\n",
    "bench/__init__.py": "",
    "bench/runner.py": "def checked(module):\n    return module\n",
    "reports/readme.txt": "no modules here\n",
}
TOML = """
architecture = "{factory}"
depth = 10
seed = [0, 1]
width = 2
dataset = "synthetic"
batch_size = 64
purpose = "train"
epochs = 1
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    for name in ("block", "utils", "models.tower"):
        sys.modules.pop(name, None)
        own._checked.pop(name, None)
    for name, text in REPOSITORY.items():
        path = tmp_path / "theirs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "theirs"


def trial_of(repository: Path, factory: str = "block:block") -> Trial:
    (repository / "my.toml").write_text(TOML.format(factory=factory))
    return study.load(str(repository / "my.toml")).trials[0]


def net(trial: Trial) -> torch.nn.Module:
    own.check(trial.architecture)
    return build(ModelSpec(trial.architecture, "four-stage", 10, 2, (1, 8, 8), 4))


def suites() -> dict[str, Any]:
    names = ("models", "bench", "results", "reports")
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] in names}


def test_its_imports_are_its_own_and_the_suites_stay_the_suites(repository: Path) -> None:
    trial, before = trial_of(repository), suites()
    assert environments(Machine(), [trial])["synthetic"]["data"]
    assert run_trial(trial, Machine(), lambda _: None).status == "ok"
    assert suites() == before
    assert sys.modules["models"] is models
    assert not hasattr(models, "layers")
    block = net(trial).blocks[0]
    assert sys.modules[type(block.norm).__module__].__file__ == str(repository / "models" / "layers.py")
    # The user's own Python finds no byte code there with our names in it.
    assert not list((repository / "models").rglob("*.pyc"))


def test_their_classes_can_be_pickled(repository: Path) -> None:
    norm = net(trial_of(repository)).blocks[0].norm
    assert type(pickle.loads(pickle.dumps(norm))) is type(norm)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_block_imports_its_own_in_its_forward_pass(repository: Path) -> None:
    block, x = net(trial_of(repository)).blocks[0].eval(), torch.ones(2, 2, 8, 8)
    compiled = torch.compile(block, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), block(x))
    assert not hasattr(models.blocks, "act")


def test_a_block_may_lie_in_such_a_package_itself(repository: Path) -> None:
    trial = trial_of(repository, "models.tower:tower")
    assert environments(Machine(), [trial])["synthetic"]["data"]
    # What it keeps for itself is no reason to start another process.
    before = footprints.read()
    assert len(net(trial).blocks) == 4
    assert footprints.left(before) == ""
    assert sys.modules["models"] is models


@pytest.mark.parametrize("factory", ["models.blocks:act", "bench.runner:checked", "results:SCALE"])
def test_a_module_that_the_suite_has_too_cannot_be_named(factory: str, repository: Path) -> None:
    with pytest.raises(ValueError, match=r"give \w+\.py another name, or have the study name a file") as caught:
        environments(Machine(), [trial_of(repository, factory)])
    assert str(repository) in str(caught.value)


def test_each_of_their_modules_makes_another_trial(repository: Path) -> None:
    before = trial_of(repository).digest
    for name in REPOSITORY:
        if name in ("models/tower.py", "reports/readme.txt"):
            continue  # which are not imported
        text = (repository / name).read_text()
        (repository / name).write_text(text + "# edited\n")
        assert trial_of(repository).digest != before, name
        (repository / name).write_text(text)
    (repository / "models" / "tower.py").write_text("# edited\n")
    assert trial_of(repository).digest == before


def test_what_their_folder_has_not_is_the_suites(repository: Path) -> None:
    """A block made from the suite's; a folder of that name without modules, of weights say, is no package."""
    for path in (repository / "models").iterdir():
        path.unlink()
    (repository / "models" / "weights.pt").touch()
    (repository / "block.py").write_text(
        "from models.blocks import Block\nfrom models.spec import ARCHITECTURES\n"
        "def block(in_channels, out_channels, stride):\n"
        "    return Block(ARCHITECTURES['resnet'], in_channels, out_channels, out_channels, stride)\n"
    )
    assert type(net(trial_of(repository)).blocks[0]) is models.blocks.Block


def test_a_study_in_a_folder_below_the_packages(repository: Path) -> None:
    """As with PYTHONPATH=repository: what the user has stands before what the suite has."""
    sys.path.append(str(repository))
    below = repository / "experiments"
    below.mkdir()
    (repository / "block.py").rename(below / "block.py")
    trial = trial_of(below)
    assert environments(Machine(), [trial])
    for name in ("models/blocks.py", "results.py", "bench/runner.py"):
        with (repository / name).open("a") as file:
            file.write("# edited\n")
        edited = trial_of(below).digest
        assert edited != trial.digest, name
        trial = trial_of(below)


def test_a_package_without_an_init_file(repository: Path) -> None:
    (repository / "models" / "__init__.py").unlink()
    text = (repository / "block.py").read_text().replace("models.act", "parts.act")
    (repository / "block.py").write_text(text)
    assert environments(Machine(), [trial_of(repository)])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("from models.layers import Missing", "cannot import name 'Missing' from 'models.layers'"),
        ("import models.missing", "No module named 'models.missing'"),
        ("import importlib; importlib.import_module('models.tower')", "tower.py in a way that the source does not"),
        ("import importlib; importlib.import_module(f'models.{\"tower\"}')", "tower.py in a way that the source does"),
    ],
)
def test_faults_are_told_in_the_users_names(line: str, words: str, repository: Path) -> None:
    with (repository / "block.py").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match="block:block") as caught:
        environments(Machine(), [trial_of(repository)])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def run(repository: Path, *words: str) -> list[Record]:
    """`bench run` of the repository's study from the checkout, as `make ablation STUDY=...` does; its records."""
    (repository / "my.toml").write_text(TOML.format(factory="block:block"))
    folder = repository.parent / "records"
    command = (sys.executable, "-m", "bench", "run", str(repository / "my.toml"), f"--records={folder}", *words)
    there = {**os.environ, "OMP_NUM_THREADS": "1"}
    options = ("--device=cpu", "--no-live")
    done = subprocess.run([*command, *options], cwd=ROOT, env=there, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    good, bad = record.load(folder / "my")
    assert not bad
    return [found for _, found in good]


@pytest.mark.slow
def test_two_workers_and_a_resume_that_notices_an_edited_helper(repository: Path) -> None:
    first = run(repository, "--workers=2")
    assert [found.status for found in first] == ["ok", "ok"]
    codes = {found.trial.architecture.code for found in first}
    assert codes == {trial_of(repository).architecture.code}
    assert {found.started for found in run(repository, "--workers=2")} == {found.started for found in first}
    (repository / "models" / "blocks.py").write_text("from torch.nn.functional import relu as act\n")
    second = run(repository, "--executor=inline")
    assert {found.trial.architecture.code for found in second} - codes == {trial_of(repository).architecture.code}
    losses = [{found.result["train_loss"] for found in records} for records in (first, second)]
    assert losses[0] != losses[1]
