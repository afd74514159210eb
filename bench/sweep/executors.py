"""Where trials run: in this process, in supervised warm workers, or on a Ray cluster.

An executor takes jobs, tells progress, and gives back an outcome for each job: a record, or nothing when
the trial was stopped. It never touches the records' folder, and knows neither order nor resume.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Protocol

from bench.store.record import Record, Status
from bench.sweep.supervisor import Worker
from bench.sweep.worker import Job, Message, Stop, TimeUp, answer_of, run

# A worker is there in 0.1 s, or in seconds on a busy network disk; after this it will never be.
START_LIMIT_S = 120.0


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
        gpus_per_trial: What Ray reserves for a trial; a fraction lets small nets share a GPU.
        on_progress: Gets each job's messages, in the sweep's own thread.
        stopping: Whether the sweep is being stopped; only who runs trials in this very process need ask.
    """

    workers: int
    threads: int
    trial_time_limit_s: float
    on_progress: Callable[[Job, Message], None]
    stopping: Callable[[], bool]
    gpus_per_trial: float = 1.0


class Executor(Protocol):
    """What the sweep needs of a place where trials run."""

    def capacity(self, asked: int, device: str) -> int:
        """How many jobs may be under way, once the device is known; `asked` is the user's wish, or 0."""

    def call(self, name: str, *arguments: Any) -> Any:
        """Runs a function where trials run, before any of them.

        Raises:
            ValueError: It did, or could not even be called; the message is one line.
            Stop: The sweep is being stopped.
        """

    def submit(self, job: Job) -> None:
        """Takes a job; never called while `capacity` jobs are under way."""

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

    def capacity(self, asked: int, device: str) -> int:
        return 1

    def call(self, name: str, *arguments: Any) -> Any:
        return answer_of(name, arguments)

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


class Process:
    """Supervised workers: each a process of its own, warm between trials, replaced when one dies.

    A plain process pool would lose every other trial with the first that is killed, and a fresh process a
    trial would spend 6 s of CPU on loading torch each time (traps.md).
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers: list[Worker] = []

    def capacity(self, asked: int, device: str) -> int:
        # Two processes on one GPU would only be in each other's way.
        return asked or (self._settings.workers if device == "cpu" else 1)

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
            raise ValueError(f"trials cannot run here: {worker.obituary()[1]}") from None
        if answer[0] == "failed":
            raise ValueError(answer[1])
        return answer[1]

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
                if kind == "begun":
                    worker.begun, worker.since = True, time.monotonic()
                    continue
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
        job, limit = worker.job, self._settings.trial_time_limit_s
        seconds = time.monotonic() - worker.since
        if job is None:
            return None
        if not worker.begun and seconds > START_LIMIT_S:
            words = f"worker did not start within {START_LIMIT_S:g} s"
            record = Record(job.trial, Status.ERROR, words, seconds=seconds)
        elif worker.begun and limit and seconds > limit:
            record = Record(job.trial, Status.TIMEOUT, too_long(limit), seconds=seconds)
        else:
            return None
        self._drop(worker)
        return Outcome(job, record)

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
    if record.status == Status.ERROR:
        return record.environment.get("device") == "cuda" or "cuda" in record.message.lower()
    return record.status == Status.OUT_OF_MEMORY


def _ray(settings: Settings) -> Executor:
    try:
        from bench.sweep.ray_cluster import Ray
    except ImportError as error:
        raise ValueError(f"executor 'ray' needs the extra 'ray' (pip install '.[ray]'): {error}") from None
    return Ray(settings)


EXECUTORS: dict[str, Callable[[Settings], Executor]] = {
    "inline": Inline,
    "process": Process,
    "ray": _ray,
}
