"""Runs a study: which trials are still to do, in what order, and what to make of their ends.

The only writer of records. Trials run elsewhere (`executors.py`); what counts as done is the business of
`Folder` in `bench/store/folder.py`; how it looks while it runs is `display.py`'s.
"""

import dataclasses
import os
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from bench.plan import tuned
from bench.plan.machine import DEVICES, GPUS, Machine, check_at_once, within_reason
from bench.plan.study import Study
from bench.plan.trial import Trial
from bench.store.agree import check_rates, reads_digest, today_of
from bench.store.folder import Folder, WriteError, plain
from bench.store.parts import Today
from bench.store.record import Status
from bench.sweep.display import Display
from bench.sweep.executor import Executor, Outcome, Settings
from bench.sweep.executors import EXECUTORS
from bench.sweep.faults import Fault, harness
from bench.sweep.forecast import Forecast
from bench.sweep.looks import looks
from bench.sweep.queue import Queue, order
from bench.sweep.size import size
from bench.sweep.worker import Job, Stop
from models.spec import unknown

EXIT_FAILED, EXIT_REFUSED, EXIT_TIME_LIMIT, EXIT_INTERRUPTED = 1, 2, 3, 130
# After Ctrl-C a trial may finish its step; the whole sweep must be gone after 5 s.
GRACE_S = 3.0
# A time limit means that everything is over by then: so long before it, the sweep begins to stop.
LIMIT_MARGIN_S = 2 * GRACE_S
# How often the sweep looks up when nothing happens: the answer to a Ctrl-C, and the pace of the display.
LOOK_EVERY_S = 0.25


@dataclass(frozen=True)
class Options:
    """How to run a study on this machine.

    Attributes:
        records: Folder of the studies' folders of records.
        machine: How trials are executed; device "auto" and threads 0 (one) are chosen here.
        executor: A key of `EXECUTORS`.
        workers: Trials at a time; 0 chooses: a core each on the CPU, one on a GPU.
        time_limit_s: Stop cleanly before so many seconds are over; 0 never.
        trial_time_limit_s: End a trial that takes longer; 0 never.
        gpus_per_trial: What Ray reserves for a trial.
        seeds_at_once: Of one net on a GPU; 0 is what the study says.
        faults: To be rehearsed.
        function: The trial function, "package.module:name".
        probe: (machine, *`looks`) -> environment by data set; the function that refuses what cannot run.
    """

    records: Path
    machine: Machine
    executor: str = "process"
    workers: int = 0
    time_limit_s: float = 0.0
    trial_time_limit_s: float = 0.0
    gpus_per_trial: float = 1.0
    seeds_at_once: int = 0
    faults: tuple[Fault, ...] = ()
    function: str = "bench.runner:run_trial"
    probe: str = "bench.preflight:environments"


@dataclass
class Summary:
    """How a sweep ended.

    Attributes:
        code: The command's exit code.
        done: Final records that were there before.
        ended: Records made now, by status.
        left: Trials that have no record yet.
        reason: Why it stopped early, in words; empty when it did not.
    """

    code: int = 0
    done: int = 0
    ended: dict[Status, int] = field(default_factory=dict)
    left: int = 0
    reason: str = ""


