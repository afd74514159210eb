"""A folder that a sweep cannot have, write to, or keep: refused in one line, or left whole."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_sweep import DONE, STUDY, Told, files, run

from bench.plan.checkout import ROOT
from bench.store import record
from bench.store.folder import Folder, WriteError
from bench.store.record import Record, Status
from bench.sweep import run as sweep
from bench.sweep.worker import Job
from tests.harness.rehearsal import small_study, table


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
