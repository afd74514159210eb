"""Each command of the README is run here, or stands in the list of those that take longer than a minute."""

import datetime
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from test_docs import commands

from bench.plan.checkout import ROOT

BY_HAND = tomllib.loads((ROOT / "tests" / "harness" / "by_hand.toml").read_text(encoding="utf-8"))["command"]
# What each prints, or what it writes.
RUN = {"make": "  ablation ", "make against STUDY=digits B=OTHER_RECORDS": "reports/html/digits-against.html"}
PUBLISHED = ROOT / "results" / "published" / "digits"


def test_each_command_is_run_or_listed() -> None:
    listed = [row["typed"] for row in BY_HAND]
    assert sorted([*listed, *RUN]) == sorted(set(commands(ROOT / "README.md")))


def test_each_date_is_one_or_is_owned_up_to() -> None:
    for row in BY_HAND:
        assert row["last"] == "never" or datetime.date.fromisoformat(row["last"])
        assert bool(row.get("took")) == (row["last"] != "never"), row["typed"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("command", RUN)
def test_a_short_command_does_what_it_says(command: str, tmp_path: Path) -> None:
    """In a folder of its own, on the published records."""
    (records,) = PUBLISHED.iterdir()
    for folder in ("results/records", "OTHER_RECORDS"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "digits").symlink_to(records)
    made_by = ("MAKELEVEL", "MAKEFLAGS", "MFLAGS")
    environment = {name: text for name, text in os.environ.items() if name not in made_by}
    (tmp_path / "Makefile").symlink_to(ROOT / "Makefile")
    words = [*shlex.split(command)[1:], "VENV=none", f"PYTHON={sys.executable}"]
    done = subprocess.run(
        ["make", *words],
        cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert RUN[command] in done.stdout
