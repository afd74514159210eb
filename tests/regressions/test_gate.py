"""The gate's own logic, on rounds made up for it; the benchmarks themselves are not run here, but for a tiny one."""

import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.plan.checkout import ROOT
from bench.train import device
from tests.regressions.gate import interpreter_and_checkout
from tests.regressions.made_rounds import MACHINE, Measure, noisy, serve, steady
from tests.regressions.rounds import Round, Saved, file_name, noise, read, unlike
from tests.regressions.sitting import Side


@pytest.mark.parametrize(
    "other", [{"device_name": "NVIDIA H100"}, {"device": "cpu"}, {"cores": 8}, {"calibration": "0"}]
)
def test_unlike_devices_are_refused(other: dict[str, Any]) -> None:
    (fault,) = unlike(MACHINE, {**MACHINE, **other})
    assert fault.startswith("unlike devices")


def test_another_torch_on_the_same_device_is_compared() -> None:
    assert unlike(MACHINE, {**MACHINE, "torch": "2.16.0", "python": "3.12.1"}) == []


# ---- by turns


def test_two_interpreters_take_turns_and_what_seems_slower_is_asked_of_both_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = sys.executable

    def slow_here(python: str, turn: int, name: str) -> tuple[float, float]:
        return (1.2, 1.2) if python == here and name == "step" else (1.0, 1.0)

    found = serve(monkeypatch, tmp_path, slow_here, "--against", "other")
    assert found.code == 1
    assert found.asked == [
        (side, name) for name in ("step", "build", "step", "step", "step") for side in ("other", here)
    ]
    said = capsys.readouterr()
    assert "step takes 1.20 times as long as it did (wall time)" in said.err
    assert "build takes" not in said.err
    assert said.err.startswith("[1/2] step\n[2/2] build\nprocess 1 of 3\n[1/1] step\nprocess 2 of 3\n[1/1] step\n")
    assert (
        serve(monkeypatch, tmp_path, lambda p, t, n: (1.0, 1.0) if p == here else (1.2, 1.2), "--against", "other").code
        == 0
    )


def test_an_interruption_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(python: str, turn: int, name: str) -> tuple[float, float]:
        raise KeyboardInterrupt

    assert serve(monkeypatch, tmp_path, interrupted, "--against", "other").code == 130
    assert capsys.readouterr().err == "[1/2] step\ninterrupted: nothing was saved\n"


def test_a_process_with_a_bad_place_in_memory_is_no_slowdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def once(python: str, turn: int, name: str) -> tuple[float, float]:
        return (1.3, 1.3) if python == sys.executable and turn == 0 else (1.0, 1.0)

    assert serve(monkeypatch, tmp_path, once, "--against", "other").code == 0


def test_processes_that_differ_hide_no_tenth_and_raise_hardly_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process is slower or faster than the next by 2 %, as it is placed in memory; 4 % of jitter in its rounds."""
    rng = random.Random(3)
    places: dict[tuple[str, int, str], float] = {}

    def measure(factor: float) -> Measure:
        places.clear()

        def once(python: str, turn: int, name: str) -> tuple[float, float]:
            place = places.setdefault((python, turn, name), rng.lognormvariate(0.0, 0.02))
            seconds = place * rng.lognormvariate(0.0, 0.04) * (factor if python == sys.executable else 1.0)
            return seconds, seconds

        return once

    names = tuple(f"b{i}" for i in range(25))
    alarms = sum(serve(monkeypatch, tmp_path, measure(1.0), "--against", "other", names=names).code for _ in range(20))
    found = sum(serve(monkeypatch, tmp_path, measure(1.1), "--against", "other", names=("b",)).code for _ in range(50))
    assert alarms <= 1
    assert found >= 36


def test_waiting_is_slow_though_it_takes_no_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = lambda python, turn, name: (2.0, 1.0) if python == sys.executable else (1.0, 1.0)  # noqa: E731
    assert serve(monkeypatch, tmp_path, waits, "--against", "other").code == 1
    said = capsys.readouterr().err
    assert "(wall time)" in said
    assert "(processor time)" not in said


def test_by_turns_a_tenth_is_found_and_equal_code_raises_no_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine whose noise is 4 % and, by the wall's clock, threefold in a quarter of the rounds."""
    rng, alarms, found = random.Random(1), 0, 0
    names = tuple(f"b{i}" for i in range(25))
    for _ in range(20):
        alarms += serve(monkeypatch, tmp_path, noisy(rng), "--against", "other", names=names).code
        slower = noisy(rng, lambda python: (1.1, 1.1) if python == sys.executable else (1.0, 1.0))
        found += serve(monkeypatch, tmp_path, slower, "--against", "other", names=("step",)).code
    assert alarms == 0
    assert found >= 18


