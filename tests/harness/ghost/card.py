"""The ghost card's counters, read inside the process that uses it (see `build`): launches, waits, refusals, memory."""

import ctypes
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

ILLEGAL_ADDRESS = 700  # cudaErrorIllegalAddress: after it every call of the process fails

_card = ctypes.CDLL("libcudart.so.13")
_card.ghost_report.restype = ctypes.c_char_p
_card.ghost_peak_memory.restype = ctypes.c_size_t
_card.ghost_set_memory.argtypes = [ctypes.c_size_t]
_card.ghost_fail.argtypes = [ctypes.c_long, ctypes.c_int]


@dataclass
class Report:
    """What happened on the card within a `watched` block.

    Attributes:
        launches: By kernel, captured ones too.
        calls: Of the libraries, by name; "wait: NAME" are those that wait for the device.
        problems: What a real card would have refused.
    """

    launches: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def launched(self) -> int:
        """Launches in all."""
        return self.launches.total()

    @property
    def captured(self) -> int:
        """Nodes of the graphs captured."""
        return self.calls["nodes captured"]

    @property
    def waits(self) -> int:
        """Calls that waited for the device."""
        return sum(number for name, number in self.calls.items() if name.startswith("wait: "))


@contextmanager
def watched() -> Iterator[Report]:
    """Gives a report that is filled in at the end of the block."""
    _card.ghost_reset()
    report = Report()
    try:
        yield report
    finally:
        for line in _card.ghost_report().decode().splitlines():
            kind, number, name = line.split("\t", 2)
            if kind == "problem":
                report.problems.append(name)
            else:
                (report.launches if kind == "launch" else report.calls)[name] += int(number)


def peak_memory() -> int:
    """Bytes that torch held at most since the last report was begun."""
    return int(_card.ghost_peak_memory())


def set_memory(size: int) -> None:
    """Makes it a card of so many bytes. What torch keeps for later is given back first."""
    torch.cuda.empty_cache()
    torch._C._cuda_clearCublasWorkspaces()
    torch.cuda.empty_cache()
    _card.ghost_set_memory(size)


def fail_after(launches: int, code: int = ILLEGAL_ADDRESS) -> None:
    """So many launches later every call begins to fail."""
    _card.ghost_fail(launches, code)
