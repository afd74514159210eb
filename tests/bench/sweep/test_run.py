"""A sweep loses nothing that was finished, runs nothing twice, and says what it set aside."""

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.plan.study import Study
from bench.plan.trial import Trial
from bench.store import record
from bench.store.folder import Folder, WriteError
from bench.store.record import Record, Status
from bench.sweep import display as progress
from bench.sweep import run as sweep
from bench.sweep.executors import EXECUTORS
from bench.sweep.worker import Job
from tests.harness import rehearsal
from tests.harness.rehearsal import RehearsalMachine, options, small_study, table

ROOT = Path(__file__).resolve().parents[3]
STUDY = small_study(2)
FAST = RehearsalMachine(step_s=0.0)
DONE = len(STUDY.trials)


class Told(progress.State):
    """A display that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.events: list[tuple[str, Trial]] = []
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def say(self, line: str) -> None:
        self.lines.append(line)

    def started(self, job: Job) -> None:
        super().started(job)
        self.events.append(("started", job.trial))

    def ended(self, job: Job, found: Record) -> None:
        super().ended(job, found)
        self.events.append(("ended", job.trial))


def run(folder: Path, study: Study = STUDY, told: Told | None = None, **changes: Any) -> sweep.Summary:
    changes = {"executor": "inline", "machine": FAST, **changes}
    whole = changes.pop("whole", None)
    return sweep.run(study, options(folder, **changes), told, whole)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep, to copy and to compare with."""
    folder = tmp_path_factory.mktemp("reference")
    assert run(folder) == sweep.Summary(0, 0, {Status.OK: DONE}, 0, "")
    return folder


@pytest.fixture
def finished(reference: Path, tmp_path: Path) -> Path:
    shutil.copytree(reference, tmp_path / "records")
    return tmp_path / "records"


def files(folder: Path) -> list[Path]:
    return sorted((folder / "rehearsal").glob("*.json"))


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


def test_what_is_done_is_not_run_again(finished: Path) -> None:
    before = {path.name: path.read_bytes() for path in files(finished)}
    assert run(finished) == sweep.Summary(0, DONE, {}, 0, "")
    assert {path.name: path.read_bytes() for path in files(finished)} == before


def test_only_what_is_missing_is_run(finished: Path, reference: Path) -> None:
    for path in files(finished)[::3]:
        path.unlink()
    summary = run(finished)
    assert (summary.done, summary.ended) == (DONE - 4, {Status.OK: 4})
    assert table(finished) == table(reference)


def test_a_failure_is_run_again_in_place_and_a_divergence_is_not(tmp_path: Path, reference: Path) -> None:
    told = Told()
    faults = tuple(map(rehearsal.faults.parse, ["raise@1:3", "nan@2:3"]))
    assert run(tmp_path, told=told, faults=faults).code == sweep.EXIT_FAILED
    again = run(tmp_path)
    assert (again.code, again.done, again.ended) == (0, DONE - 1, {Status.OK: 1})
    assert len(files(tmp_path)) == DONE
    ours, theirs = table(tmp_path), table(reference)
    assert [name for name in ours if ours[name] != theirs[name]] == ["plain 34 seed 0 train"]


