"""The gate's own logic, on runs made up for it; the benchmarks themselves are not run here."""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.regressions import gate as regressions
from tests.regressions.gate import Content, Run, Side, compare, file_name, interpreter_and_checkout, merged, read, times

MACHINE = {
    "device": "cuda", "device_name": "NVIDIA H200", "cores": 16, "timer": "perf_counter", "calibration": "5f3c",
    "torch": "2.15.0", "python": "3.11.7",
}  # fmt: skip


def run(machine: dict[str, Any] | None = None, unit_s: float = 1.0, **in_units: float) -> Run:
    return Run({**MACHINE, **(machine or {})}, in_units, unit_s)


def content(calibrations: Sequence[float] = (1.0, 7.0), **seconds: float) -> Content:
    """As pytest-benchmark writes it, as far as it is read."""
    benchmarks = [
        {"name": n, "stats": {"min": s, "mean": 9.0}, "extra_info": {"calibration_s": list(calibrations)}}
        for n, s in seconds.items()
    ]
    return {"machine_info": {"node": "x", "suite": MACHINE}, "benchmarks": benchmarks}


def test_same_pace_passes_on_a_machine_twice_as_slow() -> None:
    fast, slow = content(step=3.0, build=1.0), content((2.0, 9.0), step=6.0, build=2.1)
    found = compare(times(fast), times(slow))
    assert found.faults == []
    assert [(name, round(ratio, 3)) for name, _, _, ratio in found.rows] == [("build", 1.05), ("step", 1.0)]


def test_a_quarter_more_fails_and_just_under_passes() -> None:
    assert compare(run(step=1.0), run(step=1.249)).faults == []
    found = compare(run(step=1.0), run(step=1.26))
    assert (found.faults, found.slower) == (["step is 1.26 times what it was"], ["step"])
    assert compare(run(step=1.0), run(step=1.26), threshold=0.3).faults == []


def test_a_slowdown_is_seen_though_the_whole_machine_was_faster() -> None:
    found = compare(times(content(step=1.0)), times(content((0.5, 0.7), step=0.9)))
    assert found.faults == ["step is 1.80 times what it was"]


def test_sides_that_took_turns_are_compared_in_seconds_at_their_best() -> None:
    """The other side's Python runs the calibration in half the time: its unit is smaller, its step is not faster."""
    theirs, ours = run(unit_s=0.5, step=6.0), run(unit_s=1.0, step=3.0)
    assert compare(theirs, ours, seconds=True).rows == [("step", 3.0, 3.0, 1.0)]
    assert compare(ours, theirs).faults


def test_a_benchmark_that_vanished_fails_and_a_new_one_does_not() -> None:
    found = compare(run(step=1.0, build=1.0), run(step=1.0, forward=1.0))
    assert (found.faults, found.slower) == (["build vanished"], [])
    assert [row[0] for row in found.rows] == ["step"]


def test_comparing_nothing_fails() -> None:
    assert compare(run(), run(step=1.0)).faults == ["nothing was compared"]


@pytest.mark.parametrize(
    "other",
    [{"device_name": "NVIDIA H100"}, {"device": "cpu"}, {"cores": 8}, {"timer": "process_time"}, {"calibration": "0"}],
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


def test_of_several_runs_the_fastest_in_calibrated_time_counts() -> None:
    """The second met a machine half as fast, and was the faster: its pace, not its seconds, is what counts."""
    both = merged([content(step=3.3, build=1.0), content((2.0,), step=6.0)])
    assert times(both).times == {"step": 3.0, "build": 1.0}
    assert times(both).unit_s == 1.0


def test_file_name_holds_device_and_versions_and_no_folder() -> None:
    name = file_name({**MACHINE, "device_name": "AMD EPYC 9/x (ES)", "torch": "2.15.0+cu132"})
    assert name == "cuda-AMD_EPYC_9_x_ES_-torch-2.15.0+cu132-python-3.11.7.json"


def test_read_takes_the_fastest_round_and_the_fastest_calibration(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content((4.0, 0.5), step=0.25)))
    assert times(read(path)) == run(unit_s=0.5, step=0.5)


OLD = '{"benchmarks": [{"name": "step", "stats": {"min": 1}}], "machine_info": {"suite": {}}}'


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"benchmarks": [], "machine_info": {}}', OLD])
def test_read_refuses_other_files_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a run of these benchmarks") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="cannot read"):
        read(tmp_path / "none.json")


def serve(
    monkeypatch: pytest.MonkeyPatch, folder: Path, measure: Callable[[str, int], dict[str, float]], *arguments: str
) -> tuple[int, list[tuple[str, tuple[str, ...]]]]:
    """The command with the benchmarks' times planted.

    Args:
        measure: Of the interpreter and the number of its runs so far, the seconds by benchmark.

    Returns:
        The exit code, and which interpreters ran in what order, with the benchmarks that they were asked for.
    """
    used: list[tuple[str, tuple[str, ...]]] = []

    def planted(side: Side, only: str = "", names: Sequence[str] = ()) -> Content:
        seconds = measure(side.python, sum(python == side.python for python, _ in used))
        used.append((side.python, tuple(names)))
        return content(**{n: s for n, s in seconds.items() if only in n and n in (names or seconds)})

    monkeypatch.setattr(Side, "run", planted)
    monkeypatch.setattr(sys, "argv", ["regressions", "--dir", str(folder), *arguments])
    with pytest.raises(SystemExit) as caught:
        regressions.main()
    return int(caught.value.code or 0), used


