"""Options that name a folder or a study's file, in every command that takes them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_up import study_records, write
from typer.testing import CliRunner

from bench.asked import folder, study_name
from bench.plan.checkout import ROOT
from reports import __main__ as reports

STUDY = 'architecture = ["plain", "resnet"]\ndepth = [18, 66]\nseed = [0, 1, 2]\nepochs = 5\nlr = 0.05\n'


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell expands it in "--records=~/mine", or where make hands it on."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder("--records")("~/mine") == str(tmp_path / "mine")
    assert study_name("~/my.toml") == str(tmp_path / "my.toml")
    assert study_name("digits") == "digits"
    with pytest.raises(ValueError, match="no such home folder"):
        folder("--data-root")("~nobody-of-this-name/data")


@pytest.mark.parametrize("module", ["bench run", "bench show", "bench tune", "results", "reports"])
@pytest.mark.parametrize(
    ("given", "says"), [("", "must name a folder"), ("a-file", "'a-file' is a file, not a folder")]
)
def test_a_folder_that_is_none_is_refused_in_one_line(module: str, given: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("")
    command = [sys.executable, "-m", *module.split(), "digits", f"--records={given}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == f"error: --records {says}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a-file"], "nothing was made"


def test_another_folder_gets_its_own_verdicts(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(STUDY)
    write(tmp_path / "records" / "mine", study_records(("plain", "resnet"), (18, 66), range(3), study="mine"))
    for out in ("one", "two"):
        asked = [str(tmp_path / "mine.toml"), f"--records={tmp_path / 'records'}", f"--html={tmp_path / 'html'}"]
        done = CliRunner().invoke(reports.app, [*asked, f"--out={tmp_path / out}"])
        assert done.exit_code == 0, done.output
        assert (tmp_path / out / "mine" / "verdicts.json").is_file()


def test_two_tasks_at_once_are_refused() -> None:
    done = CliRunner().invoke(reports.app, ["digits", "--json", "--seeds-wanted"])
    assert str(done.exception) == "--json and --seeds-wanted do not go together: each is a task of its own"
    done = CliRunner().invoke(reports.app, ["digits", "--published"])
    assert "--published and a study do not go together" in str(done.exception)
