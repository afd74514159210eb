"""What the sweep needs of a place where trials run: the protocol, and the plain data that passes through it.

An executor takes jobs, tells progress, and gives back an outcome for each job: a record, or nothing when
the trial was stopped. It never touches the records' folder, and knows neither order nor resume.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from bench.store.record import Record
from bench.sweep.worker import Job, Message


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

    def submit(self, *jobs: Job) -> None:
        """Takes a job, or, executor "process", some to run at once; never while `capacity` such are under way."""

    def wait(self, seconds: float) -> list[Outcome]:
        """What ended, after at most about `seconds`."""

    def stop(self, seconds: float) -> list[Outcome]:
        """Stops all jobs at their next step, and by force after `seconds`; those that ended by then count."""

    def close(self) -> None:
        """Ends everything at once."""


def too_long(limit_s: float) -> str:
    """The message of a trial that took longer than its time limit."""
    return f"longer than the trial time limit of {limit_s:g} s"
