"""The gate with rounds made up for it: what a side measures is a function, and no benchmark is run."""

import dataclasses
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.regressions import gate, picture
from tests.regressions.rounds import Round
from tests.regressions.sitting import Side

MACHINE = {
    "device": "cuda", "device_name": "NVIDIA H200", "cores": 16, "calibration": "5f3c", "torch": "2.15.0",
    "python": "3.11.7",
}  # fmt: skip
# Of a side, the number of its sitting and a benchmark: seconds by the wall and of the processor, and perhaps memory.
Measure = Callable[[str, int, str], tuple[float, ...]]


class Planted:
    """A sitting whose rounds are made up."""

    def __init__(
        self, python: str, turn: int, names: list[str], measure: Measure, asked: list[tuple[str, str]]
    ) -> None:
        self.machine, self.names = MACHINE, names
        self._python, self._turn, self._measure, self._asked = python, turn, measure, asked

    def hold(self, name: str) -> None:
        self._name = name
        self._asked.append((self._python, name))

    def round(self, calibrated: bool) -> Round:
        wall, processor, *memory = self._measure(self._python, self._turn, self._name)
        return Round(wall, processor, *((1.0, 1.0) if calibrated else (0.0, 0.0)), *memory)


@dataclasses.dataclass
class Served:
    code: int
    asked: list[tuple[str, str]]


def serve(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    measure: Measure,
    *arguments: str,
    names: tuple[str, ...] = ("step", "build"),
    drawn: bool = False,
) -> Served:
    """The command with planted rounds: its exit code, and which interpreter was asked for which benchmark, in order."""
    asked: list[tuple[str, str]] = []
    turns: dict[str, int] = {}

    @contextmanager
    def sitting(self: Side) -> Iterator[Planted]:
        turn = turns[self.python] = turns.get(self.python, -1) + 1
        yield Planted(self.python, turn, list(names), measure, asked)

    monkeypatch.setattr(Side, "sitting", sitting)
    if not drawn:
        monkeypatch.setattr(picture, "svg", lambda *_: "")
    monkeypatch.setattr(sys, "argv", ["gate", "--dir", str(folder), "--out", str(folder), *arguments])
    with pytest.raises(SystemExit) as caught:
        gate.main()
    return Served(int(caught.value.code or 0), asked)


def steady(**seconds: float) -> Measure:
    return lambda python, turn, name: (seconds.get(name, 1.0),) * 2


def noisy(rng: random.Random, factor: Callable[[str], tuple[float, float]] = lambda _: (1.0, 1.0)) -> Measure:
    """As on a shared machine, and worse: 4 % of jitter, by the wall's clock up to threefold in one round of four."""

    def measure(python: str, turn: int, name: str) -> tuple[float, float]:
        wall, processor = factor(python)
        jitter = rng.lognormvariate(0.0, 0.04)
        neighbour = rng.uniform(1.0, 3.0) if rng.random() < 0.25 else 1.0
        return wall * jitter * neighbour, processor * jitter * (1.0 + 0.1 * (neighbour - 1.0))

    return measure
