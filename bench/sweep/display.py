"""What a person sees while a sweep runs, and how long it will still take.

Everything shown was reported by a trial or measured on a finished one; nothing is assumed. On a terminal
a live panel (rich), elsewhere plain lines. Neither can stop a sweep: a closed pipe is written to no more.
"""

import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from bench.plan.errors import one_line
from bench.plan.trial import Trial, affecting
from bench.plan.words import counted
from bench.store.record import Record, Status
from bench.sweep.forecast import Forecast
from bench.sweep.worker import Job, Message

# Without a terminal, a line at least so often, so that a log shows that something is alive.
HEARTBEAT_S = 15.0
# Over 10,000 trials a forecast takes tens of milliseconds.
FORECAST_EVERY_S = 1.0


# Fields of a trial that its name has already, or that say little about it; what it is grown to says much.
HIDDEN = frozenset(affecting("name", "extent")) - {"grow_to"}


class Display:
    """What a sweep has told so far, and how it reads; itself shows nothing. The displays below do."""

    def __init__(self, varied: Sequence[str] = ()) -> None:
        self.total = self.done = 0
        self.running: dict[int, tuple[Job, float, Message]] = {}
        self._studies = "study" in varied
        self._varied = [v for v in varied if v not in HIDDEN]
        self._todo: dict[int, Trial] = {}
        self._left: tuple[float, float | None] = (-1.0, None)
        self._workers = 1
        self._forecast = Forecast()

    def begin(self, done: int, jobs: Sequence[Job], workers: int, forecast: Forecast) -> None:
        """The sweep starts: so many trials are done already, and these are to do."""
        self.done, self.total = done, done + len(jobs)
        self._todo = {job.number: job.trial for job in jobs}
        self._workers, self._forecast = workers, forecast
        already = f", {done} done before" if done else ""
        self.say(f"{counted(len(jobs), 'trial')} to run{already}; {workers} at a time")

    def say(self, line: str) -> None:
        """A line for the user; shown by the displays below."""

    def tick(self) -> None:
        """Called a few times per second."""

    def close(self) -> None:
        """The sweep is over."""

    def started(self, job: Job) -> None:
        """A trial starts."""
        self.running[job.number] = (job, time.monotonic(), {})

    def step(self, job: Job, message: Message) -> None:
        """A trial tells how far it is."""
        if job.number in self.running:
            self.running[job.number] = (job, self.running[job.number][1], message)

    def ended(self, job: Job, record: Record) -> None:
        """A trial's record is on disk."""
        self.running.pop(job.number, None)
        self.done += 1
        self._todo.pop(job.number, None)
        parts = [self.name(job.trial), outcome(record), f"{record.seconds:.1f} s"]
        width = len(str(self.total))
        self.say(f"[{self.done:{width}}/{self.total}] " + ", ".join(parts) + self.time_left("; "))

    def stopped(self, job: Job) -> None:
        """A trial was stopped and leaves no record."""
        self.running.pop(job.number, None)
        self.say(f"stopped before its end: {self.name(job.trial)}")

    def again(self, job: Job, record: Record) -> None:
        """A trial failed beside other seeds of its net, and is to run once more, alone."""
        self.running.pop(job.number, None)
        self.say(f"failed beside other seeds, will run again alone: {self.name(job.trial)}, {outcome(record)}")

    def name(self, trial: Trial) -> str:
        """A trial in words: what it is, and what else its study varies."""
        more = "".join(f" {name}={getattr(trial, name)}" for name in self._varied)
        study = f"{trial.study}: " if self._studies else ""
        return f"{study}{trial.architecture.name} {trial.depth} seed {trial.seed} {trial.purpose}{more}"

    def current(self) -> list[str]:
        """A line for each trial under way."""
        now = time.monotonic()
        lines = []
        for job, since, message in self.running.values():
            parts = [self.name(job.trial)]
            if "epoch" in message:
                parts.append(f"epoch {message['epoch']}")
            if "step" in message:
                steps = f"/{message['steps']}" if "steps" in message else ""
                parts.append(f"step {message['step']}{steps}")
            if isinstance(message.get("loss"), float):
                parts.append(f"loss {message['loss']:.3g}")
            lines.append(", ".join([*parts, f"{now - since:.0f} s"]))
        return lines

    def time_left(self, before: str = "") -> str:
        """In words; empty while nothing is known, or nothing is left."""
        now = time.monotonic()
        if now - self._left[0] > FORECAST_EVERY_S or self._left[1] is None or not self._todo:
            self._left = now, self._forecast.left(list(self._todo.values()), self._workers) if self._todo else None
        seconds = self._left[1]
        if seconds is None:
            return ""
        spent = 0.0
        for job, since, _ in self.running.values():
            its = (now - since) / (job.machine.seeds_at_once if job.group else 1)
            spent += min(its, self._forecast.seconds(job.trial) or 0.0)
        return f"{before}about {duration(max(0.0, seconds - spent / self._workers))} left"


