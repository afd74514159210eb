"""Where trials run: in this process, in supervised warm workers, or on a Ray cluster.

An executor takes jobs, tells progress, and gives back an outcome for each job: a record, or nothing when
the trial was stopped. It never touches the records' folder, and knows neither order nor resume.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import IO, Any, Protocol

from bench.record import Record, Status
from bench.worker import Job, Message, Stop, TimeUp, resolve, run

# A thread pool that is larger than a worker's share slows everything 50-fold (traps.md); these are read
# when the libraries load, so they are set before the worker starts.
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """What became of a job; `record` is None when it was stopped before its end."""

    job: Job
    record: Record | None


@dataclass(frozen=True)
class Settings:
    """How an executor is to work.

    Attributes:
        workers: Trials at a time.
        threads: Of each worker.
        trial_time_limit_s: A trial that takes longer ends with status timeout; 0 is no limit.
        on_progress: Gets each job's messages, in the sweep's own thread.
        stopping: Whether the sweep is being stopped; only who runs trials in this very process need ask.
    """

    workers: int
    threads: int
    trial_time_limit_s: float
    on_progress: Callable[[Job, Message], None]
    stopping: Callable[[], bool]


class Refused(ValueError):
    """The far side says that the request itself cannot be served."""


class Executor(Protocol):
    """What the sweep needs of a place where trials run."""

    def call(self, name: str, *arguments: Any) -> Any:
        """Runs a function where trials run, before any of them.

        Raises:
            Refused: It raised a ValueError; the message is its line.
            Stop: The sweep is being stopped.
            RuntimeError: Anything else went wrong.
        """

    def submit(self, job: Job) -> None:
        """Takes a job; never called while `workers` jobs are under way."""

    def wait(self, seconds: float) -> list[Outcome]:
        """What ended, after at most about `seconds`."""

    def stop(self, seconds: float) -> list[Outcome]:
        """Stops all jobs at their next step, and by force after `seconds`; those that ended by then count."""

    def close(self) -> None:
        """Ends everything at once."""


class Inline:
    """One trial at a time in the sweep's own process: for debugging, and to compare with."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: list[Job] = []

    def call(self, name: str, *arguments: Any) -> Any:
        try:
            return resolve(name)(*arguments)
        except ValueError as error:
            raise Refused(str(error)) from None

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def wait(self, seconds: float) -> list[Outcome]:
        return [Outcome(job, self._run(job)) for job in [self._waiting.pop()]]

    def _run(self, job: Job) -> Record | None:
        begin = time.monotonic()
        limit = self._settings.trial_time_limit_s

        def tell(message: Message) -> None:
            if self._settings.stopping():
                raise Stop
            if limit and time.monotonic() - begin > limit:
                raise TimeUp
            self._settings.on_progress(job, message)

        try:
            return run(job, tell)
        except Stop:
            return None
        except TimeUp:
            return Record(job.trial, Status.TIMEOUT, too_long(limit), seconds=time.monotonic() - begin)

    def stop(self, seconds: float) -> list[Outcome]:
        stopped, self._waiting = self._waiting, []
        return [Outcome(job, None) for job in stopped]

    def close(self) -> None:
        self._waiting.clear()


def too_long(limit_s: float) -> str:
    return f"longer than the trial time limit of {limit_s:g} s"


class Worker:
    """A worker process seen from the sweep; see `bench/worker.py` for its far side."""

    def __init__(self, threads: int) -> None:
        ours, theirs = os.pipe(), os.pipe()  # to the worker, from it
        lifeline = os.pipe()
        self.log: IO[bytes] = tempfile.TemporaryFile()
        environment = {**os.environ, **dict.fromkeys(THREAD_SETTINGS, str(threads))}
        # What the sweep can import, its workers can: a user's own architecture, a test's trial function.
        environment["PYTHONPATH"] = os.pathsep.join(p or os.getcwd() for p in sys.path)
        passed = (ours[0], theirs[1], lifeline[0])
        command = [sys.executable, "-m", "bench.worker", *map(str, passed), str(os.getpid())]
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
        self.job: Job | None = None
        self.since = 0.0
        self._oom_kills = oom_kills()

    def send(self, *request: Any) -> None:
        """Sends a request; a worker that is gone shows at the next receive."""
        with suppress(BrokenPipeError):
            self.sending.send(request)

    def start(self, job: Job) -> None:
        """Sends a job."""
        self.job, self.since = job, time.monotonic()
        self.send("job", job)

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
        words = self._last_words()
        if code == -signal.SIGKILL and oom_kills() > self._oom_kills:
            return Status.OUT_OF_MEMORY, "worker killed by signal 9 (SIGKILL): host out of memory"
        if code < 0:
            name = signal.Signals(-code).name if -code in {int(s) for s in signal.Signals} else "?"
            return Status.ERROR, f"worker killed by signal {-code} ({name}){words}"
        return Status.ERROR, f"worker ended with exit code {code}{words}"

    def _last_words(self) -> str:
        self.log.seek(max(0, self.log.seek(0, os.SEEK_END) - 20_000))
        lines = [line.strip() for line in self.log.read().decode(errors="replace").splitlines() if line.strip()]
        # faulthandler: the innermost frame comes first, and is the one that tells.
        frames = [line for line in lines if line.startswith('File "')] if "Fatal Python error" in str(lines) else []
        chosen = frames[:1] or lines[-1:]
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


