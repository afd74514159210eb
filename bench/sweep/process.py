"""The process executor: supervised workers, kept warm between trials. The far side of each is `worker`."""

import time
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

from bench.plan.machine import GPUS
from bench.store.record import Record, Status
from bench.sweep.executor import Outcome, Settings, too_long
from bench.sweep.supervisor import Worker
from bench.sweep.worker import Job, Stop, tried

# A worker is there in 0.1 s, or in seconds on a busy network disk; after this it will never be.
START_LIMIT_S = 120.0
# The preflight reads data sets, and may decode or download them first. Assumed.
CALL_LIMIT_S = 1800.0


class _Gone(Exception):  # noqa: N818 (it says what became of the worker)
    """A worker ended before it answered; the message is one line."""


class Process:
    """Supervised workers: each a process of its own, warm between trials, replaced when one dies.

    A plain process pool would lose every other trial with the first that is killed, and a fresh process a
    trial would spend 6 s of CPU on loading torch each time.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers: list[Worker] = []

    def capacity(self, asked: int, device: str) -> int:
        # Two processes on one GPU would only be in each other's way.
        return asked or (1 if device in GPUS else self._settings.workers)

    def _idle(self) -> Worker:
        for worker in list(self._workers):
            if not worker.jobs:
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
        """See `Executor.call`. A worker that is killed meanwhile is replaced and asked again, once."""
        try:
            with suppress(_Gone):
                return self._ask(name, arguments)
            return self._ask(name, arguments)
        except _Gone as error:
            raise ValueError(f"trials cannot run here: {error}{tried(arguments)}") from None

    def _ask(self, name: str, arguments: tuple[Any, ...]) -> Any:
        worker = self._idle()
        worker.send("call", name, arguments)
        since, begun = time.monotonic(), False
        try:
            while True:
                if worker.receiving.poll(0.2):
                    kind, *content = worker.receiving.recv()
                    if kind == "value":
                        if content[1]:  # trials are to find the process as it was
                            self._drop(worker)
                        return content[0]
                    if kind == "failed":
                        raise ValueError(content[0])
                    since, begun = time.monotonic(), True
                if self._settings.stopping():
                    raise Stop
                limit = CALL_LIMIT_S if begun else START_LIMIT_S
                if time.monotonic() - since > limit:
                    self._drop(worker)
                    what = "give an answer" if begun else "start"
                    raise ValueError(
                        f"trials cannot run here: worker did not {what} within {limit:g} s{tried(arguments)}"
                    )
        except (EOFError, ConnectionResetError):
            why = worker.obituary()[1]
            self._drop(worker)
            raise _Gone(why) from None

    def submit(self, *jobs: Job) -> None:
        self._idle().start(jobs, self._settings.trial_time_limit_s)

    def wait(self, seconds: float) -> list[Outcome]:
        busy = {worker.receiving: worker for worker in self._workers if worker.jobs}
        outcomes = []
        for ready in wait(list(busy), seconds):
            outcomes += self._receive(busy[ready])  # type: ignore[index]
        for worker in busy.values():
            outcomes += self._overdue(worker) if worker.jobs else []
        return outcomes

    def _receive(self, worker: Worker) -> list[Outcome]:
        """Everything that a worker has to say; the outcomes among it."""
        outcomes = []
        try:
            while worker.jobs and worker.receiving.poll(0):
                kind, *content = worker.receiving.recv()
                if kind == "begun":
                    worker.begun, worker.since = True, time.monotonic()
                    continue
                if kind == "progress":
                    self._settings.on_progress(worker.jobs[content[0]], content[1])
                    continue
                record = content[1] if kind == "record" else None
                outcomes.append(Outcome(worker.jobs.pop(content[0]), record))
                worker.doubtful |= bool(record and _doubtful(record))
                if worker.doubtful and not worker.jobs:
                    self._drop(worker)
        except (EOFError, ConnectionResetError):
            outcomes += self._lose(worker, *worker.obituary())
        return outcomes

    def _overdue(self, worker: Worker) -> list[Outcome]:
        seconds = time.monotonic() - worker.since
        if not worker.begun and seconds > START_LIMIT_S:
            return self._lose(worker, Status.ERROR, f"worker did not start within {START_LIMIT_S:g} s")
        if worker.begun and worker.limit_s and seconds > worker.limit_s:
            return self._lose(worker, Status.TIMEOUT, too_long(worker.limit_s))
        return []

    def _lose(self, worker: Worker, status: Status, message: str) -> list[Outcome]:
        """Ends a worker; what it had in hand ends with it."""
        jobs, seconds = list(worker.jobs.values()), time.monotonic() - worker.since
        worker.jobs.clear()
        self._drop(worker)
        return [Outcome(job, Record(job.trial, status, message, seconds=seconds)) for job in jobs]

    def stop(self, seconds: float) -> list[Outcome]:
        deadline = time.monotonic() + seconds
        for worker in self._workers:
            if worker.jobs:
                worker.send("stop")
        outcomes = []
        while any(w.jobs for w in self._workers) and (left := deadline - time.monotonic()) > 0:
            outcomes += self.wait(min(left, 0.1))
        stopped = [Outcome(job, None) for worker in self._workers for job in worker.jobs.values()]
        self.close()
        return outcomes + stopped

    def close(self) -> None:
        for worker in list(self._workers):
            self._drop(worker)


def _doubtful(record: Record) -> bool:
    """Whether the worker is to be replaced: a trial changed it, or an error may have poisoned its GPU."""
    left: str = record.environment.get("left_behind", "")
    if left:
        return True
    if record.status == Status.ERROR:
        return record.device in GPUS or any(name in record.message.lower() for name in GPUS)
    return record.status == Status.OUT_OF_MEMORY
