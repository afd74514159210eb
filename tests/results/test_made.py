"""Nothing is drawn twice for the same records; and whatever changed, everything is made again."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from made_up import study_records, write
from typer.testing import CliRunner

from reports import __main__ as reporting
from results import __main__ as command
from results import made

STUDY = 'architecture = ["plain", "resnet"]\ndepth = [18, 66]\nseed = [0, 1, 2]\nepochs = 5\nlr = 0.05\n'


@pytest.fixture
def again(tmp_path: Path) -> Callable[..., str]:
    """Makes tables and page of a study; says what was told."""
    (tmp_path / "mine.toml").write_text(STUDY)
    write(tmp_path / "records" / "mine", study_records(("plain", "resnet"), (18, 66), range(3), study="mine"))

    def run(*options: str, of: str = "tables") -> str:
        app = command.app if of == "tables" else reporting.app
        asked = [str(tmp_path / "mine.toml"), "--records", str(tmp_path / "records"), "--out", str(tmp_path / "tables")]
        asked += ["--html", str(tmp_path / of)] if of != "tables" else []
        done = CliRunner().invoke(app, [*asked, *options])
        assert done.exit_code == 0, done.output
        return done.output

    return run


def written(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_second_time_nothing_is_written_and_the_same_is_said(again: Callable[..., str], tmp_path: Path) -> None:
    first = again("--no-figures")
    before = written(tmp_path / "tables")
    second = again("--no-figures")
    assert written(tmp_path / "tables") == before
    assert "nothing changed" in second
    assert first.splitlines()[-1] in second.replace(", as they were: nothing changed since they were made", "")
    assert [line for line in first.splitlines() if "warning" in line] == [
        line for line in second.splitlines() if "warning" in line
    ]


def test_whatever_changed_is_seen(again: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again("--no-figures")
    tables, records = tmp_path / "tables" / "mine", tmp_path / "records" / "mine"

    def anew(*options: str) -> bool:
        return "nothing changed" not in again(*options)

    assert anew("--no-figures", "--paper", "3.25in"), "another width"
    assert anew("--no-figures")
    (tables / "cells.csv").unlink()
    assert anew("--no-figures"), "a table is gone"
    (tables / "cells.csv").write_text("mine")
    assert anew("--no-figures"), "a table was edited"
    assert (tables / "cells.csv").read_text() != "mine"
    record = next(records.glob("plain*train*.json"))
    whole, times = record.read_bytes(), record.stat()
    record.write_bytes(b" " * len(whole))
    os.utime(record, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert anew("--no-figures"), "a record was damaged, and kept size and time"
    record.unlink()
    assert anew("--no-figures"), "a record is gone"
    assert not anew("--no-figures")
    (tmp_path / "mine.toml").write_text(STUDY + 'title = "Another"\n')
    assert anew("--no-figures"), "another study"
    source = tmp_path / "suite" / "results" / "style.py"
    source.parent.mkdir(parents=True)
    monkeypatch.setattr(made, "ROOT", tmp_path / "suite")
    source.write_text("ink = 1")
    assert anew("--no-figures"), "other sources"
    assert not anew("--no-figures")
    source.write_text("ink = 2")
    assert anew("--no-figures"), "a source was edited"
    (tables / ".made.json").write_text("[]")
    assert anew("--no-figures"), "what was noted cannot be read"


def test_a_page_is_made_once_and_its_verdicts_are_always_told(
    again: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = again(of="pages")
    page = tmp_path / "pages" / "mine.html"
    content = page.read_bytes()
    with monkeypatch.context() as never:
        never.setattr(reporting, "gather", lambda *_: pytest.fail("nothing changed"))
        assert again(of="pages") == first
    page.write_text("edited")
    again(of="pages")
    assert page.read_bytes() == content
