"""Faults on purpose: `--inject FAULT@TRIAL:STEP` rehearses what a sweep must survive. No torch of its own.

Holds the table of faults and the syntax of the option; `bench.sweep.faults` loads it by name. What becomes of
a fault is the executors' and the sweep's business; `rehearsal.py` tries them all and counts what is lost.
"""

import ctypes
import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.sweep.faults import Fault
from models.spec import unknown

# Of a trial's or step's number: more is a slip of the keyboard, and Python reads no more than some thousand.
_MOST_DIGITS = 18


def parse(text: str) -> Fault:
    """Reads FAULT@TRIAL:STEP.

    Raises:
        ValueError: One line that says what is wrong.
    """
    name, at, place = text.partition("@")
    trial, colon, step = place.partition(":")
    whole = all(part.isascii() and part.isdecimal() and len(part) <= _MOST_DIGITS for part in (trial, step))
    if not (at and colon and whole):
        raise ValueError(f"--inject {text!r:.80} must read FAULT@TRIAL:STEP, for example kill@3:10")
    if name not in FAULTS:
        raise ValueError(unknown("fault", name, FAULTS))
    if int(trial) < 1 or int(step) < 1:
        raise ValueError(f"--inject {text!r}: trials and steps count from 1")
    return Fault(name, int(trial), int(step))


class Rehearsal:
    """Watches a trial's steps and lets each fault happen: once, or at every attempt."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        self._waiting = list(faults)

    def step(self, message: Mapping[str, Any]) -> None:
        """To be called with each progress message."""
        for fault in list(self._waiting):
            if int(message.get("step", 0)) >= fault.step:
                if not FAULTS[fault.name].lasting:
                    self._waiting.remove(fault)
                FAULTS[fault.name].happen(message)


def _kill(message: Mapping[str, Any]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _segfault(message: Mapping[str, Any]) -> None:
    ctypes.string_at(0)


def _abort(message: Mapping[str, Any]) -> None:
    os.abort()


def _hang(message: Mapping[str, Any]) -> None:
    while True:
        time.sleep(3600)


def _raise(message: Mapping[str, Any]) -> None:
    raise RuntimeError("rehearsed fault")


def _out_of_memory(message: Mapping[str, Any]) -> None:
    """What torch raises when the device is full; without torch, what Python raises when the host is."""
    torch = sys.modules.get("torch")
    error: type[Exception] = torch.OutOfMemoryError if torch else MemoryError
    raise error("rehearsed: out of memory, tried to allocate 64.00 GiB")


def _host_memory(message: Mapping[str, Any]) -> None:
    """Takes memory until the kernel refuses, under a limit that only this process has."""
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**26, hard))
    hog = []
    try:
        while True:
            hog.append(bytearray(2**22))
    finally:
        hog.clear()
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _nan(message: Mapping[str, Any]) -> None:
    """Makes the network's parameters NaN in place, so that the next step's loss truly is."""
    if isinstance(message, dict):
        message["loss"] = float("nan")
    torch = sys.modules.get("torch")
    if torch:
        for thing in gc.get_objects():
            # By type: asking a weak proxy for its class would raise. With a gradient: the net in training.
            if issubclass(type(thing), torch.nn.Parameter) and thing.grad is not None:
                thing.data.fill_(float("nan"))


def _stall(message: Mapping[str, Any]) -> None:
    """A pause, as of a suspended machine."""
    time.sleep(0.5)


@dataclass(frozen=True)
class Kind:
    """A row of `FAULTS`.

    Attributes:
        what: What happens, and what must come of it.
        happen: Lets it happen, in the worker, at a step's end.
        deadly: Whether it ends or blocks the process that it happens in (so never in the sweep's own).
        lasting: Whether it happens again when the trial is tried again, in smaller micro-batches.
    """

    what: str
    happen: Callable[[Mapping[str, Any]], None]
    deadly: bool = False
    lasting: bool = False


FAULTS: dict[str, Kind] = {
    "kill": Kind("the worker gets SIGKILL: status error", _kill, deadly=True),
    "segfault": Kind("native code reads address 0: status error", _segfault, deadly=True),
    "abort": Kind("native code calls abort(): status error", _abort, deadly=True),
    "hang": Kind("the worker waits for ever: status timeout, once --trial-time-limit is over", _hang, deadly=True),
    "raise": Kind("an exception: status error", _raise),
    "oom": Kind("no batch fits on the device: status out_of_memory", _out_of_memory, lasting=True),
    "oom-once": Kind("the whole batch does not fit, its halves do: status ok, smaller micro-batch", _out_of_memory),
    "host-oom": Kind("the host is out of memory: status out_of_memory", _host_memory, lasting=True),
    "nan": Kind("the parameters become NaN: status diverged", _nan),
    "stall": Kind("a pause of half a second: nothing but time is lost", _stall),
}
