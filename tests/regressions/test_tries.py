"""The measurement of what the gate finds: it counts what was planted, and what it plants is as slow as it says."""

import json
import os
import random
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.regressions import tries
from tests.regressions.benchmarks import Call
from tests.regressions.made_rounds import Planted, noisy
from tests.regressions.side import clocked
from tests.regressions.sitting import Side
from tests.regressions.slowed import slowed


def test_tries_count_what_is_found_and_each_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(7)

    @contextmanager
    def sitting(self: Side) -> Iterator[Planted]:
        factor = float(os.environ[tries.FACTOR]) if self.benchmarks == tries.SLOWED else 1.0
        yield Planted(self.python, 0, ["step", "build"], noisy(rng, lambda _: (factor, factor)), [])

    monkeypatch.setattr(Side, "sitting", sitting)
    monkeypatch.setenv(tries.FACTOR, "")
    path = tmp_path / "out" / "tries.json"
    words = ["--factor", "1.2", "--tries", "3", "--equal", "2", "--only", "step", "--out", str(path)]
    monkeypatch.setattr(sys, "argv", ["tries", *words])
    tries.main()
    kept: dict[str, Any] = json.loads(path.read_text())
    assert (kept["found"], kept["planted"], kept["alarms"], kept["equal"]) == (3, 3, 0, 2)
    assert [told["planted"] for told in kept["tries"]] == [True] * 3 + [False] * 2
    assert kept["tries"][0]["ratios"]["step (processor)"][0] == pytest.approx(1.2, rel=0.05)
    assert kept["machine"]["torch"] == "2.15.0"
    assert "found 3 of 3; alarms in 0 of 2 equal runs" in capsys.readouterr().out


def test_comparing_nothing_is_no_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @contextmanager
    def sitting(self: Side) -> Iterator[Planted]:
        yield Planted(self.python, 0, ["step"], noisy(random.Random(0)), [])

    monkeypatch.setattr(Side, "sitting", sitting)
    monkeypatch.setenv(tries.FACTOR, "")
    monkeypatch.setattr(sys, "argv", ["tries", "--only", "nonsense", "--out", str(tmp_path / "x.json")])
    with pytest.raises(SystemExit) as caught:
        tries.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: nothing was compared\n"


def added(waiting: bool) -> tuple[float, float]:
    """By how much of a benchmark's time it is longer, slowed to twice: by the wall's clock and the processor's."""

    some = torch.ones(64, 64)

    def count() -> None:
        for _ in range(300):
            some @ some

    @contextmanager
    def benchmark(device: str) -> Iterator[Call]:
        yield count

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a side runs
    try:
        with slowed(benchmark, 2.0, waiting, "cpu") as slower:
            pairs = [(clocked(count), clocked(slower)) for _ in range(15)]
    finally:
        torch.set_num_threads(threads)
    wall, processor = (statistics.median(after[i] / before[i] for before, after in pairs) - 1 for i in (0, 1))
    return wall, processor


def test_planted_work_takes_as_long_as_it_should() -> None:
    wall, processor = added(waiting=False)
    assert 0.7 < processor < 1.4
    assert wall > 0.5


def test_planted_waiting_takes_time_and_no_processor() -> None:
    wall, processor = added(waiting=True)
    assert wall > 0.5
    assert processor < 0.3
