"""The Ray executor: the same trials as tasks on a local Ray, or on the cluster that RAY_ADDRESS names.

A trial that fails by itself is a record, as anywhere; one whose node died is run again. Records come back to the
sweep, which writes them; on the nodes only epoch checkpoints of long trials are written, where the sweep's folder is
shared with them. An optional extra, imported only when asked for.
"""

import logging
import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

# Read when ray is imported. Anyone who reaches an open Ray can run anything on it.
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from bench.plan.checkout import ROOT
from bench.plan.machine import GPUS
from bench.store.record import Record, Status
from bench.sweep.executor import Outcome, Settings, too_long
from bench.sweep.supervisor import THREAD_SETTINGS, places
from bench.sweep.worker import Job, Message, Stop, answer_of, owns, run, tried

# Of the checkout, what nodes need not get; anchored, since bench/data/ is code. `--inject` needs tests/harness.
NOT_SHIPPED = [".git", ".venv", ".ci", "/data", "/docs", "/tests/*", "!/tests/harness", "/results", "/reports",
               "**/__pycache__"]  # fmt: skip
# A trial that a dying node took with it this often is given up: perhaps it is what kills the nodes.
MOST_NODES = 4
_TELL_EVERY_S = 1.0


class Board:
    """An actor beside the sweep: where trials tell how far they are, and see whether they are to stop."""

    def __init__(self) -> None:
        self._news: dict[int, tuple[str, Message]] = {}
        self._stopping = False

    def tell(self, number: int, node: str, message: Message) -> bool:
        """Takes a trial's progress; whether it is to stop."""
        self._news[number] = (node, message)
        return self._stopping

    def read(self) -> dict[int, tuple[str, Message]]:
        """By trial: the node where it runs, and its last message; each once."""
        news, self._news = self._news, {}
        return news

    def stop(self) -> None:
        """From now on trials are told to stop."""
        self._stopping = True


def _trial(job: Job, board: Any) -> Record | None:
    """Runs on a node."""
    node = ray.get_runtime_context().get_node_id()
    told = 0.0

    def tell(message: Message) -> None:
        nonlocal told
        if time.monotonic() - told < _TELL_EVERY_S:
            return
        told = time.monotonic()
        stop = False
        with suppress(exceptions.RayError):  # the board's trouble is not the trial's
            stop = ray.get(board.tell.remote(job.number, node, dict(message)))
        if stop:
            raise Stop

    try:
        tell({})
        return run(job, tell)
    except Stop:
        return None


def _call(name: str, arguments: tuple[Any, ...]) -> Any:
    """Runs on a node."""
    return answer_of(name, arguments)


