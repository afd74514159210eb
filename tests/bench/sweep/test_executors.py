"""Workers are supervised: warm, alone in their session, replaced when they die, and never outlive the sweep."""

import os
import signal
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.plan.checkout import ROOT
from bench.plan.trial import Trial
from bench.store.record import Record, Status
from bench.sweep import supervisor
from bench.sweep.executor import Outcome, Settings
from bench.sweep.process import Process, _doubtful
from bench.sweep.worker import Job, Message
from tests.harness import rehearsal
from tests.harness.faults import Fault

TRIALS = rehearsal.small_study(1).trials


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {"workers": 1, "threads": 1, "trial_time_limit_s": 0.0}
    return Settings(**{**values, "on_progress": lambda *_: None, "stopping": lambda: False, **changes})


def job(
    number: int = 1, function: str = "tests.harness.rehearsal:run_trial", step_s: float = 0.0, *faults: Fault
) -> Job:
    return Job(number, TRIALS[number - 1], rehearsal.RehearsalMachine(step_s=step_s), function, faults)


def finish(executor: Process, *jobs: Job) -> list[Outcome]:
    for each in jobs:
        executor.submit(each)
    outcomes: list[Outcome] = []
    deadline = time.monotonic() + 30
    while len(outcomes) < len(jobs):
        assert time.monotonic() < deadline, "an executor must never wait for ever"
        outcomes += executor.wait(0.2)
    return outcomes


def record_of(outcome: Outcome) -> Record:
    assert outcome.record is not None
    return outcome.record


@pytest.fixture
def process() -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def make(**changes: Any) -> Process:
        made.append(Process(settings(**changes)))
        return made[-1]

    yield make
    for executor in made:
        executor.close()


def alive(pid: int) -> bool:
    """By Linux's /proc, which tells a process that nobody waits for; elsewhere, whether there is one to signal."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[-1][0] != "Z"
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid: int, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not alive(pid)


# Trial functions and probes, found by workers as "test_executors:..." (tests/bench/sweep is put on their path).
HERE = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)


def about_itself(trial: Trial, machine: Any, progress: Callable[[Message], None]) -> Record:
    facts = {
        "pid": os.getpid(), "session": os.getsid(0), "group": os.getpgid(0),
        "threads": os.environ["OMP_NUM_THREADS"], "torch": "torch" in sys.modules,
    }  # fmt: skip
    return Record(trial, Status.OK, result=facts)


def unwritable(trial: Trial, machine: Any, progress: Callable[[Message], None]) -> Record:
    return Record(trial, Status.OK, result={"tensor": object()})


def not_a_record(trial: Trial, machine: Any, progress: Callable[[Message], None]) -> Any:
    return {"status": "ok"}


CHATTER = """[W1126 11:27:41.661000 5838 profiler.cpp:12] Warning: Profiler clears events at the end of each cycle
STAGE:2026-11-26 11:27:41 5838:5838 ActivityProfilerController.cpp:314] Completed Stage: Warm Up
INFO:2026-11-26 11:27:41 5838:5838 init.cpp:8] nothing
USDT:2026-11-27 10:17:46 15676:15676 SyncActivityProfilerHandler.cpp:39] profiler_start
ERROR:2026-11-27 10:17:47 15676:15676 DeviceProperties.cpp:56] gpuGetDeviceCount failed with code 35
/x/torch/profiler.py:12: UserWarning: events are cleared
"""


def leaves_early(trial: Trial, machine: Any, progress: Callable[[Message], None]) -> Record:
    print("ERROR: famous last words", CHATTER, sep="\n", file=sys.stderr, flush=True)
    os._exit(3)


def killed_after_chatter(trial: Trial, machine: Any, progress: Callable[[Message], None]) -> Record:
    print(CHATTER, file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def chatters(trial: Trial, machine: Any, progress: Callable[[Message], None]) -> Record:
    print("x" * 2_000_000)
    return Record(trial, Status.OK)


def has_a_child(trial: Trial, machine: Any, progress: Callable[[Message], None]) -> Record:
    child = subprocess.Popen(["sleep", "60"])
    while True:
        time.sleep(0.01)
        progress({"step": 1, "child": child.pid})


def test_a_worker_has_a_session_and_threads_of_its_own_and_stays_warm(process: Callable[..., Process]) -> None:
    executor = process(threads=3)
    first, second = (record_of(finish(executor, job(n, "test_executors:about_itself"))[0]).result for n in (1, 2))
    assert first["pid"] == second["pid"] != os.getpid()
    assert first["pid"] == first["session"] == first["group"]
    assert first["threads"] == "3"
    assert not first["torch"], "a worker loads torch only when its trial does"


class Version(str):
    """As torch's: a text by its looks, whose class comes from a package."""


