"""`python -m reports`: one page from any process, refusals in one line, no verdict cut by a narrow terminal."""

import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import made_up
import pytest
from made_page import small, source
from made_up import study_records

from bench.command import interpreter, serve
from bench.plan.checkout import ROOT
from reports import __main__ as command_line
from reports.page import context, first, render, verdicts
from reports.page.context import Source
from reports.page.inline import visible


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    made_up.write(tmp_path / "records" / "made-up", study_records(("plain", "resnet"), (18, 258), range(2), cost=False))
    study = tmp_path / "made-up.toml"
    study.write_text('architecture = ["plain", "resnet"]\ndepth = [18, 258]\nseed = [0, 1]\nepochs = 5\nlr = 0.05\n')
    command = [sys.executable, "-m", "reports", str(study), "--records", str(tmp_path / "records")]
    command += ["--html", str(tmp_path / "html"), "--out", str(tmp_path / "out"), "--tables"]
    # Another order of hashes, another clock: nothing of either may reach the page.
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "report: " in done.stdout
    assert "plain-degrades" in done.stdout
    # Tables and figures are made meanwhile, and told first.
    assert re.match(rf"8 trainings, 2 diverged; 0 costs; \d+ files in {tmp_path}/out/made-up\n", done.stdout)
    assert {"trials.csv", "train-error-by-depth.png", "verdicts.json"} <= {
        file.name for file in (tmp_path / "out").rglob("*")
    }
    here = render.page(command_line.gather(str(study), tmp_path / "records"))
    # But for the interpreter, which commands on the page name.
    made = (tmp_path / "html" / "made-up.html").read_text(encoding="utf-8")
    assert made == here.replace("python -m bench", f"{shlex.quote(interpreter())} -m bench")


def test_requests_that_cannot_be_served_are_one_line_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "records" / "digits").mkdir(parents=True)
    (tmp_path / "claims.toml").write_text('claims = ["nonsense"]\narchitecture = "plain"\ndepth = 18\nseed = 0')
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["no-such-study"],
        ["--published"],
        [str(tmp_path / "claims.toml"), "--records", str(tmp_path / "records")],
        ["digits", "--records", str(tmp_path / "nowhere")],
        ["digits", "--records", str(tmp_path / "nowhere"), "--tables"],
        ["digits", "--records", str(tmp_path / "records"), "--tables", "--json"],
        ["digits", "--records", str(tmp_path / "records"), "--html", str(tmp_path / "file")],
    ):
        monkeypatch.setattr(sys, "argv", ["reports", *arguments])
        with pytest.raises(SystemExit) as ended:
            serve(command_line.app)
        said = capsys.readouterr()
        assert ended.value.code == 2
        assert re.fullmatch(r"error: [^\n]+\n", said.err)
        assert said.out == ""


def test_the_command_on_the_page_is_one_that_the_bench_knows(made: Source) -> None:
    from bench.__main__ import run
    from bench.asked import chosen

    assert {"study", "only", "seeds", "records"} <= set(inspect.signature(run).parameters)
    trial = made.study.trials[3]
    assert chosen(made.study, [trial.digest]).trials == (trial,)
    words = context.command(made, made.study.name, trial.digest, 77).split()
    assert words[words.index("--seeds") + 1] == "77,"


@pytest.mark.parametrize("columns", [20, 40, 60, 99])
def test_a_verdict_is_short_and_keeps_its_name_and_number_on_a_narrow_terminal(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    found = source(small())
    lines = command_line.verdict_lines(found)
    command_line.print_verdicts(lines)
    out = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().out)
    shown = "".join(out.split())
    names = verdicts.labels(found.frames)
    whole = "..."
    for claim, findings in verdicts.judged_here(found.study, found.findings):
        for finding in first.told(findings, names):
            view = verdicts.finding_view(finding, names, found.study.name)
            for words in (claim.id, view.verdict, view.effect):
                assert "".join(words.split()) in shown
            whole += visible(f" {view.reason} {view.beside} {first.called(finding.subject, names)} : {view.effect}")
    why = [line for line in out.splitlines() if line.startswith("  ")]
    if columns >= 40:  # longer than any word
        assert {word.rstrip(":") for line in why for word in line.split()} <= {
            word.rstrip(":") for word in whole.split()
        }
    if columns >= 80:
        heads = sum(line[0] in "✓✗?" for line in out.splitlines())
        assert len(why) <= 2 * heads
