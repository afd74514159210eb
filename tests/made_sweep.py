"""Sweeps of the rehearsal's small study for tests: run in this process, with a display that remembers."""

from pathlib import Path
from typing import Any

from bench.plan.study import Study
from bench.plan.trial import Trial
from bench.store.record import Record
from bench.sweep import display as progress
from bench.sweep import run as sweep
from bench.sweep.worker import Job
from tests.harness.rehearsal import RehearsalMachine, options, small_study

STUDY = small_study(2)
FAST = RehearsalMachine(step_s=0.0)
DONE = len(STUDY.trials)


class Told(progress.Display):
    """A display that remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.events: list[tuple[str, Trial]] = []
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def say(self, line: str) -> None:
        self.lines.append(line)

    def started(self, job: Job) -> None:
        super().started(job)
        self.events.append(("started", job.trial))

    def ended(self, job: Job, found: Record) -> None:
        super().ended(job, found)
        self.events.append(("ended", job.trial))


def run(folder: Path, study: Study = STUDY, told: Told | None = None, **changes: Any) -> sweep.Summary:
    changes = {"executor": "inline", "machine": FAST, **changes}
    whole = changes.pop("whole", None)
    return sweep.run(study, options(folder, **changes), told, whole)


def files(folder: Path) -> list[Path]:
    return sorted((folder / "rehearsal").glob("*.json"))