def version() -> dict[str, str]:
    return {"torch": Version("2.15")}


def test_what_a_probe_answers_is_plain_data_so_that_the_sweep_loads_no_torch(process: Callable[..., Process]) -> None:
    answer = process().call("test_executors:version")
    assert (answer, type(answer["torch"])) == ({"torch": "2.15"}, str)


def test_neither_sweep_nor_command_line_loads_torch() -> None:
    code = "import sys, bench.__main__, bench.sweep.run, tests.harness.faults; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True).stdout == b"False\n"


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("kill", Status.ERROR, "signal 9"),
        ("segfault", Status.ERROR, "in string_at"),  # the frame that failed, not the lifeline's
        ("abort", Status.ERROR, "signal 6"),
        ("raise", Status.ERROR, "RuntimeError: rehearsed fault"),
        ("oom", Status.OUT_OF_MEMORY, "64.00 GiB"),
        ("host-oom", Status.OUT_OF_MEMORY, "MemoryError"),
        ("nan", Status.DIVERGED, "step 3"),
    ],
)
def test_a_fault_becomes_a_record_and_the_next_trial_runs(
    fault: str, status: Status, words: str, process: Callable[..., Process]
) -> None:
    executor = process()
    failed = record_of(finish(executor, job(1, "tests.harness.rehearsal:run_trial", 0.0, Fault(fault, 1, 3)))[0])
    assert (failed.status, failed.trial) == (status, TRIALS[0])
    assert words in failed.message
    assert record_of(finish(executor, job(2))[0]).status == Status.OK


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("unwritable", "TypeError"),
        ("not_a_record", "dict"),
        ("leaves_early", "exit code 3: ERROR: famous last words"),
        ("missing", "AttributeError"),
    ],
)
def test_a_trial_function_that_misbehaves_costs_its_own_trial_only(
    function: str, words: str, process: Callable[..., Process]
) -> None:
    executor = process()
    failed = record_of(finish(executor, job(1, f"test_executors:{function}"))[0])
    assert failed.status == Status.ERROR
    assert words in failed.message
    assert "\n" not in failed.message
    assert record_of(finish(executor, job(2))[0]).status == Status.OK


def test_a_killed_worker_is_not_said_to_have_died_of_what_was_logged(process: Callable[..., Process]) -> None:
    failed = record_of(finish(process(), job(1, "test_executors:killed_after_chatter"))[0])
    assert failed.message == "worker killed by signal 9 (SIGKILL)"


def test_much_output_of_a_trial_neither_blocks_nor_shows(
    process: Callable[..., Process], capfd: pytest.CaptureFixture[str]
) -> None:
    assert record_of(finish(process(), job(1, "test_executors:chatters"))[0]).status == Status.OK
    assert capfd.readouterr() == ("", "")


def test_a_hang_ends_at_the_time_limit_with_all_that_it_started(process: Callable[..., Process]) -> None:
    told: list[Message] = []
    executor = process(trial_time_limit_s=2.5, on_progress=lambda _, message: told.append(message))
    found = record_of(finish(executor, job(1, "test_executors:has_a_child"))[0])
    assert (found.status, found.message) == (Status.TIMEOUT, "longer than the trial time limit of 2.5 s")
    assert gone(told[0]["child"])


def test_one_death_leaves_the_other_worker_alone(process: Callable[..., Process]) -> None:
    executor = process(workers=2)
    outcomes = finish(
        executor, job(1, "tests.harness.rehearsal:run_trial", 0.01, Fault("kill", 1, 2)), job(2, step_s=0.01)
    )
    assert {o.job.number: record_of(o).status for o in outcomes} == {1: Status.ERROR, 2: Status.OK}


