"""The inline executor: trials in the sweep's own process."""

import time
from typing import Any

from bench.store.record import Record, Status
from bench.sweep.executor import Outcome, Settings, too_long
from bench.sweep.worker import Job, Message, Stop, TimeUp, answer_of, describe, run


class Inline:
    """One trial at a time in the sweep's own process: for debugging, and to compare with."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: list[Job] = []

    def capacity(self, asked: int, device: str) -> int:
        return 1

    def call(self, name: str, *arguments: Any) -> Any:
        try:
            return answer_of(name, arguments)
        except (ValueError, Stop):
            raise
        except Exception as error:  # as from another process: one line
            raise ValueError(describe(error)) from None

    def submit(self, *jobs: Job) -> None:
        self._waiting += jobs

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
