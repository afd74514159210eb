"""The far side of the process executor: a warm process that runs one trial after another.

Runs as `supervisor.START` in a session of its own, and dies with its parent: by PR_SET_PDEATHSIG
where Linux has it, else when the lifeline pipe closes. It loads torch only through the trial function
that it is told to call. What it finds goes back through a pipe; of files it writes only the epoch checkpoints of long
trials.
"""

import contextlib
import ctypes
import faulthandler
import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from bench.plan import own
from bench.plan.errors import RAISED, first_line
from bench.plan.machine import Machine
from bench.plan.trial import Trial
from bench.store.record import Record, Status, decode, encode
from bench.sweep import footprints
from bench.sweep.faults import Fault, harness

Message = Mapping[str, Any]
TrialFunction = Callable[[Trial, Machine, Callable[[Message], None]], Record]

# At most so often does a worker tell how far it is: a person reads it, and a pipe write costs about 20 us.
TELL_EVERY_S = 0.1
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# What runs several trials at once; by name, since it loads torch.
TOGETHER = "bench.train.turns:together"


class Stop(BaseException):
    """Raised out of `progress` at a step's end: the trial is to be left unfinished, and leaves no record.

    Not an `Exception`, so that a trial's own handling of errors lets it through.
    """


class TimeUp(BaseException):
    """Raised out of `progress` when the trial's time limit is over and nobody else can end it (inline)."""


@dataclass(frozen=True)
class Job:
    """One trial to run, and how.

    Attributes:
        number: Place in the study's order, from 1; what `--inject` and the display call it.
        trial: What is asked.
        machine: `machine.Machine`: how this machine is to be used.
        function: "package.module:name" of the trial function.
        faults: Those to be rehearsed in it.
        group: Number of the first of those seeds of a net that run at once in one process; 0 runs alone.
        alone: Whether it must, since it failed beside others.
    """

    number: int
    trial: Trial
    machine: Machine
    function: str
    faults: tuple[Fault, ...] = ()
    group: int = 0
    alone: bool = False


def resolve(name: str) -> Callable[..., Any]:
    """The function behind "package.module:name"."""
    module, _, attribute = name.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function


def answer_of(name: str, arguments: Sequence[Any]) -> Any:
    """Calls a function and returns its answer as plain data.

    torch's version, say, is a class of torch's that looks like a text: unpickled as it is, it would load torch
    into the sweep's own process.
    """
    return json.loads(json.dumps(resolve(name)(*arguments)))


def owns(arguments: Sequence[Any]) -> list[str]:
    """The users' own architectures in the trials of a call, each of which may change or end the process it runs in."""
    given = [each for argument in arguments if isinstance(argument, list | tuple) for each in argument]
    return sorted({each.architecture.factory for each in given if isinstance(each, Trial)} - {""})


def tried(arguments: Sequence[Any]) -> str:
    """What a call that never came back was doing, for the end of a message; empty where no user's code was in it."""
    names = owns(arguments)
    one = "one of the architectures" if len(names) > 1 else "architecture"
    return f"; it was looking at the data or trying {one} {', '.join(map(repr, names))}" if names else ""


def run(job: Job, tell: Callable[[Message], None]) -> Record:
    """Calls the trial function; an exception that it lets through becomes a record.

    Args:
        job: What to run.
        tell: Gets each progress message; may raise `Stop`.
    """
    rehearsed: Any = None

    def progress(message: Message) -> None:
        if rehearsed:
            rehearsed.step(message)
        tell(message)

    begin, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    try:
        if job.faults:
            rehearsed = harness().Rehearsal(job.faults)
        covered, loaded = own.check(job.trial.architecture), set(sys.modules)
        function: TrialFunction = resolve(job.function)
        before = footprints.read() if job.trial.architecture.factory else None
        # Through JSON and back here, so that a record that cannot be written is this trial's fault alone.
        record = decode(encode(function(job.trial, job.machine, progress)))
        if covered and (file := own.uncovered(set(sys.modules) - loaded, covered)):
            said, took = own.UNSEEN.format(file), time.monotonic() - begin
            return Record(job.trial, Status.ERROR, said, {"left_behind": file}, seconds=took, started=started)
        if before and (left := footprints.left(before)):
            record = replace(record, environment={**record.environment, "left_behind": left})
        return replace(record, started=record.started or started)
    except RAISED as error:
        # Only words leave this block: a kept traceback would pin the tensors of an out-of-memory step.
        status, message = classify(error), describe(error)
    return Record(job.trial, status, message, seconds=time.monotonic() - begin, started=started)


def classify(error: BaseException) -> Status:
    """Out of memory by its type or torch's words for it; anything else is an error."""
    words = str(error)
    memory = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    if memory or "can't allocate memory" in words or "out of memory" in words:
        return Status.OUT_OF_MEMORY
    return Status.ERROR


def describe(error: BaseException) -> str:
    """One line: type, first line of the message, and the innermost place in the source."""
    line = first_line(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" (at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    words = "".join(c if c.isprintable() else "?" for c in line[:300]) if line else "no message"
    return f"{type(error).__name__}: {words}{where}"


def die_with(parent: int, lifeline: int) -> None:
    """Ties this process, and what it may have started, to the life of its parent.

    Args:
        parent: Its process id.
        lifeline: The reading end of a pipe whose other end only the parent holds.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before prctl
        os._exit(1)

    def watch() -> None:
        with contextlib.suppress(OSError):
            os.read(lifeline, 1)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def serve(receiving: Connection, sending: Connection) -> None:
    """Runs jobs until the connection closes.

    Receives ("jobs", list of Job), ("call", name, arguments) or ("stop",); sends ("begun",), and of a job, by its
    number, ("progress", number, message), ("record", number, Record) or ("stopped", number); of a call ("value", value,
    what it left behind) or ("failed", one line).
    """

    told: dict[int, float] = {}
    stopping = False

    def tell(number: int, message: Message) -> None:
        nonlocal stopping
        while not stopping and receiving.poll(0):
            stopping = receiving.recv()[0] == "stop"
        if stopping:
            raise Stop
        now = time.monotonic()
        if now - told.get(number, 0.0) >= TELL_EVERY_S:
            told[number] = now
            sending.send(("progress", number, dict(message)))

    def answer(job: Job) -> None:
        try:
            if stopping:
                raise Stop
            sending.send(("record", job.number, run(job, partial(tell, job.number))))
        except Stop:
            sending.send(("stopped", job.number))

    while True:
        request = receiving.recv()
        told.clear()
        stopping = False
        if request[0] == "jobs":
            sending.send(("begun",))
            calls = [partial(answer, job) for job in request[1]]
            if len(calls) == 1:
                calls[0]()
            else:
                resolve(TOGETHER)(calls, request[1][0].machine.device)
        elif request[0] == "call":
            sending.send(("begun",))
            try:
                resolve(request[1])
                before = footprints.read() if owns(request[2]) else None
                value = answer_of(request[1], request[2])
                sending.send(("value", value, footprints.left(before) if before else ""))
            except Exception as error:
                # A ValueError's line is meant for the user as it is.
                sending.send(("failed", str(error) if isinstance(error, ValueError) else describe(error)))


def main() -> None:
    """Arguments: file descriptors to read from, to write to, and of the lifeline; and the parent's process id."""
    receiving, sending, lifeline, parent = map(int, sys.argv[1:5])
    for descriptor in (receiving, sending, lifeline):
        os.set_inheritable(descriptor, False)
    die_with(parent, lifeline)
    # A worker is stopped through its connection; a terminal's Ctrl-C is its parent's business.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        serve(Connection(receiving, writable=False), Connection(sending, readable=False))
