"""A wall clock that jumps (a laptop's sleep, a time server, 1970 after a dead battery) changes labels only."""

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bench.store import record
from bench.sweep import run as sweep
from tests.harness.rehearsal import RehearsalMachine, options, small_study, table

STUDY = small_study(2)


def test_jumping_clock_loses_nothing_and_lengthens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = itertools.cycle([timedelta(0), timedelta(hours=1), timedelta(hours=-1), timedelta(days=-56 * 365)])

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + next(jumps)

    machine = RehearsalMachine(step_s=0.0)
    sweep.run(STUDY, options(tmp_path / "steady", executor="inline", machine=machine))
    monkeypatch.setattr("bench.sweep.worker.datetime", Jumping)
    for _ in range(2):  # the second finds all done, whatever the years say
        again = sweep.run(STUDY, options(tmp_path / "jumping", executor="inline", machine=machine))
    assert again.done == len(STUDY.trials)
    assert table(tmp_path / "jumping") == table(tmp_path / "steady")
    records = [found for _, found in record.load(tmp_path / "jumping" / "rehearsal")[0]]
    assert len({found.started[:4] for found in records}) > 1
    assert all(0 <= found.seconds < 60 for found in records)