@pytest.mark.parametrize(("wall", "code"), [(1.2, 0), (1.4, 1)])
def test_where_neighbours_take_the_processor_only_longer_waiting_fails(
    wall: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a processor for both sides: by the wall's clock, equal code was then seen at 1.17 times."""
    shared = lambda python, turn, name: (2.0 * wall if python == sys.executable else 2.0, 1.0)  # noqa: E731
    assert serve(monkeypatch, tmp_path, shared, "--against", "other").code == code


def test_what_noise_hides_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(2)
    wild = lambda python, turn, name: (rng.uniform(1.0, 2.0), 1.0) if name == "step" else (1.0, 1.0)  # noqa: E731
    assert serve(monkeypatch, tmp_path, wild, "--against", "other").code == 0
    assert "too noisy to tell whether they are 10% slower: step\n" in capsys.readouterr().out


def test_a_benchmark_that_vanished_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, tmp_path, steady())
    assert serve(monkeypatch, tmp_path, steady(), names=("step", "more")).code == 1
    assert serve(monkeypatch, tmp_path, steady(), names=("step", "build", "more")).code == 0


def test_comparing_nothing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert serve(monkeypatch, tmp_path, steady(), "--against", "other", "--only", "nonsense").code == 1


def test_not_a_number_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = lambda python, turn, name: (float("nan"),) * 2 if python == sys.executable else (1.0, 1.0)  # noqa: E731
    assert serve(monkeypatch, tmp_path, broken, "--against", "other").code == 1


# ---- baselines


def test_first_run_saves_a_baseline_and_later_ones_are_held_against_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert serve(monkeypatch, tmp_path, steady(step=1.0, build=2.0)).code == 0
    kept = tmp_path / file_name(MACHINE)
    before = read(kept)
    assert (before.machine, before.noise, set(before.rounds)) == (MACHINE, [], {"step", "build"})
    assert serve(monkeypatch, tmp_path, steady(step=1.1, build=2.0)).code == 0
    assert serve(monkeypatch, tmp_path, steady(step=1.5, build=2.0)).code == 1
    assert read(kept) == before
    assert read(tmp_path / "latest.json").rounds["step"][0].wall == 1.5
    assert serve(monkeypatch, tmp_path, steady(step=1.5, build=2.0), "--threshold", "0.6").code == 0


