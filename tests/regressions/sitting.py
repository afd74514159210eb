"""The near side of `side.py`: starts a process that holds benchmarks, and asks it for rounds. No torch."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.regressions.rounds import Round

BENCHMARKS = "tests.regressions.benchmarks:BENCHMARKS"


@dataclass(frozen=True)
class Side:
    """What is measured: an interpreter in a checkout, on a device; and which table of benchmarks."""

    python: str
    checkout: Path
    device: str
    benchmarks: str = BENCHMARKS

    @contextmanager
    def sitting(self) -> "Iterator[Sitting]":
        """A process that runs its rounds, until the context ends.

        Raises:
            ValueError: One line: it does not start.
        """
        environment = {
            **os.environ, "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(self.checkout), str(self.checkout / "tests")]),
        }  # fmt: skip
        command = [self.python, "-m", "tests.regressions.side", self.device, self.benchmarks]
        try:
            process = subprocess.Popen(
                command, cwd=self.checkout, env=environment, text=True, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        except OSError as error:
            words = "is no saved run (.json), no folder of a checkout, and no interpreter that starts"
            raise ValueError(f"{self.python} {words}: {error.strerror}") from None
        with process:
            try:
                yield Sitting(self, process)
            finally:
                process.kill()


class Sitting:
    """The near side of a process that holds one benchmark at a time.

    Attributes:
        machine: Device kind and name, cores, versions, digest of the calibration.
        names: Its benchmarks.
    """

    def __init__(self, side: Side, process: "subprocess.Popen[str]") -> None:
        self._side, self._process = side, process
        said = self._answer()
        self.machine: dict[str, Any] = said["machine"]
        self.names: list[str] = said["names"]
        # Both sides on one core, since one may be slower than the next; a GPU's compiler wants them all.
        if self.machine["device"] == "cpu" and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})

    def hold(self, name: str) -> None:
        """Makes a benchmark ready, and runs what is not measured of it."""
        self._ask(hold=name)

    def round(self, calibrated: bool) -> Round:
        """Runs and times a round of what is held."""
        return Round(*self._ask(round=calibrated)["round"])

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # what it said last tells why
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._process.stderr.read().strip().splitlines()
            where = f"{self._side.checkout} with {self._side.python}"
            raise ValueError(f"the benchmarks ended in {where}: {said[-1] if said else 'no output'}")
        answer: dict[str, Any] = json.loads(line)
        return answer
