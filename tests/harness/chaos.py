"""The fault matrix: does harm to small sweeps and counts what is lost. `python -m tests.harness.chaos` (make faults).

Each function is one try at one fault; the tests run a few of each, this command many, with fixed random
seeds. The sweeps are the rehearsal's: same supervisor, same records, no torch.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.store import record
from bench.store.record import Status
from bench.sweep import run as sweep
from tests.harness import faults, rehearsal

Table = dict[str, str]
# A line that reports a trial as finished; from then on it may not be lost.
REPORTED = re.compile(r"^\[ *\d+/\d+\] ([^,;]+), (?!running)")
PATIENCE_S = 300.0
# What each fault that can be injected must become.
BECOMES = {
    "kill": Status.ERROR,
    "segfault": Status.ERROR,
    "abort": Status.ERROR,
    "hang": Status.TIMEOUT,
    "raise": Status.ERROR,
    "oom": Status.OUT_OF_MEMORY,
    "oom-once": Status.OUT_OF_MEMORY,  # the rehearsal has no batch to split; real nets are in tests/bench
    "host-oom": Status.OUT_OF_MEMORY,
    "nan": Status.DIVERGED,
    "stall": Status.OK,
}


@dataclass(frozen=True)
class Try:
    """What one try found.

    Attributes:
        lost: Trials reported as finished whose records are not there, or not as they were.
        wrong: In words, any other broken promise; empty when all were kept.
        slowdown: Duration of all work over that of an undisturbed sweep, starts not counted; 0 where it has no meaning.
    """

    lost: int = 0
    wrong: str = ""
    slowdown: float = 0.0


def command(folder: Path, *arguments: str) -> list[str]:
    """The command line of a small sweep."""
    return [sys.executable, "-m", "tests.harness.rehearsal", str(folder), *arguments]


def _hear_hangups() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Starts a small sweep, deaf to no signal: under nohup it would inherit that SIGHUP is ignored."""
    return subprocess.Popen(
        command(folder, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=_hear_hangups,
    )  # fmt: skip


def wait_for(child: "subprocess.Popen[str]", words: str) -> list[str]:
    """Reads a sweep's output up to a line that holds some words; all lines so far."""
    assert child.stdout is not None
    lines = []
    for line in child.stdout:
        lines.append(line)
        if words in line:
            break
    return lines


def reported(output: str) -> set[str]:
    """Names of the trials that a sweep's output says are finished. A line that is cut short says nothing."""
    whole = output[: output.rfind("\n") + 1].splitlines()
    return {found[1] for line in whole if (found := REPORTED.match(line))}


def reference(folder: Path) -> Table:
    """The table that every sweep must end with: made inline, undisturbed."""
    machine = rehearsal.RehearsalMachine(step_s=0.0)
    sweep.run(rehearsal.small_study(), rehearsal.options(folder, executor="inline", machine=machine))
    return rehearsal.table(folder)


def lost(output: str, folder: Path, expected: Table) -> int:
    """How many trials that were reported as finished are not in the table as they should be."""
    table = rehearsal.table(folder)
    return sum(table.get(name) != expected[name] for name in reported(output))


def complete(folder: Path, expected: Table, *arguments: str) -> str:
    """Runs a sweep to its end; what is wrong with its table, in words."""
    child = start(folder, *arguments)
    output, errors = child.communicate(timeout=PATIENCE_S)
    if child.returncode != 0:
        return f"resuming ended with {child.returncode}: {(errors or output).strip()[-200:]}"
    table = rehearsal.table(folder)
    if table != expected:
        return f"{sum(table.get(k) != v for k, v in expected.items())} rows differ, {len(table)} rows"
    strays = [p.name for p in (folder / "rehearsal").iterdir() if p.suffix != ".json" and p.name != ".lock"]
    return f"left behind: {strays}" if strays else ""


def killed(seed: int, folder: Path, expected: Table, kills: int = 3) -> Try:
    """kill -9 of the sweep at random moments, resumed each time: with one worker, or two."""
    rng = random.Random(seed)
    arguments = ["--workers", str(1 + seed % 2), "--step", "0.003"]
    gone, total = 0, 0.0
    for _ in range(kills):
        child = start(folder, *arguments)
        begin = time.monotonic()
        # Within its work, most often: starting up takes a few tenths of a second.
        time.sleep(rng.uniform(0.1, 1.0))
        finished = child.poll() is not None
        child.kill()
        output, _ = child.communicate()
        total += time.monotonic() - begin
        gone += lost(output, folder, expected)
        if finished:
            break
    return Try(gone, complete(folder, expected, *arguments))


def killed_worker(seed: int, folder: Path, expected: Table) -> Try:
    """kill -9 of a worker at a random moment: at most one row has an error, and a second run mends it."""
    rng = random.Random(seed)
    child = start(folder, "--workers", "2", "--step", "0.005")
    lines = wait_for(child, "trials to run")
    time.sleep(rng.uniform(0.0, 0.6))
    for worker in _children(child.pid)[:1]:
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
    output = "".join(lines) + child.communicate(timeout=PATIENCE_S)[0]
    table = rehearsal.table(folder)
    bad = [name for name in expected if table.get(name) != expected[name]]
    wrong = f"{len(bad)} rows differ" if len(bad) > 1 else ""
    if bad and child.returncode != sweep.EXIT_FAILED:
        wrong = f"exit code {child.returncode} after a failure"
    missing = len(reported(output) - set(table))
    return Try(missing, wrong or complete(folder, expected))


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        return [int(word) for word in path.read_text().split()]
    except OSError:
        found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
        return [int(word) for word in found.stdout.split()]


def interrupted(seed: int, folder: Path, expected: Table, how: signal.Signals = signal.SIGINT) -> Try:
    """One signal at a random moment: over within 5 s, exit code 130, and what is resumed ends the same."""
    rng = random.Random(seed)
    child = start(folder, "--workers", str(1 + seed % 2), "--step", "0.02")
    lines = wait_for(child, "trials to run")
    time.sleep(rng.uniform(0.0, 0.5))
    begin = time.monotonic()
    child.send_signal(how)
    output, errors = child.communicate(timeout=PATIENCE_S)
    took = time.monotonic() - begin
    wrong = ""
    if child.returncode != sweep.EXIT_INTERRUPTED or took > 5.0:
        wrong = f"exit code {child.returncode} after {took:.1f} s"
    if "Traceback" in errors:
        wrong = "a traceback"
    gone = lost("".join(lines) + output, folder, expected)
    statuses = {found.status for _, found in record.load(folder / "rehearsal")[0]}
    if statuses - {Status.OK}:
        wrong = "an interrupted trial left a record"
    return Try(gone, wrong or complete(folder, expected))


def injected(name: str, folder: Path, expected: Table) -> Try:
    """A fault in one trial: its row has status and reason, all others are unchanged, and a second run mends it."""
    arguments = ["--workers", "2", "--inject", f"{name}@3:4", "--trial-time-limit", "1.5" if name == "hang" else "60"]
    child = start(folder, *arguments)
    output, errors = child.communicate(timeout=PATIENCE_S)
    found = {r.trial: r for _, r in record.load(folder / "rehearsal")[0]}
    hit = found.get(rehearsal.small_study().trials[2])
    table = rehearsal.table(folder)
    bad = [row for row in expected if table.get(row) != expected[row]]
    status = BECOMES[name]
    code = 0 if status.final else sweep.EXIT_FAILED
    gone = len(reported(output) - set(table))
    if child.returncode != code:
        return Try(gone, f"exit code {child.returncode}, not {code}: {errors.strip()[-200:]}")
    if hit is None or hit.status != status or (status != Status.OK and not hit.message):
        return Try(gone, f"its row says {hit and hit.status}: {hit and hit.message!r}")
    if len(bad) != (status != Status.OK):
        return Try(gone, f"{len(bad)} rows differ")
    return Try(gone, "" if status == Status.DIVERGED else complete(folder, expected))


def disk_full(seed: int, folder: Path, expected: Table) -> Try:
    """A disk on which small files fit and records do not: stops with path and bytes, and goes on when there is room."""
    child = start(folder, "--workers", str(1 + seed % 2), "--file-limit", "300")
    output, _ = child.communicate(timeout=PATIENCE_S)
    if child.returncode != sweep.EXIT_REFUSED or "bytes): " not in output or str(folder) not in output:
        return Try(0, f"exit code {child.returncode}: {output.strip()[-200:]}")
    return Try(lost(output, folder, expected), complete(folder, expected))


def died_in_write(seed: int, folder: Path, expected: Table) -> Try:
    """The sweep dies just before its n-th system call of all those that write records, n = seed."""
    calls = {"n": 0}
    child = os.fork()
    if child == 0:

        def dying(real: Callable[..., object]) -> Callable[..., object]:
            def call(*arguments: object, **named: object) -> object:
                calls["n"] += 1
                if calls["n"] > seed:
                    os._exit(9)
                return real(*arguments, **named)

            return call

        for name in ("fsync", "replace", "chmod", "fdopen"):
            setattr(os, name, dying(getattr(os, name)))
        machine = rehearsal.RehearsalMachine(step_s=0.0)
        sweep.run(rehearsal.small_study(), rehearsal.options(folder, executor="inline", machine=machine))
        os._exit(0)
    os.waitpid(child, 0)
    table = rehearsal.table(folder)
    wrong = sum(table[name] != expected[name] for name in table)
    return Try(wrong, complete(folder, expected))


def cut(seed: int, folder: Path, expected: Table) -> Try:
    """One record cut short, another with a bit flipped: both set aside by name and run again, the rest untouched."""
    rng = random.Random(seed)
    reference(folder)
    paths = sorted((folder / "rehearsal").glob("*.json"))
    torn, flipped = rng.sample(paths, 2)
    torn.write_bytes(torn.read_bytes()[: rng.randrange(torn.stat().st_size - 1)])
    data = bytearray(flipped.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    flipped.write_bytes(data)
    kept = rehearsal.table(folder)
    wrong = [name for name in kept if kept[name] != expected[name]]
    summary = sweep.run(
        rehearsal.small_study(),
        rehearsal.options(folder, executor="inline", machine=rehearsal.RehearsalMachine(step_s=0.0)),
    )
    ran = sum(summary.ended.values())
    aside = len(list((folder / "rehearsal").glob("*.corrupt-*")))
    if wrong or rehearsal.table(folder) != expected:
        return Try(len(wrong), "the table differs")
    return Try(0, "" if ran == aside == len(expected) - len(kept) else f"{ran} run again, {aside} set aside")


def refused_twice(seed: int, folder: Path, expected: Table) -> Try:
    """A second sweep on the folder of a running one is refused; after kill -9 of the first it is not."""
    first = start(folder, "--step", "0.02")
    wait_for(first, "trials to run")
    second = subprocess.run(command(folder), capture_output=True, text=True, check=False)
    first.kill()
    first.communicate()
    if second.returncode != sweep.EXIT_REFUSED or f"pid {first.pid} on" not in second.stderr:
        return Try(0, f"exit code {second.returncode}: {second.stderr.strip()[-200:]}")
    return Try(0, complete(folder, expected))


def timed(seed: int, folder: Path, expected: Table, kills: int = 4) -> Try:
    """How much longer a sweep's work takes that is killed again and again; starts are counted apart."""
    rng = random.Random(seed)

    def work(at: Path, seconds: float) -> tuple[float, str]:
        """Runs a sweep, at most so long after its start; how long it worked, and what it printed."""
        child = start(at, "--step", "0.02")
        lines = wait_for(child, "trials to run")
        begin = time.monotonic()
        try:
            output = child.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            child.kill()
            output = child.communicate()[0]
        return time.monotonic() - begin, "".join(lines) + output

    undisturbed, _ = work(folder / "undisturbed", PATIENCE_S)
    spent, gone = 0.0, 0
    for _ in range(kills):
        seconds, output = work(folder / "disturbed", rng.uniform(0.1, 1.0) * undisturbed / kills)
        spent += seconds
        gone += lost(output, folder / "disturbed", expected)
    spent += work(folder / "disturbed", PATIENCE_S)[0]
    slowdown = spent / undisturbed
    wrong = "slower than 1.5 times" if slowdown > 1.5 else complete(folder / "disturbed", expected)
    return Try(gone, wrong, slowdown)


def matrix(scale: int) -> list[tuple[str, Callable[[int, Path, Table], Try], int]]:
    """Fault, a try at it, and how many tries."""
    rows: list[tuple[str, Callable[[int, Path, Table], Try], int]] = [
        ("kill -9 of the sweep, 3 times a sweep, 1 or 2 workers", killed, 4 * scale),
        ("kill -9 of a worker", killed_worker, 2 * scale),
        ("death at each system call of writing", died_in_write, 7 * scale),
        ("record cut short, another with a bit flipped", cut, 10 * scale),
        ("disk full", disk_full, scale),
        ("second sweep on the folder, then kill -9 of the first", refused_twice, scale),
        ("kill -9 of the sweep, 4 times a sweep: duration", timed, max(1, scale // 2)),
    ]
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        rows.append((how.name, lambda n, f, e, how=how: interrupted(n, f, e, how), scale))  # type: ignore[misc]
    for name in faults.FAULTS:
        rows.append((f"injected: {name}", lambda n, f, e, name=name: injected(name, f, e), scale))  # type: ignore[misc]
    return rows


def main(arguments: Sequence[str]) -> int:
    """Runs the matrix and prints it; the argument is the number of tries that a row is scaled by."""
    asked = arguments[0] if arguments else "10"
    if not (asked.isascii() and asked.isdecimal() and int(asked) > 0):
        print(f"error: TRIES={asked} must be a whole number above zero", file=sys.stderr)
        return sweep.EXIT_REFUSED
    scale = int(asked)
    failures = 0
    print(f"{'fault':<56} {'tries':>5} {'lost records':>12} {'worst slowdown':>14}")
    with tempfile.TemporaryDirectory() as scratch:
        expected = reference(Path(scratch) / "reference")
        for name, attempt, tries in matrix(scale):
            found = []
            for n in range(tries):
                folder = Path(scratch) / "try"
                folder.mkdir()
                try:
                    found.append(attempt(n, folder, expected))
                except subprocess.TimeoutExpired as error:
                    found.append(Try(0, f"still running after {error.timeout:g} s"))
                shutil.rmtree(folder, ignore_errors=True)
            slowest = max(try_.slowdown for try_ in found)
            print(f"{name:<56} {tries:>5} {sum(t.lost for t in found):>12} {f'{slowest:.2f}' if slowest else '-':>14}")
            for n, try_ in enumerate(found):
                if try_.wrong or try_.lost:
                    failures += 1
                    print(f"    try {n}: {try_.wrong or 'lost records'}")
            sys.stdout.flush()
    print(f"broken promises: {failures}")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
