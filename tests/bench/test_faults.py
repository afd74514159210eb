"""What a user can rehearse, and a sweep that is interrupted at any moment: the short version of `make faults`."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from bench.plan.checkout import ROOT
from bench.store import record
from bench.store.record import Status
from bench.sweep import run as sweep
from tests.harness import chaos, faults, rehearsal


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return chaos.reference(tmp_path_factory.mktemp("reference"))


@pytest.mark.parametrize(
    "text", ["", "kill", "kill@", "kill@1", "kill@1:", "kill@:1", "kill@0:1", "kill@1:0", "kill@1.5:1", "kill@-1:1",
             "kill@１:1", "kil@1:1"],
)  # fmt: skip
def test_an_option_that_cannot_be_read_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"inject|did you mean|Did you mean") as raised:
        faults.parse(text)
    assert "\n" not in str(raised.value)


def test_the_option_names_fault_trial_and_step() -> None:
    assert faults.parse("kill@3:10") == faults.Fault("kill", 3, 10)


def test_a_fault_happens_once_at_its_step() -> None:
    rehearsed = faults.Rehearsal((faults.Fault("raise", 1, 3),))
    rehearsed.step({"step": 2})
    with pytest.raises(RuntimeError):
        rehearsed.step({"step": 3})
    rehearsed.step({"step": 3})


@pytest.mark.parametrize("name", faults.FAULTS)
def test_one_bad_trial_costs_one_trial(name: str, tmp_path: Path, reference: dict[str, str]) -> None:
    """Every fault that can be injected: its own row has a status and a reason, all other rows are unchanged."""
    try_ = chaos.injected(name, tmp_path, reference)
    assert try_.wrong == ""


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_moments_and_resumed_the_table_is_the_same(
    seed: int, tmp_path: Path, reference: dict[str, str]
) -> None:
    try_ = chaos.killed(seed, tmp_path, reference, kills=2)
    assert (try_.lost, try_.wrong) == (0, "")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_within_5_s_and_leaves_no_half_trial(
    how: signal.Signals, tmp_path: Path, reference: dict[str, str]
) -> None:
    try_ = chaos.interrupted(int(how), tmp_path, reference, how)
    assert (try_.lost, try_.wrong) == (0, "")


def test_a_second_ctrl_c_ends_at_once_even_if_the_trial_hangs(tmp_path: Path) -> None:
    child = chaos.start(tmp_path, "--inject", "hang@2:1", "--trial-time-limit", "60")
    chaos.wait_for(child, "trials to run")
    deadline = time.monotonic() + 20
    while not (tmp_path / "rehearsal" / ".holder").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    time.sleep(0.1)
    begin = time.monotonic()
    child.send_signal(signal.SIGINT)
    output, errors = child.communicate(timeout=30)
    assert time.monotonic() - begin < 5.0, "not the 60 s that the trial may take"
    assert child.returncode == 130
    assert "Traceback" not in output + errors


def test_nohup_is_respected(tmp_path: Path) -> None:
    command = ["nohup", *chaos.command(tmp_path, "--step", "0.005")]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    chaos.wait_for(child, "trials to run")
    child.send_signal(signal.SIGHUP)
    assert "end: complete" in child.communicate(timeout=60)[0]
    assert child.returncode == 0


def test_a_closed_pipe_does_not_harm_the_sweep(tmp_path: Path, reference: dict[str, str]) -> None:
    child = chaos.start(tmp_path)
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    assert child.wait(timeout=60) == 0
    assert child.stderr is not None
    assert child.stderr.read() == ""
    child.stderr.close()
    assert rehearsal.table(tmp_path) == reference


def test_a_full_disk_as_the_kernel_tells_it(tmp_path: Path, reference: dict[str, str]) -> None:
    try_ = chaos.disk_full(0, tmp_path, reference)
    assert try_.wrong == ""


def test_stopped_and_continued_nothing_is_lost(tmp_path: Path, reference: dict[str, str]) -> None:
    child = chaos.start(tmp_path, "--step", "0.01", "--trial-time-limit", "30")
    chaos.wait_for(child, "[")
    child.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    child.send_signal(signal.SIGCONT)
    child.communicate(timeout=60)
    assert child.returncode == 0
    assert rehearsal.table(tmp_path) == reference


def test_on_a_terminal_the_panel_shows_what_runs(tmp_path: Path) -> None:
    """Through a pseudo-terminal: trials done, current trial with its loss, and the terminal is left as it was."""
    code = (
        "from pathlib import Path; from tests.harness import rehearsal; from bench.sweep import display, run;"
        f"o = rehearsal.options(Path({str(tmp_path)!r}), machine=rehearsal.RehearsalMachine(step_s=0.03));"
        "run.run(rehearsal.small_study(1), o, display.choose(True)([]))"
    )
    ours, theirs = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT,
                             env={**os.environ, "TERM": "xterm", "COLUMNS": "120"})  # fmt: skip
    os.close(theirs)
    shown = bytearray()

    def read() -> None:
        try:
            while data := os.read(ours, 4096):
                shown.extend(data)
        except OSError:
            pass

    reader = threading.Thread(target=read)
    reader.start()
    assert child.wait(timeout=60) == 0
    reader.join(timeout=5)
    os.close(ours)
    text = shown.decode()
    assert "of 8 trials done" in text
    assert "loss 0." in text
    assert "step " in text
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor is shown again"


def test_status_of_every_fault_is_in_the_record(tmp_path: Path) -> None:
    study = rehearsal.small_study(1)
    chosen = tuple(map(faults.parse, ["raise@1:2", "oom@2:2", "nan@3:2"]))
    changes = {"executor": "inline", "machine": rehearsal.RehearsalMachine(step_s=0.0), "faults": chosen}
    summary = sweep.run(study, rehearsal.options(tmp_path, **changes))
    found = {r.trial: r for _, r in record.load(tmp_path / "rehearsal")[0]}
    assert [found[trial].status for trial in study.trials[:3]] == [Status.ERROR, Status.OUT_OF_MEMORY, Status.DIVERGED]
    assert all(found[trial].message for trial in study.trials[:3])
    assert all(found[trial].environment["device"] == "cpu" for trial in study.trials)
    assert summary.ended == {Status.ERROR: 1, Status.OUT_OF_MEMORY: 1, Status.DIVERGED: 1, Status.OK: 5}


@pytest.mark.parametrize("tries", ["x", "0", "-1", "1.5"])
def test_a_number_of_tries_that_is_none_is_refused(tries: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert chaos.main([tries]) == sweep.EXIT_REFUSED
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", f"error: TRIES={tries} must be a whole number above zero\n")
