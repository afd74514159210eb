"""A trace of one step: whole, small, and listed by TensorBoard's plug-in where that is installed."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.command import serve
from bench.cost import trace
from bench.plan.checkout import ROOT

ASKED = {"architecture": "resnet", "layout": "four-stage", "width": 2, "dataset": "synthetic", "data_root": "",
         "batch_size": 32, "precision": "fp32", "device": "cpu"}  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trace.write({**ASKED, "depth": 18, "out": tmp_path_factory.mktemp("traces")})[0]


def test_trace_holds_one_step_with_its_stages(written: Path) -> None:
    with gzip.open(written, "rt") as file:
        names = [event.get("name") for event in json.load(file)["traceEvents"]]
    assert names.count("Optimizer.step#SGD.step") == 1
    assert names.count("stage: stage 4") == 1
    assert written.stat().st_size < 1_000_000


def test_the_command_prints_its_table_and_no_log(tmp_path: Path) -> None:
    """In a process of its own: the profiler writes its log past Python, to the descriptor."""
    options = ["--width", "2", "--dataset", "synthetic", "--batch-size", "32", "--device", "cpu"]
    words = [sys.executable, "-m", "bench.cost.trace", "10", *options, "--out", str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if name != "KINETO_LOG_LEVEL"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert " ms " in done.stdout.splitlines()[0]


def test_tensorboards_plug_in_lists_and_loads_it(written: Path) -> None:
    pytest.importorskip("torch_tb_profiler", reason="torch-tb-profiler is not installed")
    # In a process of its own: the plug-in warns on import, and its loader starts processes.
    code = (
        "import sys\n"
        "from torch_tb_profiler import consts\n"
        "from torch_tb_profiler.profiler import RunLoader\n"
        "import torch_tb_profiler.io.cache as cache\n"
        "folder, name = sys.argv[1:]\n"
        "match = consts.WORKER_PATTERN.match(name)\n"
        "assert match, name\n"
        "from torch_tb_profiler.profiler.data import RunProfileData\n"
        "data = RunProfileData.parse(match.group(1), None, folder + '/' + name, '')\n"
        "assert len(data.events) > 100, len(data.events)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(written.parent), written.name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("out", "words"), [("file", "error: --out"), ("file/below", "error: ")])
def test_a_file_in_the_place_of_the_folder_is_one_line(
    out: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "argv", ["trace", "18", "--out", str(tmp_path / out), "--device=cpu"])
    with pytest.raises(SystemExit) as ended:
        serve(trace.app)
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1)
    assert said.startswith(words)


def test_depth_that_cannot_be_is_refused_in_one_line() -> None:
    command = [sys.executable, "-m", "bench.cost.trace", "19"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: depth 19")
    assert done.stderr.count("\n") == 1


OWN = """
from torch import nn
class Two(nn.Module):
    def forward(self, x): return x, x
def block(in_channels, out_channels, stride): {body}
"""


@pytest.mark.parametrize(
    ("body", "options"),
    [
        ("return Two()", ["--architecture", "traced_block:block"]),
        ("raise KeyError('no')", ["--architecture", "traced_block:block"]),
        ("raise SystemExit(7)", ["--architecture", "traced_block:block"]),
        ("return 3", ["--architecture", "traced_block:block"]),
        ("", ["--architecture", "nothing_of_this_name:block"]),
        ("", ["--width", "100000000"]),
    ],
)
def test_what_cannot_be_traced_is_one_line(
    body: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "traced_block.py").write_text(OWN.format(body=body or "..."))
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("traced_block", None)
    monkeypatch.setattr(sys, "argv", ["trace", "10", *options, "--device", "cpu", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        serve(trace.app)
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n"), said.startswith("error: ")) == (2, 1, True)