def test_workers_die_with_the_sweep() -> None:
    code = f"""
        import sys; sys.path.insert(0, {HERE!r})
        from test_executors import *
        executor = Process(settings(on_progress=lambda *_: print(executor._workers[0].process.pid, flush=True)))
        finish(executor, job(1, step_s=1.0))
    """
    sweep = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, cwd=ROOT)
    assert sweep.stdout is not None
    worker = int(sweep.stdout.readline())
    sweep.kill()
    sweep.wait()
    sweep.stdout.close()
    assert gone(worker)


def test_stop_takes_what_ends_in_time_and_discards_the_rest(process: Callable[..., Process]) -> None:
    executor = process(workers=2)
    executor.submit(job(1, step_s=0.05))
    executor.submit(job(2, "test_executors:has_a_child"))
    executor.wait(1.0)
    begin = time.monotonic()
    outcomes = executor.stop(3.0)
    assert time.monotonic() - begin < 2.0
    assert {o.job.number: o.record for o in outcomes} == {1: None, 2: None}
    assert executor.wait(0.0) == []


def test_a_worker_that_does_not_stop_is_ended(process: Callable[..., Process]) -> None:
    executor = process()
    executor.submit(job(1, "tests.harness.rehearsal:run_trial", 0.0, Fault("hang", 1, 1)))
    executor.wait(0.5)
    assert [o.record for o in executor.stop(0.3)] == [None]


def test_killed_by_the_kernel_for_memory_is_told_from_killed(
    process: Callable[..., Process], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom 0\noom_kill 4\n")
    monkeypatch.setattr(supervisor, "OOM_COUNTERS", (str(tmp_path / "absent"), str(counter)))
    executor = process()
    executor.submit(job(1, "tests.harness.rehearsal:run_trial", 0.0, Fault("hang", 1, 1)))
    executor.wait(0.3)
    counter.write_text("oom 1\noom_kill 5\n")
    os.killpg(executor._workers[0].process.pid, signal.SIGKILL)
    found = record_of(executor.wait(5.0)[0])
    assert (found.status, found.message) == (
        Status.OUT_OF_MEMORY, "worker killed by signal 9 (SIGKILL): host out of memory",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "message", "device", "replaced"),
    [
        (Status.ERROR, "CUDA error: an illegal memory access", "cuda", True),
        (Status.ERROR, "AcceleratorError: CUDA error", "", True),
        (Status.OUT_OF_MEMORY, "", "cpu", True),
        (Status.ERROR, "ValueError", "cpu", False),
        (Status.DIVERGED, "", "cuda", False),
        (Status.OK, "", "cuda", False),
    ],
)
def test_a_worker_is_replaced_when_its_device_may_be_poisoned(
    status: Status, message: str, device: str, replaced: bool
) -> None:
    assert _doubtful(Record(TRIALS[0], status, message, {"device": device})) is replaced


def test_a_warm_worker_adds_under_50_ms_a_trial(process: Callable[..., Process]) -> None:
    executor = process()
    finish(executor, job(1))
    took = []
    for _ in range(20):
        begin = time.monotonic()
        finish(executor, job(1))
        took.append(time.monotonic() - begin)
    assert statistics.median(took) < 0.05  # a neighbour on the core takes its time from some of them


def test_what_the_probe_refuses_is_a_line_not_a_traceback(process: Callable[..., Process]) -> None:
    with pytest.raises(ValueError, match=r"^invalid literal"):
        process().call("builtins:int", "x")
    with pytest.raises(ValueError, match=r"^TypeError: "):
        process().call("builtins:len", 1)
    with pytest.raises(ValueError, match="exit code 3: ERROR: famous last words"):
        process().call("test_executors:leaves_early", 1, 2, 3)


def dies_once(folder: str) -> str:
    """Killed the first time that it is called."""
    mark = Path(folder) / "killed"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "answered"


def never_answers() -> None:
    time.sleep(60)


def test_a_worker_killed_before_the_sweep_starts_is_replaced(process: Callable[..., Process], tmp_path: Path) -> None:
    assert process().call("test_executors:dies_once", str(tmp_path)) == "answered"


def test_a_call_that_is_never_answered_is_given_up(
    process: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.sweep.process.CALL_LIMIT_S", 0.3)
    with pytest.raises(ValueError, match="did not give an answer within"):
        process().call("test_executors:never_answers")