class Ray:
    """Trials as Ray tasks: as many at a time as the cluster has room for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._running: dict[Any, Job] = {}
        self._begun: dict[int, tuple[str, float]] = {}  # by trial: its node, and when it was first heard of
        self._deaths: dict[int, int] = {}
        self._gpus = 0.0
        address = os.environ.get("RAY_ADDRESS")
        _answers(address)
        there: dict[str, Any] = {"address": address} if address else {"num_cpus": settings.workers * settings.threads}
        try:
            ray.init(
                **there,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env=_environment(settings.threads, bool(address)),
            )
        except (exceptions.RayError, ConnectionError, RuntimeError, OSError, ValueError) as error:
            where = f"RAY_ADDRESS={address}" if address else "Ray on this machine"
            raise ValueError(f"{where}: {(str(error).strip().splitlines() or [type(error).__name__])[0]}") from None
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board = ray.remote(Board).options(num_cpus=0, scheduling_strategy=here).remote()

    def capacity(self, asked: int, device: str) -> int:
        have = ray.cluster_resources()
        if device in GPUS:
            self._gpus = self._settings.gpus_per_trial
            room = have.get("GPU", 0.0) / self._gpus
        else:
            room = have.get("CPU", 1.0) / self._settings.threads
        return asked or max(1, int(room))

    def call(self, name: str, *arguments: Any) -> Any:
        # Where a GPU is asked for or may be found, the look must have one.
        wants_gpu = getattr(arguments[0], "device", "cpu") != "cpu" and ray.cluster_resources().get("GPU", 0.0) > 0
        options = {"num_gpus": self._settings.gpus_per_trial} if wants_gpu else {}
        remote = _remote(bool(owns(arguments)))
        reference = remote(_call).options(num_cpus=self._settings.threads, **options).remote(name, arguments)
        while not ray.wait([reference], timeout=0.5)[0]:
            if self._settings.stopping():
                raise Stop
        try:
            return ray.get(reference)
        except exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, ValueError):
                raise ValueError(str(cause)) from None
            raise ValueError(f"trials cannot run on this Ray: {type(cause).__name__}: {cause}") from None
        except exceptions.RayError as error:
            raise ValueError(f"trials cannot run on this Ray: {_line(error).rstrip('.')}{tried(arguments)}") from None

    def submit(self, *jobs: Job) -> None:
        # Retries are decided here, since only the death of a node is a reason for one.
        for job in jobs:
            remote = _remote(bool(job.trial.architecture.factory))
            task = remote(_trial).options(num_cpus=self._settings.threads, num_gpus=self._gpus, max_retries=0)
            self._running[task.remote(job, self._board)] = job

    def wait(self, seconds: float) -> list[Outcome]:
        if not self._running:
            return []
        ready, _ = ray.wait(list(self._running), num_returns=1, timeout=seconds)
        with suppress(exceptions.RayError):
            for number, (node, message) in ray.get(self._board.read.remote()).items():
                self._heard(number, node, message)
        outcomes = [self._collect(reference) for reference in ready]
        outcomes += [self._overdue(reference) for reference in list(self._running)]
        return [outcome for outcome in outcomes if outcome]

    def _heard(self, number: int, node: str, message: Mapping[str, Any]) -> None:
        job = next((job for job in self._running.values() if job.number == number), None)
        if job is None:
            return
        if not message or number not in self._begun:
            self._begun[number] = (node, time.monotonic())
        if message:
            self._settings.on_progress(job, message)

    def _collect(self, reference: Any) -> Outcome | None:
        job = self._running.pop(reference)
        node, since = self._begun.pop(job.number, ("", time.monotonic()))
        try:
            return Outcome(job, ray.get(reference))
        except exceptions.RayError as error:
            if _node_died(error, node) and self._deaths.get(job.number, 0) < MOST_NODES:
                self._deaths[job.number] = self._deaths.get(job.number, 0) + 1
                self.submit(job)
                return None
            memory = isinstance(error, exceptions.OutOfMemoryError)
            status = Status.OUT_OF_MEMORY if memory else Status.ERROR
            return Outcome(job, Record(job.trial, status, _line(error), seconds=time.monotonic() - since))

    def _overdue(self, reference: Any) -> Outcome | None:
        job, limit = self._running[reference], self._settings.trial_time_limit_s
        _, since = self._begun.get(job.number, ("", float("inf")))
        seconds = time.monotonic() - since
        if not limit or seconds <= limit:
            return None
        self._drop(reference)
        return Outcome(job, Record(job.trial, Status.TIMEOUT, too_long(limit), seconds=seconds))

    def _drop(self, reference: Any) -> None:
        job = self._running.pop(reference)
        self._begun.pop(job.number, None)
        with suppress(exceptions.RayError, ValueError):
            ray.cancel(reference, force=True)

    def stop(self, seconds: float) -> list[Outcome]:
        deadline = time.monotonic() + seconds
        with suppress(exceptions.RayError):
            ray.get(self._board.stop.remote(), timeout=seconds)
        outcomes: list[Outcome] = []
        while self._running and (left := deadline - time.monotonic()) > 0:
            outcomes += self.wait(min(left, 0.2))
        for reference, job in list(self._running.items()):
            self._drop(reference)
            outcomes.append(Outcome(job, None))
        return outcomes

    def close(self) -> None:
        for reference in list(self._running):
            self._drop(reference)
        ray.shutdown()


def _answers(address: str | None) -> None:
    """Refuses an address where nobody listens: Ray itself would try for minutes, deaf to Ctrl-C."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return  # "auto", and what Ray itself refuses
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"RAY_ADDRESS={address}: nobody answers ({error}); is `ray start --head` running there?"
        ) from None


def _environment(threads: int, shipped: bool) -> dict[str, Any]:
    """What tasks find: thread settings, and this checkout's code. An installed suite must be installed on the nodes.

    On this machine they can import what the sweep can, a user's own block too; on a cluster, what the nodes have.
    """
    variables = dict.fromkeys(THREAD_SETTINGS, str(threads))
    if shipped and (ROOT / "pyproject.toml").exists():
        return {"env_vars": variables, "working_dir": str(ROOT), "excludes": NOT_SHIPPED}
    paths = [str(ROOT), *places()]
    if odd := [path for path in paths if os.pathsep in path]:
        raise ValueError(f"executor 'ray' cannot import from {odd[0]}: PYTHONPATH has no word for {os.pathsep!r}")
    return {"env_vars": {**variables, "PYTHONPATH": os.pathsep.join(paths)}}


def _remote(own: bool) -> Any:
    """Makes a function a Ray task. A user's own block may change the process that it runs in: no other task gets it."""
    return ray.remote(max_calls=1) if own else ray.remote


def _node_died(error: Exception, node: str) -> bool:
    """Whether a task was lost with its node, not by its own fault."""
    if isinstance(error, exceptions.NodeDiedError | exceptions.ObjectLostError):
        return True
    return isinstance(error, exceptions.WorkerCrashedError) and bool(node) and not _alive(node)


def _alive(node: str) -> bool:
    return any(each["NodeID"] == node and each["Alive"] for each in ray.nodes())


def _line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else 'no message'}"
