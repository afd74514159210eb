"""A worker process seen from the sweep: started, talked to, ended, and asked what it died of.

Its far side is `worker.py`. Which worker gets which trial is the business of `process.Process`.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.store.record import Status
from bench.sweep.worker import Job

# glibc returns large freed blocks to the system at once and faults them in again each step; kept, and on huge
# pages, a step of 258 layers took 6 to 7 % less CPU time (three turns each), with the same numbers.
MALLOC_SETTINGS = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=1073741824:glibc.malloc.trim_threshold=4294967296"
# A thread pool that is larger than a worker's share slows everything more than 50-fold (docs/performance.md, 3b); these
# are read when the libraries load, so they are set before the worker starts.
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


# What a worker runs. It can import what this process can, from the same places in the same order: a user's own block,
# a test's trial function. Not by PYTHONPATH, which has no word for a folder with a colon in its name.
START = "import sys; sys.path[:] = sys.argv[5:]; from bench.sweep.worker import main; main()"


def places() -> list[str]:
    """Where this process imports from, as another one can be told."""
    return [path or os.getcwd() for path in sys.path]


# What torch and its profiler log on the way: [W1126 11:27:41.66 ..., USDT:2026-11-26 ..., x.py:1: UserWarning: ...
_CHATTER = re.compile(r"\[?[IW]\d{4} |(STAGE|INFO|WARNING):|[A-Z]+:\d{4}-\d\d-\d\d \d\d:|\S+\.py:\d+: \w*Warning: ")


class Worker:
    """A process in a session of its own, which dies with this one."""

    def __init__(self, threads: int) -> None:
        ours, theirs = os.pipe(), os.pipe()  # to the worker, from it
        lifeline = os.pipe()
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the worker)
        environment = {"GLIBC_TUNABLES": MALLOC_SETTINGS, **os.environ, **dict.fromkeys(THREAD_SETTINGS, str(threads))}
        passed = (ours[0], theirs[1], lifeline[0])
        command = [sys.executable, "-c", START, *map(str, passed), str(os.getpid()), *places()]
        self.process = subprocess.Popen(
            command,
            env=environment,
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        for descriptor in passed:
            os.close(descriptor)
        self._lifeline = lifeline[1]
        self.sending = Connection(ours[1], readable=False)
        self.receiving = Connection(theirs[0], writable=False)
        self.jobs: dict[int, Job] = {}  # by number, those that have not ended
        self.limit_s = 0.0  # within which they must
        self.doubtful = False  # whether it is to be replaced once they have
        self.begun = False  # whether the worker has the jobs in hand; its own start is not their time
        self.since = 0.0
        self._oom_kills = oom_kills()

    def send(self, *request: Any) -> None:
        """Sends a request; a worker that is gone shows at the next receive."""
        with suppress(BrokenPipeError):
            self.sending.send(request)

    def start(self, jobs: Sequence[Job], limit_s: float) -> None:
        """Sends jobs to be run at once; by turns they may take as long as one after the other.

        Args:
            jobs: One, or several seeds of a net.
            limit_s: Of each; 0 is none.
        """
        self.jobs, self.limit_s = {job.number: job for job in jobs}, limit_s * len(jobs)
        self.begun, self.since = False, time.monotonic()
        self.send("jobs", list(jobs))

    def kill(self) -> None:
        """Ends the whole process group, and frees what it held here."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for connection in (self.sending, self.receiving):
            connection.close()
        with suppress(OSError):
            os.close(self._lifeline)
        self._lifeline = -1
        self.log.close()

    def obituary(self) -> tuple[Status, str]:
        """Why a worker is gone: its signal or exit code, and the last thing that it wrote."""
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return Status.ERROR, "worker closed its connection"
        # Whoever is killed outright has no time for a last word: what stands in the log is about something else.
        words = "" if code == -signal.SIGKILL else self._last_words()
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            return Status.OUT_OF_MEMORY, "worker killed by signal 9 (SIGKILL): host out of memory"
        if code < 0:
            name = signal.Signals(-code).name if -code in {int(s) for s in signal.Signals} else "?"
            return Status.ERROR, f"worker killed by signal {-code} ({name}){words}"
        return Status.ERROR, f"worker ended with exit code {code}{words}"

    def _last_words(self) -> str:
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - 20_000))
        lines = [line.strip() for line in self.log.read().decode(errors="replace").splitlines() if line.strip()]
        lines = [line for line in lines if not _CHATTER.match(line)]
        # faulthandler names the thread that failed last; its innermost frame comes first, and is the one that tells.
        failed = next((i for i, line in enumerate(lines) if line.startswith("Current thread 0x")), len(lines))
        chosen = [line for line in lines[failed:] if line.startswith('File "')][:1] or lines[-1:]
        return f": {chosen[0][:300]}" if chosen else ""


# Where Linux counts what its out-of-memory killer did: cgroup v2, cgroup v1, the whole machine.
OOM_COUNTERS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control", "/proc/vmstat")


def oom_kills() -> int:
    """How many processes the kernel has killed for lack of memory, as far as it can be told."""
    for path in OOM_COUNTERS:
        with suppress(OSError, ValueError, IndexError):
            for line in Path(path).read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0
