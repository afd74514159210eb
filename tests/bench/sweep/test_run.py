"""A sweep: the same table whatever runs the trials, in its order, within its time limit."""

import dataclasses
import errno
import io
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from made_sweep import DONE, STUDY, Told, run

from bench.plan.checkout import ROOT
from bench.plan.trial import Trial
from bench.store import record
from bench.store.record import Record, Status
from bench.sweep import display as progress
from bench.sweep import run as sweep
from bench.sweep.executors import EXECUTORS
from bench.sweep.forecast import Forecast
from bench.sweep.worker import Job
from tests.harness import rehearsal
from tests.harness.rehearsal import RehearsalMachine, small_study, table


@pytest.mark.parametrize("workers", [1, 2])
def test_same_table_whatever_runs_the_trials(workers: int, reference: Path, tmp_path: Path) -> None:
    run(tmp_path, executor="process", workers=workers)
    assert len(table(reference)) == DONE
    assert table(tmp_path) == table(reference)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.ray) if n == "ray" else n for n in EXECUTORS])
def test_every_executor_keeps_the_promises(name: str, reference: Path, tmp_path: Path) -> None:
    """An entry of the table: a failure becomes a record, the others end the same, and resuming mends it."""
    if name == "ray":
        pytest.importorskip("ray")
    command = [sys.executable, "-m", "tests.harness.rehearsal", str(tmp_path), "--executor", name, "--workers", "2"]
    first = subprocess.run([*command, "--inject", "raise@3:4"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert first.returncode == sweep.EXIT_FAILED, first.stderr
    (failed,) = [found for _, found in record.load(tmp_path / "rehearsal")[0] if not found.status.final]
    assert failed.message.startswith("RuntimeError: rehearsed fault")
    ours, theirs = table(tmp_path), table(reference)
    assert sum(ours[row] != theirs[row] for row in theirs) == 1
    second = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (second.returncode, table(tmp_path)) == (0, theirs)


def test_trials_run_by_seed_longest_first_and_costs_after_the_first_seed() -> None:
    jobs = [Job(i, trial, None, "") for i, trial in enumerate(STUDY.trials, 1)]
    shown = [(job.trial.seed, job.trial.purpose, job.trial.depth) for job in sweep.order(jobs)]
    assert shown == [
        *[(0, "train", 34)] * 2, *[(0, "train", 18)] * 2, *[(0, "cost", 34)] * 2, *[(0, "cost", 18)] * 2,
        *[(1, "train", 34)] * 2, *[(1, "train", 18)] * 2,
    ]  # fmt: skip


def test_under_a_time_limit_shallow_nets_run_first(tmp_path: Path) -> None:
    told = Told()
    run(tmp_path, told=told, workers=1, time_limit_s=600.0)
    started = [(trial.seed, trial.purpose, trial.depth) for event, trial in told.events if event == "started"]
    assert started == [
        *[(0, "train", 18)] * 2, *[(0, "train", 34)] * 2, *[(0, "cost", 18)] * 2, *[(0, "cost", 34)] * 2,
        *[(1, "train", 18)] * 2, *[(1, "train", 34)] * 2,
    ]  # fmt: skip


def test_a_cost_runs_while_nothing_else_does(tmp_path: Path) -> None:
    told = Told()
    run(tmp_path, told=told, executor="process", workers=3)
    running: set[Trial] = set()
    most = 0
    for event, trial in told.events:
        if event == "started":
            assert not any(other.purpose == "cost" for other in running)
            assert trial.purpose != "cost" or not running
            running.add(trial)
        else:
            running.remove(trial)
        most = max(most, len(running))
    assert most > 1, "training trials do run side by side"


def test_a_time_limit_stops_cleanly_before_it_is_over(tmp_path: Path, reference: Path) -> None:
    begin = time.monotonic()
    summary = run(tmp_path, time_limit_s=1.0, machine=RehearsalMachine(step_s=0.01))
    assert time.monotonic() - begin < 1.0
    assert (summary.code, summary.reason) == (sweep.EXIT_TIME_LIMIT, "time limit")
    assert summary.left > 0
    run(tmp_path)
    assert table(tmp_path) == table(reference)


def test_a_limit_before_the_first_trial_ends_leaves_a_folder_for_the_tables(tmp_path: Path) -> None:
    summary = run(tmp_path / "new", time_limit_s=0.2, machine=RehearsalMachine(step_s=1.0), executor="process")
    assert (summary.code, summary.ended) == (sweep.EXIT_TIME_LIMIT, {})
    assert (tmp_path / "new" / "rehearsal").is_dir()


def test_a_trial_that_cannot_end_before_the_limit_is_not_begun() -> None:
    forecast = Forecast()
    short, long = (trial for trial in STUDY.trials if trial.purpose == "train" and trial.seed == 0
                   and trial.architecture.name == "plain")  # fmt: skip
    forecast.learn(Record(short, Status.OK, seconds=18.0))
    assert forecast.seconds(long) == pytest.approx(34.0)
    # One that diverged ended early, and tells nothing about others.
    forecast.learn(Record(long, Status.DIVERGED, seconds=1.0))
    assert forecast.seconds(long) == pytest.approx(1.0)
    assert forecast.seconds(dataclasses.replace(long, depth=66)) == pytest.approx(66.0)


def test_inline_keeps_a_trials_time_limit_at_its_steps(tmp_path: Path) -> None:
    summary = run(tmp_path, small_study(1), trial_time_limit_s=0.05, machine=RehearsalMachine(step_s=0.02))
    assert (summary.code, set(summary.ended)) == (sweep.EXIT_FAILED, {Status.TIMEOUT})


def test_bad_requests_are_refused_before_any_work(tmp_path: Path) -> None:
    fault = rehearsal.faults.Fault
    for changes in (
        {"executor": "rya"}, {"faults": (fault("kill", 1, 1),)}, {"faults": (fault("raise", 99, 1),)},
        {"workers": 10**6}, {"seeds_at_once": 10**6},
    ):  # fmt: skip
        told = Told()
        with pytest.raises(ValueError, match=r"ray|inline|trial 99|workers|seeds-at-once"):
            run(tmp_path / "new", told=told, **changes)
        assert told.closed, "the terminal gets its cursor back"
    assert list(tmp_path.iterdir()) == []


def breaks(machine: Any, *looks: Any) -> dict[str, dict[str, Any]]:
    raise RuntimeError("CUDA error: no card")


@pytest.mark.parametrize("executor", ["inline", "process"])
def test_a_look_at_the_device_that_fails_is_one_line(executor: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CUDA error: no card"):
        run(tmp_path, executor=executor, probe=f"{__name__}:breaks")


class Terminal(io.StringIO):
    """One that is hung up at some time."""

    gone = False

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.gone:
            raise OSError(errno.EIO, "Input/output error")
        return super().write(text)


def test_a_terminal_that_is_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    shown = progress.Live()
    shown.say("one")
    shown.tick()
    assert "one" in terminal.getvalue()
    terminal.gone = True
    for _ in range(2):
        shown.say("two")
        shown.tick()
    shown.close()
    assert "two" not in terminal.getvalue()


def left_out(machine: Any, trials: Any) -> dict[str, dict[str, Any]]:
    found = rehearsal.environments(machine, trials)
    return {name: {**environment, "data_left_out": "3 hidden (.x)"} for name, environment in found.items()}


def test_what_was_left_out_of_a_folder_of_images_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "left_out", left_out, raising=False)
    told = Told()
    run(tmp_path, told=told, probe="tests.harness.rehearsal:left_out")
    assert any("left out 3 hidden (.x)" in line for line in told.lines)