def test_trials_run_by_seed_longest_first_and_costs_after_the_first_seed() -> None:
    jobs = [Job(i, trial, None, "") for i, trial in enumerate(STUDY.trials, 1)]
    shown = [(job.trial.seed, job.trial.purpose, job.trial.depth) for job in sweep.order(jobs)]
    assert shown == [
        *[(0, "train", 34)] * 2, *[(0, "train", 18)] * 2, *[(0, "cost", 34)] * 2, *[(0, "cost", 18)] * 2,
        *[(1, "train", 34)] * 2, *[(1, "train", 18)] * 2,
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


@pytest.mark.parametrize("field", record.COMPARED)
def test_a_record_of_another_machine_code_or_data_is_kept_apart_and_said(field: str, finished: Path) -> None:
    path = files(finished)[0]
    other = record.read(path)
    data = record.encode(dataclasses.replace(other, environment={**other.environment, field: "another"}))
    path.write_bytes(data)
    told = Told()
    assert run(finished, told=told).ended == {Status.OK: 1}
    assert (path.parent / "apart" / path.name).read_bytes() == data
    assert any(path.name in line and field in line for line in told.lines)
    assert len(table(finished)) == DONE


def test_a_changed_recipe_does_not_mix_with_the_old_one(finished: Path) -> None:
    changed = rehearsal.study.parse(
        "rehearsal", {"architecture": ["plain", "resnet"], "depth": [18, 34], "epochs": 3}, seeds=[0, 1]
    )
    told = Told()
    summary = run(finished, changed, told)
    costs = [trial for trial in STUDY.trials if trial.purpose == "cost"]
    assert (summary.done, summary.ended) == (len(costs), {Status.OK: DONE - len(costs)})
    assert len(list((finished / "rehearsal" / "apart").iterdir())) == DONE - len(costs)
    assert {found.trial for _, found in record.load(finished / "rehearsal")[0]} == set(changed.trials)


def test_an_edit_that_is_undone_costs_nothing(finished: Path, reference: Path) -> None:
    rows = {"architecture": ["plain", "resnet"], "depth": [18, 34], "epochs": 3}
    changed = rehearsal.study.parse("rehearsal", rows, seeds=[0, 1])
    run(finished, changed)
    told = Told()
    summary = run(finished, told=told)
    assert (summary.done, summary.ended) == (DONE, {})
    assert sum("counts again; taken back from rehearsal/apart" in line for line in told.lines) == 8
    assert table(finished) == table(reference)
    assert run(finished, changed).ended == {}, "and back again"


def test_a_device_that_is_changed_to_and_fro_costs_nothing(finished: Path) -> None:
    path = files(finished)[0]
    ours = record.read(path)
    theirs = dataclasses.replace(ours, environment={**ours.environment, "device_name": "another"})
    (path.parent / "apart").mkdir()
    (path.parent / "apart" / path.name).write_bytes(record.encode(theirs))
    path.rename(path.parent / "apart" / f"{path.name}.apart-1")
    assert run(finished).ended == {}
    assert record.read(path) == ours
    assert record.read(path.parent / "apart" / path.name) == theirs


def test_a_record_that_cannot_be_opened_is_left_alone(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = files(finished)[0]
    read = Path.read_bytes

    def refuse(self: Path) -> bytes:
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ValueError, match=rf"cannot read the record .*{path.name}: Permission denied"):
        run(finished)
    assert path in files(finished)


def test_a_file_in_the_place_of_apart_is_named(finished: Path) -> None:
    (finished / "rehearsal" / "apart").write_text("")
    changed = rehearsal.study.parse("rehearsal", {"architecture": "plain", "depth": 18, "epochs": 3}, seeds=[0])
    with pytest.raises(ValueError, match=r"rehearsal/apart.*: File exists"):
        run(finished, changed)


def test_other_seeds_and_depths_of_the_study_stay_where_they_are(finished: Path) -> None:
    fewer = rehearsal.study.parse("rehearsal", {"architecture": "plain", "depth": [18], "epochs": 2}, seeds=[5])
    summary = run(finished, fewer, whole=STUDY)
    assert summary.ended == {Status.OK: 2}
    assert len(files(finished)) == DONE + 2
    assert not (finished / "rehearsal" / "apart").exists()


def test_a_reworded_label_does_not_undo_a_record(finished: Path) -> None:
    path = files(finished)[0]
    found = record.read(path)
    renamed = dataclasses.replace(found.trial.architecture, label="earlier words")
    trial = dataclasses.replace(found.trial, architecture=renamed)
    path.write_bytes(record.encode(dataclasses.replace(found, trial=trial)))
    assert run(finished).done == DONE


def test_two_records_of_one_trial_the_latest_finished_one_counts(finished: Path) -> None:
    path = files(finished)[0]
    older = dataclasses.replace(record.read(path), started="2020-01-01T00:00:00+00:00")
    failed = dataclasses.replace(older, status=Status.ERROR, started="2099-01-01T00:00:00+00:00")
    (path.parent / "copy-1.json").write_bytes(record.encode(older))
    (path.parent / "copy-2.json").write_bytes(record.encode(failed))
    told = Told()
    assert run(finished, told=told).done == DONE
    assert path in files(finished)
    assert {p.name for p in (path.parent / "apart").iterdir()} == {"copy-1.json", "copy-2.json"}
    assert sum("second record" in line for line in told.lines) == 2


def test_damage_is_set_aside_named_and_run_again(finished: Path, reference: Path) -> None:
    torn, flipped = files(finished)[:2]
    torn.write_bytes(torn.read_bytes()[:100])
    torn.with_name(torn.name + ".corrupt-1").write_bytes(b"from an earlier time")
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 4
    flipped.write_bytes(data)
    told = Told()
    assert run(finished, told=told).ended == {Status.OK: 2}
    assert torn.with_name(torn.name + ".corrupt-2").stat().st_size == 100
    assert flipped.with_name(flipped.name + ".corrupt-1").read_bytes() == bytes(data)
    assert all(any(path.name in line for line in told.lines) for path in (torn, flipped))
    assert table(finished) == table(reference)


def test_a_record_of_a_later_version_is_not_written_over(finished: Path) -> None:
    path = files(finished)[0]
    content = json.loads(path.read_text())
    content["schema"] += 1
    content["sha256"] = record._hash(content["schema"], json.dumps(content["body"], sort_keys=True))
    path.write_text(json.dumps(content))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"{path.name}.*later version"):
        run(finished)
    assert path.read_bytes() == before


def test_leftovers_of_an_interrupted_write_are_swept_up(finished: Path) -> None:
    leftover = finished / "rehearsal" / ".abc.tmp"
    leftover.write_bytes(b'{"schema": 1')
    run(finished)
    assert not leftover.exists()


def test_a_moved_folder_goes_on(finished: Path, tmp_path: Path) -> None:
    finished.rename(tmp_path / "else where")
    assert run(tmp_path / "else where").done == DONE