def outcome(record: Record) -> str:
    """A record in a few words."""
    if record.status not in (Status.OK, Status.DIVERGED):
        return f"{record.status}: {record.message}"
    if record.status == Status.DIVERGED:
        return record.message or "diverged"
    error = record.result.get("train_error")
    if isinstance(error, float) and math.isfinite(error):
        return f"train error {100 * error:.1f} %"
    times = record.cost.get("step_times_s")
    if times:
        return f"step {1000 * statistics.median(times):.1f} ms"
    return "ok"


def duration(seconds: float) -> str:
    """Seconds in words, to what a person needs."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


class Plain(Display):
    """Lines, for logs and pipes."""

    def __init__(self, varied: Sequence[str] = (), out: TextIO | None = None) -> None:
        super().__init__(varied)
        self._out = out or sys.stdout
        self._said = time.monotonic()

    def say(self, line: str) -> None:
        self._said, line = time.monotonic(), one_line(line)
        try:
            print(line, file=self._out, flush=True)
        except UnicodeEncodeError:  # a log that is not UTF-8, and a name that it has no letters for
            print(line.encode("ascii", "backslashreplace").decode(), file=self._out, flush=True)
        except OSError:
            # `... | head` read enough, or a log's disk is full. The sweep goes on; the descriptor is replaced so
            # that Python's own flush at exit does not fail either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())

    def tick(self) -> None:
        if self.running and time.monotonic() - self._said > HEARTBEAT_S:
            self.say(f"[{self.done}/{self.total}] running: " + "; ".join(self.current()) + self.time_left("; "))


class Live(Display):
    """A panel that is redrawn in place below the lines of what has ended."""

    def __init__(self, varied: Sequence[str] = ()) -> None:
        from rich.console import Console
        from rich.live import Live as Panel

        super().__init__(varied)
        self._console = Console(highlight=False)
        # Redrawn by `tick` only, in the sweep's thread: none of its own that would disturb a measurement.
        self._panel = Panel(console=self._console, auto_refresh=False, transient=True)
        self._panel.start()

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Within, a terminal that is gone is no fault; from then on nothing is drawn."""
        try:
            yield
        except OSError:
            self._console.quiet = True

    def say(self, line: str) -> None:
        with self._drawing():
            self._console.print(one_line(line), markup=False)

    def tick(self) -> None:
        from rich.text import Text

        head = f"{self.done} of {self.total} trials done{self.time_left(', ')}"
        with self._drawing():
            self._panel.update(Text("\n".join([head, *("  " + line for line in self.current())])), refresh=True)

    def close(self) -> None:
        with self._drawing():
            self._panel.stop()


def choose(live: bool) -> Callable[[Sequence[str]], Display]:
    """The display for where the output goes."""
    return Live if live and sys.stdout.isatty() else Plain