class Signals:
    """Turns SIGINT, SIGTERM and SIGHUP into a request to stop; a second one ends the process at once.

    Not a second SIGHUP: a terminal that is closed sends two, the shell's and its own.
    """

    def __init__(self, display: Display) -> None:
        self.reason = ""
        self.display = display
        self.executor: Executor | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Signals":
        self.hold()
        return self

    def hold(self) -> None:
        """Installs the handlers, again if need be."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # nohup ignores SIGHUP, and means it.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._before.setdefault(number, signal.signal(number, self._handle))

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.reason and number == signal.SIGHUP:
            return
        if self.reason:
            with suppress(Exception):  # whatever the first one interrupted may be half done
                self.display.close()
            with suppress(Exception):
                if self.executor:
                    self.executor.close()
            os._exit(EXIT_INTERRUPTED)
        self.reason = signal.Signals(number).name


def run(study: Study, options: Options, display: Display | None = None, whole: Study | None = None) -> Summary:
    """Runs what is not done yet of a study, and writes a record for each trial the moment it ends.

    Args:
        study: What is asked, perhaps narrowed to some depths or seeds.
        options: How.
        display: Told what happens.
        whole: The study as its file has it, to tell a narrowed study's other records from stale ones.

    Returns:
        How it ended, with the exit code.

    Raises:
        ValueError: One line, before any work: the request cannot be served.
    """
    begin = time.monotonic()
    display = display or Display()
    with Signals(display) as signals, ExitStack() as opened:
        opened.callback(display.close)  # a refusal, too, must give the terminal its cursor back
        within_reason(workers=options.workers, threads=options.machine.threads)
        check_at_once("--seeds-at-once", options.seeds_at_once, 0)
        for what, name, known in (
            ("executor", options.executor, EXECUTORS),
            ("device", options.machine.device, DEVICES),
        ):
            if name not in known:
                raise ValueError(unknown(what, name, known))
        _check_faults(options, len(study.trials))
        folders: dict[str, Folder] = {}
        for name in sorted({trial.study for trial in study.trials}):
            folders[name] = Folder(options.records / name)
            opened.callback(folders[name].close)
        return _Sweep(study, options, display, signals, folders, whole or study, begin).run()


def _check_faults(options: Options, trials: int) -> None:
    for fault in options.faults:
        if fault.trial > trials:
            raise ValueError(f"--inject: there is no trial {fault.trial}; the study has {trials}")
        if options.executor == "inline" and harness().FAULTS[fault.name].deadly:
            raise ValueError(f"--inject {fault.name}: would end the sweep itself with executor 'inline'; use 'process'")


class _Sweep:
    """The state of one run."""

    def __init__(
        self,
        study: Study,
        options: Options,
        display: Display,
        signals: Signals,
        folders: dict[str, Folder],
        whole: Study,
        begin: float,
    ) -> None:
        self._study, self._options, self._display, self._signals = study, options, display, signals
        self._folders, self._whole = folders, whole
        # An included study's records keep the names that they have by themselves.
        every = (*whole.trials, *whole.search)
        self._varied = {name: varied([t for t in every if t.study == name]) for name in folders}
        # Half of a limit that is shorter than the margin itself (a rehearsal's).
        margin = min(LIMIT_MARGIN_S, options.time_limit_s / 2)
        self._deadline = begin + options.time_limit_s - margin if options.time_limit_s else float("inf")
        self._grace = min(GRACE_S, margin / 2) if options.time_limit_s else GRACE_S
        self._environments: dict[str, Today] = {}
        self._forecast = Forecast()
        self._queue = Queue((), self._forecast)
        self._running: dict[int, Job] = {}
        self.summary = Summary()

    def _settings(self, workers: int, threads: int) -> Settings:
        limit = self._options.trial_time_limit_s
        gpus = self._options.gpus_per_trial
        return Settings(workers, threads, limit, self._display.step, lambda: bool(self._stop_reason()), gpus)

    def _stop_reason(self) -> str:
        if self._signals.reason:
            return self._signals.reason
        return "time limit" if time.monotonic() >= self._deadline else ""

    def run(self) -> Summary:
        asked = self._options.workers
        machine = size(self._options.machine, self._options.executor, asked)
        if asked > machine.workers:
            self._display.say(f"{machine.workers} at a time, not {asked}: there are too few cores")
            asked = machine.workers
        executor = EXECUTORS[self._options.executor](self._settings(machine.workers, machine.threads))
        self._signals.executor = executor
        self._signals.hold()  # Ray takes SIGTERM for itself
        try:
            self._display.say("looking at the device and the data; PyTorch takes some seconds to load")
            self._environments = executor.call(self._options.probe, machine, *looks(self._study, self._whole))
            check_rates(self._study.trials, dict(self._study.rates), self._environments)
            for name, environment in self._environments.items():
                if left_out := environment.get("data_left_out"):
                    self._display.say(f"{name}: left out {left_out}")
                if repeated := environment.get("data_repeated"):
                    self._display.say(f"{name}: {repeated}")
            first = next(iter(self._environments.values()))
            if note := first.get("threads_note"):
                self._display.say(note)
            workers = executor.capacity(asked, first["device"])
            machine = dataclasses.replace(machine, device=first["device"], workers=workers)
            jobs, at_once = self._plan(machine), self._seeds_at_once(machine.device)
            self._display.begin(self.summary.done, jobs, workers, self._forecast)
            self._queue = Queue(order(jobs, self._options.time_limit_s > 0), self._forecast, at_once)
            self._loop(executor, workers)
        except WriteError as error:
            self.summary.reason, self.summary.code = str(error), EXIT_REFUSED
        except Stop:
            self.summary.left = len(self._study.trials)
        except OSError as error:
            self.summary.reason, self.summary.code = f"cannot run workers: {error}", EXIT_REFUSED
        finally:
            executor.close()
            self._display.close()
        return self._sum_up()

    def _seeds_at_once(self, device: str) -> int:
        asked = self._options.seeds_at_once or self._whole.seeds_at_once
        if asked > 1 and device not in GPUS:
            self._display.say(f"one seed at a time in each process, not {asked}: that is for a GPU")
            return 1
        if asked > 1 and self._options.executor != "process":
            self._display.say(f"one seed at a time in each process, not {asked}: that takes executor 'process'")
            return 1
        if asked > 1:
            self._display.say(f"up to {asked} seeds of a net at once in each process")
        return asked

    def _plan(self, machine: Machine) -> list[Job]:
        done: set[Trial] = set()
        for name, folder in self._folders.items():
            mine = [trial for trial in self._study.trials if trial.study == name]
            whole = [trial for trial in (*self._whole.trials, *self._whole.search) if trial.study == name]
            for record in folder.finished(mine, whole, self._environments):
                done.add(plain(record.trial))
                self._forecast.learn(record)
            for note in folder.notes:
                self._display.say(note)
        self.summary.done = len(done)
        numbered = [(i, trial) for i, trial in enumerate(self._study.trials, 1) if plain(trial) not in done]
        jobs = []
        for i, trial in numbered:
            faults = tuple(f for f in self._options.faults if f.trial == i)
            path = self._folders[trial.study].checkpoint(trial).absolute()
            today = today_of(self._environments[trial.dataset], trial.architecture.factory)
            its = dataclasses.replace(machine, checkpoint=str(path), reads=reads_digest(today))
            jobs.append(Job(i, trial, its, self._options.function, faults))
        return jobs

    def _loop(self, executor: Executor, workers: int) -> None:
        self.summary.left = len(self._queue.jobs)
        while self._queue.jobs or self._running:
            if self._stop_reason():
                for outcome in executor.stop(self._grace):
                    self._take(outcome)
                return
            while group := self._queue.take(self._running.values(), workers, self._deadline - time.monotonic()):
                for job in group:
                    self._running[job.number] = job
                    self._display.started(job)
                executor.submit(*group)
            if not self._running:
                self.summary.reason = "time limit"
                return
            for outcome in executor.wait(LOOK_EVERY_S):
                self._take(outcome)
            self._display.tick()

    def _take(self, outcome: Outcome) -> None:
        """Writes an outcome's record; only then is the trial reported as done."""
        job, record = outcome.job, outcome.record
        self._running.pop(job.number, None)
        if record is None:
            return self._display.stopped(job)
        if job.group and not record.status.final:
            self._queue.again(job)
            return self._display.again(job, record)
        # A record that the trial did not make still says where it was tried.
        today: Today = {**self._environments[job.trial.dataset], **record.environment}
        environment = today_of(today, record.trial.architecture.factory)
        if job.trial.lr_from != "study":
            environment["search"] = tuned.told(job.trial, dict(self._study.rates)[job.trial.study])
        record = dataclasses.replace(record, environment=environment)
        self._folders[job.trial.study].save(record, self._varied[job.trial.study])
        self._forecast.learn(record)
        self.summary.ended[record.status] = self.summary.ended.get(record.status, 0) + 1
        self.summary.left -= 1
        self._display.ended(job, record)

    def _sum_up(self) -> Summary:
        summary = self.summary
        if self._signals.reason:
            summary.reason = "; ".join(filter(None, [self._signals.reason, summary.reason]))
            summary.code = EXIT_INTERRUPTED
        elif summary.left and not summary.reason:
            summary.reason = "time limit"
        if not summary.code and any(not status.final for status in summary.ended):
            summary.code = EXIT_FAILED
        if not summary.code and summary.left:
            summary.code = EXIT_TIME_LIMIT
        for folder in self._folders.values():
            # Then tables are made of it, even of no record.
            folder.keep = summary.code in (0, EXIT_FAILED, EXIT_TIME_LIMIT)
        return summary


def varied(trials: Sequence[Trial]) -> list[str]:
    """Names of the fields that differ between trials."""
    return [f.name for f in dataclasses.fields(Trial) if len({getattr(t, f.name) for t in trials}) > 1]