def test_first_run_saves_a_baseline_and_later_ones_are_held_against_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, used = serve(monkeypatch, tmp_path, lambda _, turn: {"step": 1.1 - 0.1 * turn, "build": 2.0})
    assert (code, len(used)) == (0, regressions.PASSES)
    kept = tmp_path / file_name(MACHINE)
    assert times(read(kept)) == run(step=1.0, build=2.0)
    assert serve(monkeypatch, tmp_path, lambda _, turn: {"step": 1.1, "build": 2.0})[0] == 0
    assert serve(monkeypatch, tmp_path, lambda _, turn: {"step": 1.5, "build": 2.0})[0] == 1
    assert times(read(kept)) == run(step=1.0, build=2.0)
    assert times(read(tmp_path / "latest.json")).times == {"step": 1.5, "build": 2.0}
    assert serve(monkeypatch, tmp_path, lambda _, turn: {"step": 1.5, "build": 2.0}, "--threshold", "0.6")[0] == 0


def test_what_seems_slower_is_measured_again_and_only_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, tmp_path, lambda *_: {"step": 1.0, "build": 1.0})
    noise = serve(monkeypatch, tmp_path, lambda _, turn: {"step": [1.9, 1.4, 1.1][turn], "build": 1.0})
    assert noise == (0, [(sys.executable, ()), (sys.executable, ("step",)), (sys.executable, ("step",))])
    slower = serve(monkeypatch, tmp_path, lambda *_: {"step": 1.5, "build": 1.0})
    assert slower[0] == 1
    assert len(slower[1]) == 1 + regressions.AGAIN


def test_part_is_held_against_that_part_and_is_no_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = {"step": 1.0, "build": 1.0}
    assert serve(monkeypatch, tmp_path, lambda *_: both, "--only", "step")[0] == 2
    assert "leave --only out" in capsys.readouterr().err
    assert list(tmp_path.glob("*-torch-*.json")) == []
    serve(monkeypatch, tmp_path, lambda *_: both)
    assert serve(monkeypatch, tmp_path, lambda *_: both, "--only", "step")[0] == 0
    assert "vanished" not in capsys.readouterr().err


def test_gate_knows_noise_from_a_slowdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty benchmarks, each up to 1.8 times too long in one run of eight: as on a shared machine, and worse.

    Over twenty days no false alarm; and the one that a change made half as slow again is found on each of them.
    """
    rng = random.Random(1)
    true = {f"b{i:02}": 1.0 + i for i in range(40)}

    def measured(slower: dict[str, float]) -> dict[str, float]:
        noise = {n: 1.0 + 0.05 * rng.random() + (0.8 * rng.random() if rng.random() < 0.125 else 0.0) for n in true}
        return {n: s * noise[n] * slower.get(n, 1.0) for n, s in true.items()}

    alarms, found = 0, 0
    for day in range(20):
        folder = tmp_path / str(day)
        assert serve(monkeypatch, folder, lambda *_: measured({}))[0] == 0
        alarms += serve(monkeypatch, folder, lambda *_: measured({}))[0]
        found += serve(monkeypatch, folder, lambda *_: measured({"b07": 1.5}))[0]
    assert (alarms, found) == (0, 20)


def test_named_baseline_that_is_missing_is_refused_before_any_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, used = serve(monkeypatch, tmp_path, lambda *_: {}, "--base", str(tmp_path / "none.json"))
    assert (code, used) == (2, [])
    assert capsys.readouterr().err.startswith("error: cannot read")


def test_two_interpreters_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = sys.executable

    def slow_here(python: str, turn: int) -> dict[str, float]:
        return {"step": 1.4 if python == here else 1.0, "build": 1.0}

    code, used = serve(monkeypatch, tmp_path, slow_here, "--against", "other")
    assert code == 1
    turns = regressions.PASSES, regressions.AGAIN
    assert used == [("other", ()), (here, ())] * turns[0] + [("other", ("step",)), (here, ("step",))] * turns[1]

    def slow_there(python: str, turn: int) -> dict[str, float]:
        return {"step": 1.0 if python == here else 1.4, "build": 1.0}

    assert serve(monkeypatch, tmp_path, slow_there, "--against", "other")[0] == 0


def test_folder_is_another_checkout_if_it_has_the_benchmarks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no tests/regressions"):
        interpreter_and_checkout(str(tmp_path))
    assert interpreter_and_checkout(str(regressions.ROOT)) == (sys.executable, regressions.ROOT)


def test_command_helps_without_torch() -> None:
    lines = (
        "import sys",
        "sys.argv = ['x', '--help']",
        "import tests.regressions.gate as regressions",
        "try: regressions.main()",
        "except SystemExit: pass",
        "assert 'torch' not in sys.modules",
    )
    command = [sys.executable, "-c", "\n".join(lines)]
    assert subprocess.run(command, capture_output=True, cwd=regressions.ROOT, check=False).returncode == 0


def test_what_is_no_interpreter_and_no_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments in (["--against", "/no/such/dir"], ["--dir", str(tmp_path / "file")]):
        command = [sys.executable, "-m", "tests.regressions.gate", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=regressions.ROOT, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert done.stderr.startswith("error: ")
