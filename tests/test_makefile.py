"""What a user types after `make` is what runs: no variable is ignored, no value is taken apart by the shell."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.plan.checkout import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*words: str) -> "subprocess.CompletedProcess[str]":
    """What would run."""
    command = ["make", "-n", "VENV=none", f"PYTHON={sys.executable}", *words]
    # `make test` hands its own level and flags on: its child would tell which folder it enters.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")
    }
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


def words_of_run(done: "subprocess.CompletedProcess[str]") -> list[str]:
    (line,) = [line for line in done.stdout.splitlines() if "-m bench run" in line]
    return shlex.split(line.partition("; code=")[0])


def test_the_help_fits_a_terminal_and_tells_users_targets_from_developers() -> None:
    done = subprocess.run(["make", "VENV=none"], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    users, developers = done.stdout.split("for those who change the suite:")
    named = set(re.findall(r"^  ([a-z0-9.-]+) ", users + developers, re.MULTILINE))
    phony = re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0]
    assert named | {"help"} == set(phony.replace("\\\n", " ").split())
    for target in ("ablation", "list", "show", "summary", "tune"):
        assert f"  {target} " in users
    for target in ("test", "check", "reports-published"):
        assert f"  {target} " in developers


@pytest.mark.parametrize("word", ["SEED=3", "SEED:=3", "SEED=3 4=5", "seeds=3"])
def test_a_misspelt_variable_is_refused_with_the_known_ones(word: str) -> None:
    done = make("ablation", "DEVICE=cpu", word)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"unknown variable {word[:4].rstrip('=')}" in done.stderr
    assert "SEEDS" in done.stderr
    assert done.stderr.count("\n") == 1


def test_every_variable_that_the_makefile_reads_is_known() -> None:
    text = (ROOT / "Makefile").read_text()
    known = set(re.findall(r"^KNOWN := (.*)$", text, re.MULTILINE)[0].split())
    read = set(re.findall(r"\$\((?:or \$\()?([A-Z_]+)[),]", text)) | set(
        re.findall(r"^([A-Z_]+) \?=", text, re.MULTILINE)
    )
    own = {
        "PY",
        "HOLD",
        "OURS",
        "READY",
        "READY_DEV",
        "AUTO",
        "MORE_SEEDS",
        "RUN_OPTIONS",
        "TUNE_OPTIONS",
        "KNOWN",
        "GIVEN",
        "UNKNOWN",
        "RUN",
    }
    assert read - known <= {*own, "MAKEOVERRIDES", "MAKECMDGOALS"}
    assert (
        make("help", *(f"{name}=x y" for name in known - {"VENV", "PYTHON"}), "RAY_ADDRESS=HEAD:6379").returncode == 0
    )


@pytest.mark.parametrize(
    "words", ["bench STUDY=digits", "bench-cpu DEVICE=cuda", "test WORKERS=2", "ablation bench SEEDS=1"]
)
def test_a_variable_that_a_target_does_not_take_is_refused_with_those_that_it_takes(words: str) -> None:
    *_, target, given = words.split()
    done = make(*words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert f"make {target} does not take {given.partition('=')[0]}; it takes: " in done.stderr
    assert done.stderr.count("\n") == 1


def takes() -> list[tuple[str, str]]:
    """Every target, and a variable that it takes."""
    text = (ROOT / "Makefile").read_text()
    run = re.findall(r"^RUN := (.*)$", text, re.MULTILINE)[0]
    rows = dict(re.findall(r"^TAKES_([a-z-]+) := (.*)$", text, re.MULTILINE))
    del rows["help"]
    rows["tune"] = run.replace("SEEDS DEPTHS ", "")
    return [(target, name) for target, names in rows.items() for name in names.replace("$(RUN)", run).split()]


@pytest.mark.parametrize(("target", "name"), takes())
def test_a_variable_that_a_target_takes_is_passed_on(target: str, name: str) -> None:
    needed = {"tune": "STUDY", "bench-compare": "BASE", "against": "B", "other": "TORCH"}.get(target, name)
    done = make(target, f"{name}=1357", *([f"{needed}=2468"] if needed != name else []))
    assert done.returncode == 0, done.stderr
    shown = done.stdout.replace("2468", "")
    assert "1357" in shown or (name == "DOWNLOAD" and "--download" in shown)


@pytest.mark.parametrize("value", ["0, 1", "0;touch HACK", "it's", '"$$(id)"', "a  b", "`id`", "~/x"])
def test_a_value_reaches_the_command_as_one_word(value: str) -> None:
    names = {
        variable: f"--{variable.lower().replace('_', '-')}"
        for variable in ("SEEDS", "DEPTHS", "DEVICE", "TIME_LIMIT", "WORKERS", "THREADS", "DATA_ROOT", "EXECUTOR")
    }
    found = words_of_run(make("ablation", *(f"{name}={value}" for name in names)))
    for option in names.values():
        assert found[found.index(option) + 1] == value.replace("$$", "$")
    (line,) = [line for line in make("profile", f"DEPTH={value}").stdout.splitlines() if "bench.cost.trace" in line]
    assert shlex.split(line.partition("bench.cost.trace")[2])[0] == value.replace("$$", "$")


def test_seeds_auto_goes_on_while_seeds_are_wanted(tmp_path: Path) -> None:
    """A python that keeps what it is called with, and wants seeds twice: the same ones the second time, so it ends."""
    fake = tmp_path / "python"
    fake.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\n'
        'case "$*" in *--seeds-wanted) echo "--seeds=3,4, --only=ab";; esac\n'
    )
    fake.chmod(0o755)
    words = ["make", "VENV=none", f"PYTHON={fake}", "ablation", "STUDY=digits", "SEEDS=auto", "DEPTHS=18"]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    first, asked, more, again, page = (tmp_path / "calls").read_text().splitlines()
    assert first.startswith("-m bench run digits")
    assert "auto" not in first.replace("--device auto", "")
    assert "--depths 18" in first
    assert asked == again == "-m reports digits --seeds-wanted"
    assert more.endswith("--seeds=3,4, --only=ab")
    assert page.startswith("-m reports digits --tables --next")


@pytest.mark.parametrize(("value", "asked"), [("1", True), ("yes", True), ("0", False), ("no", False), ("", False)])
def test_download_can_be_said_no_to(value: str, asked: bool) -> None:
    assert ("--download" in words_of_run(make("ablation", f"DOWNLOAD={value}"))) is asked


def test_the_tests_of_ray_lie_where_make_looks_for_them() -> None:
    """Loading every test, to leave out all but these, took half a minute."""
    (line,) = [line for line in make("test-ray").stdout.splitlines() if "pytest" in line]
    folder = ROOT / shlex.split(line)[-3]
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if re.search(r"mark\.ray\b", path.read_text())]
    assert {path.name for path in marked} == {"test_ray_cluster.py", "test_ray_sbatch.py", "test_run.py"}
    assert all(path.is_relative_to(folder) for path in marked)