@pytest.mark.parametrize(
    ("paces", "words"),
    [
        ([(0.015, 0.015)] * 20, ""),
        ([(0.030, 0.015)] * 20, "the benchmarks had 50% of a processor"),
        ([(0.015, 0.015)] * 12 + [(0.030, 0.030)] * 8, "its pace changed by 2.0x meanwhile"),
    ],
)
def test_a_baseline_knows_that_it_was_noisy_and_each_comparison_says_so(
    paces: list[tuple[float, float]], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    rounds = {"step": [Round(1.0, 1.0, *pace) for pace in paces]}
    assert noise(rounds) == ([words] if words else [])
    Saved(MACHINE, {"step": [Round(1.0, 1.0, 1.0, 1.0)] * 8}, noise(rounds)).write(tmp_path / "base.json")
    assert serve(monkeypatch, tmp_path, steady(), "--base", str(tmp_path / "base.json")).code == 0
    assert ("the baseline is noisy" in capsys.readouterr().out) == bool(words)


def test_part_is_held_against_that_part_and_is_no_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve(monkeypatch, tmp_path, steady(), "--only", "step").code == 2
    assert "leave --only out" in capsys.readouterr().err
    assert list(tmp_path.glob("*-torch-*.json")) == []
    serve(monkeypatch, tmp_path, steady())
    found = serve(monkeypatch, tmp_path, steady(), "--only", "step")
    assert (found.code, {name for _, name in found.asked}) == (0, {"step"})
    assert "vanished" not in capsys.readouterr().err


def test_a_whole_name_chooses_one_benchmark_and_a_part_of_it_all_that_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("step 18 plain", "first step 18 plain", "build 18 plain")
    for only, asked in (("step 18 plain", names[:1]), ("step 18", names[:2]), ("plain", names)):
        found = serve(monkeypatch, tmp_path, steady(), "--against", "other", "--only", only, names=names)
        assert tuple(dict.fromkeys(name for _, name in found.asked)) == asked


def test_file_name_holds_device_and_versions_and_no_folder() -> None:
    name = file_name({**MACHINE, "device_name": "AMD EPYC 9/x (ES)", "torch": "2.15.0+cu132"})
    assert name == "cuda-AMD_EPYC_9_x_ES_-torch-2.15.0+cu132-python-3.11.7.json"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"rounds": [], "machine": {}}', '{"rounds": {"a": [["x"]]}, "machine": {}}']
)
def test_read_refuses_other_files_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="is not a run of these benchmarks") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="cannot read"):
        read(tmp_path / "none.json")


def test_named_baseline_that_is_missing_is_refused_before_any_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = serve(monkeypatch, tmp_path, steady(), "--base", str(tmp_path / "none.json"))
    assert (found.code, found.asked) == (2, [])
    assert capsys.readouterr().err.startswith("error: cannot read")


# ---- the two processes


def test_folder_is_another_checkout_if_it_has_the_benchmarks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no tests/regressions"):
        interpreter_and_checkout(str(tmp_path))
    assert interpreter_and_checkout(str(ROOT)) == (sys.executable, ROOT)


def test_a_side_runs_rounds_by_both_clocks_and_says_why_it_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with Side(sys.executable, ROOT, "cpu").sitting() as side:
        assert side.machine["device"] == "cpu"
        side.hold("build 18 plain")
        found = side.round(calibrated=True)
        assert min(found[:4]) > 0
        assert found.memory == 0  # its network is held
        assert found.processor < 2 * found.wall
        assert side.round(calibrated=False)[2:4] == (0.0, 0.0)
        side.hold("first step 18 plain")
        found = side.round(calibrated=False)
        known = device.reset_peak_memory("cpu") > 0
        assert (2**20 < found.memory < 2**27) if known else found.memory == 0
        with pytest.raises(ValueError, match=r"the benchmarks ended in .*: KeyError: 'nonsense'"):
            side.hold("nonsense")


def test_command_helps_without_torch() -> None:
    lines = (
        "import sys",
        "sys.argv = ['x', '--help']",
        "import tests.regressions.gate as gate",
        "try: gate.main()",
        "except SystemExit: pass",
        "assert 'torch' not in sys.modules",
    )
    command = [sys.executable, "-c", "\n".join(lines)]
    assert subprocess.run(command, capture_output=True, cwd=ROOT, check=False).returncode == 0


def test_what_is_no_interpreter_and_no_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments in (["--against", "/no/such/dir"], ["--dir", str(tmp_path / "file")]):
        command = [sys.executable, "-m", "tests.regressions.gate", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert done.stderr.startswith("error: ")
