"""A study in tasks that know nothing of each other, as in a job array: the folders of records, copied into one, are the
records of one run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.asked import chosen
from bench.plan.checkout import ROOT
from bench.plan.study import load
from bench.store import record
from bench.sweep import run as sweep
from tests.harness import chaos, rehearsal

MERGE = 'mkdir -p "$2" && cp -R "$1"/*/* "$2"/'
TINY = """
architecture = ["plain", "resnet"]
depth = [18, 34]
seed = 0
width = 2
dataset = "synthetic"
epochs = 1
purpose = "train"
"""


def merged(folder: Path) -> Path:
    subprocess.run(["sh", "-c", MERGE, "sh", str(folder / "array"), str(folder / "records")], check=True)
    return folder / "records"


def test_two_folders_made_apart_are_one_run_when_copied_together(tmp_path: Path) -> None:
    study = rehearsal.small_study()
    digests = [trial.digest for trial in study.trials]
    for task in range(2):
        part = chosen(study, digests[task::2])
        sweep.run(part, rehearsal.options(tmp_path / "array" / str(task), executor="inline"), whole=study)
    records = merged(tmp_path)
    assert rehearsal.table(records) == chaos.reference(tmp_path / "whole")
    names = [
        sorted(path.name for path in (folder / "rehearsal").glob("*.json")) for folder in (records, tmp_path / "whole")
    ]
    assert names[0] == names[1]
    again = sweep.run(study, rehearsal.options(records, executor="inline"))
    assert (again.code, again.done, again.ended) == (0, len(digests), {})


def test_the_merge_is_the_one_that_is_told() -> None:
    said = MERGE.replace('"$2"', "results/records").replace('"$1"', "results/array")
    for place in ("examples/slurm/array.sbatch", "docs/clusters.md"):
        assert said.removesuffix("/") in (ROOT / place).read_text()


@pytest.mark.slow
def test_the_array_example_runs_every_training_once(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    words = [sys.executable, "-m", "bench", "run", str(tmp_path / "tiny.toml"), "--no-live"]
    settings = {
        **os.environ, "PYTHON": sys.executable, "STUDY": str(tmp_path / "tiny.toml"), "SLURM_ARRAY_TASK_COUNT": "2",
        "RECORDS": str(tmp_path / "array"),
    }  # fmt: skip
    for task in "01":
        script = ["sh", str(ROOT / "examples/slurm/array.sbatch")]
        done = subprocess.run(
            script, cwd=ROOT, env={**settings, "SLURM_ARRAY_TASK_ID": task}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert len(list((tmp_path / "array" / task / "tiny").glob("*.json"))) == 2
    subprocess.run(
        [*words, "--executor", "inline", "--records", str(tmp_path / "whole")],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    tables = []
    for folder in (merged(tmp_path), tmp_path / "whole"):
        good, bad = record.load(folder / "tiny")
        assert not bad
        tables.append({each.trial.digest: each.result["train_loss"] for _, each in good})
    assert len(tables[0]) == 4
    assert tables[0] == tables[1]


@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell")
@pytest.mark.parametrize("name", ["array", "ray"])
def test_the_examples_are_sound_shell(name: str) -> None:
    subprocess.run(["sh", "-n", str(ROOT / "examples" / "slurm" / f"{name}.sbatch")], check=True)


def test_digests_are_those_of_the_records(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    words = [sys.executable, "-m", "bench", "show", str(tmp_path / "tiny.toml"), "--digests"]
    lines = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    trials = load(str(tmp_path / "tiny.toml")).trials
    assert [line.split()[0] for line in lines] == [trial.digest for trial in trials]
    assert all(f"{trial.architecture.name} {trial.depth}" in line for line, trial in zip(lines, trials, strict=True))
