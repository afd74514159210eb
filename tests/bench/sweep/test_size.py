"""How many trials run at a time, and of how many threads."""

from pathlib import Path

import pytest

from bench.plan.machine import Machine
from bench.store import record
from bench.sweep import run as sweep
from bench.sweep import size as sizes
from bench.sweep.display import Display
from bench.sweep.size import size
from bench.train import device
from tests.harness import rehearsal
from tests.harness.rehearsal import options


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "usable_cores", lambda: 4)
    monkeypatch.setattr(sizes, "usable_memory", lambda: 2**40)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.parametrize("workers", [0, 1, 7])
def test_threads_of_a_trial_do_not_depend_on_how_many_run_side_by_side(workers: int) -> None:
    assert size(Machine(threads=0), "process", workers).threads == 1


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("workers", [0, 1, 2, 3, 8])
@pytest.mark.parametrize("kind", ["cpu", "cuda", "auto"])
def test_workers_times_threads_are_no_more_than_the_cores(threads: int, workers: int, kind: str) -> None:
    found = size(Machine(device=kind, threads=threads), "process", workers)
    assert found.threads == threads
    assert found.workers == min(workers or (1 if kind == "cuda" else 4), 4 // threads)


def test_more_threads_than_cores_are_refused_but_on_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"^--threads 5: there are 4 cores to use$"):
        size(Machine(threads=5), "process", 0)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    found = size(Machine(threads=5), "ray", 40)
    assert (found.threads, found.workers) == (5, 40)


def test_little_memory_means_fewer_workers_but_those_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "usable_memory", lambda: 5 * 2**30)
    assert [size(Machine(), "process", workers).workers for workers in (0, 3)] == [2, 3]


def test_more_workers_than_cores_are_said_and_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "usable_cores", lambda: 1)
    told: list[str] = []
    display = Display()
    monkeypatch.setattr(display, "say", told.append)
    sweep.run(rehearsal.small_study(1), options(tmp_path, workers=3), display)
    assert told[0] == "1 at a time, not 3: there are too few cores"
    assert not any(not found.status.final for _, found in record.load(tmp_path / "rehearsal")[0])


@pytest.mark.parametrize(("slower", "helps"), [(0.6, True), (1.1, False), (12.0, False)])
def test_threads_that_take_longer_than_one_are_told(
    slower: float, helps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a neighbour on a core: the clock is made up, the comparison is real."""
    now, threads = [0.0], [1]
    monkeypatch.setattr(device.torch, "set_num_threads", lambda count: threads.__setitem__(0, count))

    def clock() -> float:
        now[0] += 1.0 if threads[0] == 1 else slower
        return now[0]

    monkeypatch.setattr(device.time, "perf_counter", clock)
    assert device.threads_help(2) is helps
    assert device.threads_help(1)
