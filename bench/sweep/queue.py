"""What is still to run: in what order, and what may run at the same time."""

import dataclasses
from collections.abc import Collection, Sequence

from bench.plan.trial import Trial
from bench.sweep.forecast import Forecast, work
from bench.sweep.worker import Job


def exclusive(trial: Trial) -> bool:
    """Whether nothing else may run beside a trial: time and memory are measured in it."""
    return not trial.trains


def order(jobs: Sequence[Job], limited: bool = False) -> list[Job]:
    """By seed, within a seed the longest first; costs after the training of the first seed.

    Half a study is then already useful, and no worker ends up alone with the longest trial. `limited`: under a time
    limit the shortest come first, so that a short look shows shallow nets of every kind.
    """
    first, sign = min((job.trial.seed for job in jobs), default=0), 1 if limited else -1

    def key(job: Job) -> tuple[int, bool, float, int]:
        seed = first if exclusive(job.trial) else job.trial.seed
        return seed, exclusive(job.trial), sign * work(job.trial), job.number

    return sorted(jobs, key=key)


def sociable(job: Job) -> bool:
    """Whether a trial may be one of several in a process.

    What draws from the process's own generators runs alone, and so does a user's own code, which may do so.
    """
    row = job.trial.architecture
    return job.trial.trains and not (row.draws or row.factory or job.faults or job.alone)


def companions(job: Job, others: Sequence[Job]) -> list[Job]:
    """Those that may train at once with this one, in its process: they differ in the seed only."""
    net = dataclasses.replace(job.trial, seed=0)
    same = (each for each in others if each is not job and dataclasses.replace(each.trial, seed=0) == net)
    return [each for each in same if sociable(each)] if sociable(job) else []


class Queue:
    """The jobs that are still to run.

    Args:
        jobs: In their order.
        forecast: Of how long each takes.
        seeds_at_once: Of one net.
    """

    def __init__(self, jobs: Sequence[Job], forecast: Forecast, seeds_at_once: int = 1) -> None:
        self.jobs, self._forecast, self._at_once = list(jobs), forecast, seeds_at_once

    def take(self, running: Collection[Job], workers: int, left_s: float) -> list[Job]:
        """What may start now: one job, or several seeds of a net to be run at once. Empty: nothing.

        What is measured runs alone, and nothing starts that cannot end in time.
        """
        processes = {job.group or job.number for job in running}
        if len(processes) >= workers or any(exclusive(job.trial) for job in running):
            return []
        job = next((job for job in self.jobs if self._seconds(job) < left_s), None)
        if job is None or (exclusive(job.trial) and running):
            return []
        group = [job, *(companions(job, self.jobs)[: self._at_once - 1] if self._at_once > 1 else ())]
        while len(group) > 1 and len(group) * self._seconds(job) >= left_s:
            group.pop()
        for each in group:
            self.jobs.remove(each)
        if len(group) == 1:
            return group
        return [
            dataclasses.replace(
                each, group=job.number, machine=dataclasses.replace(each.machine, seeds_at_once=len(group))
            )
            for each in group
        ]

    def again(self, job: Job) -> None:
        """Puts back what failed beside others: next, and alone."""
        machine = dataclasses.replace(job.machine, seeds_at_once=1)
        self.jobs.insert(0, dataclasses.replace(job, group=0, alone=True, machine=machine))

    def _seconds(self, job: Job) -> float:
        return self._forecast.seconds(job.trial) or 0.0