def test_a_second_sweep_is_refused_with_pid_and_host_of_the_first(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "rehearsal")
    command = [sys.executable, "-m", "tests.harness.rehearsal", str(tmp_path)]
    second = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert second.returncode == sweep.EXIT_REFUSED
    assert second.stderr.startswith("error: ")
    assert f"pid {os.getpid()} on '{os.uname().nodename}'" in second.stderr
    assert second.stderr.count("\n") == 1
    other = Folder(tmp_path / "another")
    other.close()
    folder.close()
    assert list(tmp_path.iterdir()) == [], "a sweep that did nothing leaves nothing"


def test_a_full_disk_stops_cleanly_and_the_sweep_goes_on_later(
    tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = record.os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(record.os, "fsync", full)
        summary = run(tmp_path)
    assert summary.code == sweep.EXIT_REFUSED
    assert "No space left on device" in summary.reason
    assert str(tmp_path) in summary.reason
    assert "bytes" in summary.reason
    written = summary.ended[Status.OK]
    assert 0 < written < DONE
    assert len(record.load(tmp_path / "rehearsal")[0]) >= written
    assert run(tmp_path).code == 0
    assert table(tmp_path) == table(reference)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_removed_under_a_sweep_stops_it(replaced: bool, tmp_path: Path) -> None:
    class Removes(Told):
        def ended(self, job: Job, found: Record) -> None:
            super().ended(job, found)
            if len(self.events) == 4:
                shutil.rmtree(tmp_path / "rehearsal")
                if replaced:
                    self.other = Folder(tmp_path / "rehearsal")

    told = Removes()
    summary = run(tmp_path, told=told)
    assert summary.code == sweep.EXIT_REFUSED
    assert "removed or replaced" in summary.reason
    if replaced:
        assert files(tmp_path) == []
        told.other.close()
    else:
        assert not (tmp_path / "rehearsal").exists()


def refused_paths() -> dict[str, Callable[[Path], Path]]:
    def a_file(at: Path) -> Path:
        (at / "file").write_text("")
        return at / "file"

    def a_dangling_link(at: Path) -> Path:
        (at / "link").symlink_to(at / "nowhere" / "at" / "all")
        return at / "link"

    return {
        "a file": a_file,
        "under a file": lambda at: a_file(at) / "records",
        "dangling link": a_dangling_link,
        "newline": lambda at: at / "a\nb",
        "not UTF-8": lambda at: at / os.fsdecode(b"\xff"),
        "too long": lambda at: at / ("x" * 300),
        "no such place": lambda at: Path("/proc/none/such"),
    }


@pytest.mark.parametrize("name", refused_paths())
def test_a_folder_that_cannot_be_is_refused_and_nothing_is_made(name: str, tmp_path: Path) -> None:
    path = refused_paths()[name](tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=r"folder|write") as raised:
        run(path)
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["with space", "quote'\"", "ünï", "=cmd()", "%s{0}", "-dash"])
def test_odd_folder_names_work(name: str, tmp_path: Path) -> None:
    assert run(tmp_path / name, small_study(1)).code == 0


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """chmod means nothing to root, so the refusal is the file system's words, made up."""

    def readonly(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(record.tempfile, "mkstemp", readonly)
    with pytest.raises(ValueError, match="Read-only file system"):
        run(tmp_path / "new" / "records")
    assert list(tmp_path.iterdir()) == []


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
    forecast = progress.Forecast()
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
    for changes in ({"executor": "rya"}, {"faults": (fault("kill", 1, 1),)}, {"faults": (fault("raise", 99, 1),)}):
        told = Told()
        with pytest.raises(ValueError, match=r"ray|inline|trial 99"):
            run(tmp_path / "new", told=told, **changes)
        assert told.closed, "the terminal gets its cursor back"
    assert list(tmp_path.iterdir()) == []


def test_write_error_names_path_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path / "rehearsal")
    monkeypatch.setattr(record.os, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.EDQUOT, "Quota")))
    with pytest.raises(WriteError, match=r"\.json \(\d+ bytes\): Quota"):
        folder.save(Record(STUDY.trials[0], Status.OK), [])
    folder.close()


def test_a_file_system_without_flock_still_has_one_sweep_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """filelock then makes a file that must not exist yet, and says so."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.warns(UserWarning, match="flock not supported"):
        first = Folder(tmp_path / "rehearsal")
    with pytest.warns(UserWarning, match="flock not supported"), pytest.raises(ValueError, match="in use by another"):
        Folder(tmp_path / "rehearsal")
    first.close()
    with pytest.warns(UserWarning, match="flock not supported"):
        assert run(tmp_path).ended == {Status.OK: DONE}


def left_out(machine: Any, trials: Any) -> dict[str, dict[str, Any]]:
    found = rehearsal.environments(machine, trials)
    return {name: {**environment, "data_left_out": "3 hidden (.x)"} for name, environment in found.items()}


def test_what_was_left_out_of_a_folder_of_images_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "left_out", left_out, raising=False)
    told = Told()
    run(tmp_path, told=told, probe="tests.harness.rehearsal:left_out")
    assert any("left out 3 hidden (.x)" in line for line in told.lines)