class Process:
    """Supervised workers: each a process of its own, warm between trials, replaced when one dies.

    A plain process pool would lose every other trial with the first that is killed, and a fresh process a
    trial would spend 6 s of CPU on loading torch each time (traps.md).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers: list[Worker] = []

    def _idle(self) -> Worker:
        for worker in list(self._workers):
            if worker.job is None:
                if worker.process.poll() is None:
                    return worker
                self._drop(worker)
        worker = Worker(self._settings.threads)
        self._workers.append(worker)
        return worker

    def _drop(self, worker: Worker) -> None:
        self._workers.remove(worker)
        worker.kill()

    def call(self, name: str, *arguments: Any) -> Any:
        worker = self._idle()
        worker.send("call", name, arguments)
        try:
            while not worker.receiving.poll(0.2):
                if self._settings.stopping():
                    raise Stop
            answer = worker.receiving.recv()
        except EOFError:
            raise RuntimeError(worker.obituary()[1]) from None
        if answer[0] == "value":
            return answer[1]
        raise Refused(answer[1]) if answer[2] else RuntimeError(answer[1])

    def submit(self, job: Job) -> None:
        self._idle().start(job)

    def wait(self, seconds: float) -> list[Outcome]:
        busy = {worker.receiving: worker for worker in self._workers if worker.job}
        outcomes = [self._receive(busy[ready]) for ready in wait(list(busy), seconds)]  # type: ignore[index]
        outcomes += [self._overdue(worker) for worker in busy.values()]
        return [outcome for outcome in outcomes if outcome]

    def _receive(self, worker: Worker) -> Outcome | None:
        """Everything that a worker has to say; the outcome, if that is among it."""
        job = worker.job
        assert job is not None
        try:
            while worker.receiving.poll(0):
                kind, *content = worker.receiving.recv()
                if kind == "progress":
                    self._settings.on_progress(job, content[0])
                    continue
                worker.job = None
                record = content[0] if kind == "record" else None
                if record and _doubtful(record):
                    self._drop(worker)
                return Outcome(job, record)
        except (EOFError, ConnectionResetError):
            status, message = worker.obituary()
            seconds = time.monotonic() - worker.since
            self._drop(worker)
            return Outcome(job, Record(job.trial, status, message, seconds=seconds))
        return None

    def _overdue(self, worker: Worker) -> Outcome | None:
        limit = self._settings.trial_time_limit_s
        seconds = time.monotonic() - worker.since
        if worker.job is None or not limit or seconds < limit:
            return None
        job = worker.job
        self._drop(worker)
        return Outcome(job, Record(job.trial, Status.TIMEOUT, too_long(limit), seconds=seconds))

    def stop(self, seconds: float) -> list[Outcome]:
        deadline = time.monotonic() + seconds
        for worker in self._workers:
            if worker.job:
                worker.send("stop")
        outcomes = []
        while any(w.job for w in self._workers) and (left := deadline - time.monotonic()) > 0:
            outcomes += self.wait(min(left, 0.1))
        stopped = [Outcome(worker.job, None) for worker in self._workers if worker.job]
        self.close()
        return outcomes + stopped

    def close(self) -> None:
        for worker in list(self._workers):
            self._drop(worker)


def _doubtful(record: Record) -> bool:
    """Whether the worker is to be replaced: after any CUDA error, its context may be poisoned."""
    failed = record.status in (Status.ERROR, Status.OUT_OF_MEMORY)
    return record.status == Status.OUT_OF_MEMORY or (failed and "cuda" in f"{record.environment} {record.message}".lower())


def _ray(settings: Settings) -> Executor:
    try:
        from bench.cluster import Ray
    except ImportError as error:
        raise ValueError(f"executor 'ray' needs the extra 'ray' (pip install '.[ray]'): {error}") from None
    return Ray(settings)


EXECUTORS: dict[str, Callable[[Settings], Executor]] = {
    "inline": Inline,
    "process": Process,
    "ray": _ray,
}


def with_environment(record: Record, environment: dict[str, Any]) -> Record:
    """A record that was made without the trial's help still says where it was tried."""
    return replace(record, environment={**environment, **record.environment})
