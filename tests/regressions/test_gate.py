"""The gate's own logic, on runs made up for it; the benchmarks themselves are not run here."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import regressions
from bench.regressions import CALIBRATION, Run, compare, file_name, interpreter_and_checkout, merged, read

MACHINE = {
    "device": "cuda", "device_name": "NVIDIA H200", "cores": 16, "timer": "perf_counter", "torch": "2.15.0",
    "python": "3.11.7",
}  # fmt: skip


def run(machine: dict[str, Any] | None = None, **seconds: float) -> Run:
    return Run({**MACHINE, **(machine or {})}, {CALIBRATION: 1.0, **seconds})


def test_same_pace_passes_on_a_machine_twice_as_slow() -> None:
    slow = Run(MACHINE, {CALIBRATION: 2.0, "step": 6.0, "build": 2.1})
    found = compare(run(step=3.0, build=1.0), slow)
    assert found.faults == []
    assert [(name, round(ratio, 3)) for name, _, _, ratio in found.rows] == [("build", 1.05), ("step", 1.0)]


def test_a_quarter_more_fails_and_just_under_passes() -> None:
    assert compare(run(step=1.0), run(step=1.249)).faults == []
    assert compare(run(step=1.0), run(step=1.26)).faults == ["step is 1.26 times what it was"]
    assert compare(run(step=1.0), run(step=1.26), threshold=0.3).faults == []


def test_a_slowdown_is_seen_though_the_whole_machine_was_faster() -> None:
    fast = Run(MACHINE, {CALIBRATION: 0.5, "step": 0.9})
    assert compare(run(step=1.0), fast).faults == ["step is 1.80 times what it was"]


def test_a_benchmark_that_vanished_fails_and_a_new_one_does_not() -> None:
    found = compare(run(step=1.0, build=1.0), run(step=1.0, forward=1.0))
    assert found.faults == ["build vanished"]
    assert [row[0] for row in found.rows] == ["step"]


def test_comparing_nothing_fails() -> None:
    assert compare(run(), run(step=1.0)).faults == ["nothing was compared"]


def test_no_calibration_fails() -> None:
    bare = Run(MACHINE, {"step": 1.0})
    assert compare(bare, run(step=1.0)).faults == ["no calibration in one of the runs"]


@pytest.mark.parametrize(
    "other", [{"device_name": "NVIDIA H100"}, {"device": "cpu"}, {"cores": 8}, {"timer": "process_time"}]
)
def test_unlike_devices_are_refused(other: dict[str, Any]) -> None:
    found = compare(run(step=1.0), run(other, step=1.0))
    assert len(found.faults) == 1
    assert found.faults[0].startswith("unlike devices")
    assert found.rows == []


def test_another_torch_on_the_same_device_is_compared() -> None:
    assert compare(run(step=1.0), run({"torch": "2.16.0", "python": "3.12.1"}, step=1.0)).faults == []


def test_not_a_number_fails() -> None:
    assert compare(run(step=1.0), run(step=float("nan"))).faults


def test_turns_are_calibrated_each_by_itself() -> None:
    """The second turn met a machine half as fast: its pace, not its seconds, is what counts."""
    turns = [Run(MACHINE, {CALIBRATION: 1.0, "step": 3.3}), Run(MACHINE, {CALIBRATION: 2.0, "step": 6.0})]
    assert merged(turns).seconds == {CALIBRATION: 1.0, "step": 3.0}


def test_file_name_holds_device_and_versions_and_no_folder() -> None:
    name = file_name({**MACHINE, "device_name": "AMD EPYC 9/x (ES)", "torch": "2.15.0+cu132"})
    assert name == "cuda-AMD_EPYC_9_x_ES_-torch-2.15.0+cu132-python-3.11.7.json"


def saved(path: Path, **seconds: float) -> Path:
    """A file as pytest-benchmark writes it, as far as it is read."""
    benchmarks = [{"name": n, "stats": {"min": s, "mean": 9.0}} for n, s in {CALIBRATION: 1.0, **seconds}.items()]
    path.write_text(json.dumps({"machine_info": {"node": "x", "suite": MACHINE}, "benchmarks": benchmarks}))
    return path


def test_read_takes_the_fastest_round(tmp_path: Path) -> None:
    assert read(saved(tmp_path / "a.json", step=0.25)) == run(step=0.25)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"benchmarks": [], "machine_info": {}}'])
def test_read_refuses_other_files_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="is not a run of these benchmarks") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="cannot read"):
        read(tmp_path / "none.json")


def serve(
    monkeypatch: pytest.MonkeyPatch, folder: Path, runs: list[dict[str, float]], *arguments: str
) -> tuple[int, list[str]]:
    """The command with the benchmarks' runs planted: its exit code, and which interpreters ran in what order."""
    used: list[str] = []

    def planted(python: str, checkout: Path, target: Path, device: str, only: str = "") -> Run:
        used.append(python)
        return read(saved(target, **runs[len(used) - 1]))

    monkeypatch.setattr(regressions, "run", planted)
    monkeypatch.setattr(sys, "argv", ["regressions", "--dir", str(folder), *arguments])
    with pytest.raises(SystemExit) as caught:
        regressions.main()
    return int(caught.value.code or 0), used


def test_first_run_saves_a_baseline_and_later_ones_are_held_against_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert serve(monkeypatch, tmp_path, [{"step": 1.0}])[0] == 0
    kept = tmp_path / file_name(MACHINE)
    assert read(kept) == run(step=1.0)
    assert serve(monkeypatch, tmp_path, [{"step": 1.1}])[0] == 0
    assert serve(monkeypatch, tmp_path, [{"step": 1.5}])[0] == 1
    assert read(kept) == run(step=1.0)
    assert serve(monkeypatch, tmp_path, [{"step": 1.5}], "--threshold", "0.6")[0] == 0


def test_named_baseline_that_is_missing_is_refused_before_any_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, used = serve(monkeypatch, tmp_path, [], "--base", str(tmp_path / "none.json"))
    assert (code, used) == (2, [])
    assert capsys.readouterr().err.startswith("error: cannot read")


def test_two_interpreters_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, slow = {"step": 1.0}, {"step": 1.4}
    code, used = serve(monkeypatch, tmp_path, [fast, slow] * 3, "--against", "otherpython")
    assert code == 1
    assert used == ["otherpython", sys.executable] * 3
    assert serve(monkeypatch, tmp_path, [slow, fast] * 3, "--against", "otherpython")[0] == 0


def test_folder_is_another_checkout_if_it_has_the_benchmarks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no tests/regressions"):
        interpreter_and_checkout(str(tmp_path))
    assert interpreter_and_checkout(str(regressions.ROOT)) == (sys.executable, regressions.ROOT)


def test_command_helps_without_torch() -> None:
    lines = (
        "import sys",
        "sys.argv = ['x', '--help']",
        "import bench.regressions as regressions",
        "try: regressions.main()",
        "except SystemExit: pass",
        "assert 'torch' not in sys.modules",
    )
    command = [sys.executable, "-c", "\n".join(lines)]
    assert subprocess.run(command, capture_output=True, cwd=regressions.ROOT, check=False).returncode == 0
