"""What a trial leaves behind: one JSON file, whole or not there. No torch.

Holds the form of a record, its statuses and schema version, the atomic write and the careful read. It
does not know how a trial is run, nor what its numbers mean.
"""

import errno
import hashlib
import json
import math
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, get_args

from bench.plan.errors import reason
from bench.plan.trial import Trial, affecting, check
from bench.store.parts import Cost, Environment, Epoch, Probes, Result
from models.spec import Architecture

SCHEMA = 1

# What of a result is time: everything else is the same whenever and wherever a trial is run again.
TIMES = ("train_seconds", "longest_gap_s", "cpu_share")

# What must agree in two records' environments before one counts for the other or is compared with it. The last three
# are of a CPU alone: other kernels, and another number of threads, round otherwise.
Compared = Literal["device", "device_name", "torch", "code", "data", "cpu_capability", "onednn_max_cpu_isa", "threads"]
COMPARED: tuple[Compared, ...] = get_args(Compared)


class Status(StrEnum):
    """How a trial ended. `OK` and `DIVERGED` are results; the others are run again."""

    OK = "ok"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    ERROR = "error"

    @property
    def final(self) -> bool:
        """Whether the trial is done: a network that diverges is a finding."""
        return self in (Status.OK, Status.DIVERGED)


@dataclass(frozen=True)
class Record:
    """Everything that one trial produced.

    Attributes:
        trial: What was asked.
        status: How it ended.
        message: One line why, when it is not "ok".
        environment: Device kind and name, versions, threads, host: what resume compares and the page shows.
        result: Final scalars by name; fractions in 0..1.
        epochs: In order.
        cost: Scalars and raw samples, when the trial's purpose is "cost".
        probes: By probe name, whatever that probe measures (plain lists and numbers).
        seconds: Duration by a monotonic clock.
        started: Wall clock, ISO 8601 in UTC; a label only.
    """

    trial: Trial
    status: Status
    message: str = ""
    environment: Environment = field(default_factory=Environment)
    result: Result = field(default_factory=Result)
    epochs: list[Epoch] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    probes: Probes = field(default_factory=Probes)
    seconds: float = 0.0
    started: str = ""

    @property
    def device(self) -> str:
        """The kind of device that it ran on; empty where a worker died before it had one, or where it is no name."""
        device: object = self.environment.get("device", "")
        return device if isinstance(device, str) else ""


class Unreadable(ValueError):  # noqa: N818 (it says what the file is)
    """A record that cannot be used; the message is one line that says why."""


class FromTheFuture(Unreadable):
    """A whole record of a later schema: left where it is."""


class CannotOpen(Unreadable):
    """A file that the system does not give: what is in it may be whole, so it is left where it is."""


# Fields that the start of a file's name says, or that no cost trial has.
_NOT_IN_NAME = affecting("name", "extent")


def file_name(trial: Trial, varied: Sequence[str]) -> str:
    """For people, and sorts: every field that the study varies, and a short hash of the trial."""
    parts = [trial.architecture.name, f"d{trial.depth:05d}", f"s{trial.seed:03d}"]
    for name in varied:
        value = getattr(trial, name)
        if name in _NOT_IN_NAME:
            continue
        parts.append(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}")
    text = "-".join([*parts, trial.purpose])
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.=") else "_" for c in text)
    return f"{safe[:150]}-{trial.digest}.json"


def _strict(value: Any) -> Any:
    """JSON has no NaN: a number that is not finite becomes a word that `_lenient` turns back."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, dict):
        return {str(k): _strict(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(v) for v in value]
    return value


def _lenient(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"float"}:
            return float(value["float"])
        return {k: _lenient(v) for k, v in value.items()}
    return [_lenient(v) for v in value] if isinstance(value, list) else value


def encode(record: Record) -> bytes:
    """The file's bytes: strict JSON of schema, body, and the SHA-256 of both."""
    fields = {name: getattr(record, name) for name in Record.__dataclass_fields__}
    fields["trial"] = record.trial.to_json()
    fields["status"] = str(record.status)
    fields["cost"] = _read_memory(record)
    body = json.dumps(_strict(fields), allow_nan=False)
    return f'{{"schema": {SCHEMA}, "sha256": "{_hash(SCHEMA, body)}", "body": {body}}}\n'.encode()


def _read_memory(record: Record) -> Cost:
    """The costs without a peak memory that could not be read, as on macOS and in some sandboxes: nothing needs 0 bytes.

    A mark that could not be set back (the floor is 0) is that of whatever the process did before.
    """
    cost = record.cost.copy()
    if record.device == "cpu" and cost.get("memory_floor_bytes", 1) == 0:
        del cost["memory_floor_bytes"]
        cost.pop("peak_memory_bytes", None)
        cost.pop("net_memory_bytes", None)
    return cost


def _hash(schema: Any, body: str) -> str:
    """Over the schema too, so that a flipped schema number is damage, not "the future"."""
    return hashlib.sha256(f"[{schema}, {body}]".encode()).hexdigest()


def _agrees(digest: str, schema: Any, body: Any, text: str) -> bool:
    """Whether the SHA-256 is that of the body as it is written, or of its canonical form (another tool's spacing)."""
    as_written = text.partition(', "body": ')[2].removesuffix("}\n")
    if digest == _hash(schema, as_written):
        return True
    return digest == _hash(schema, json.dumps(body, sort_keys=True, allow_nan=False))


def decode(data: bytes) -> Record:
    """The inverse of `encode`.

    Raises:
        Unreadable: Not whole, not ours, or its SHA-256 does not agree.
        FromTheFuture: Written by a later version of the suite.
    """
    try:
        text = data.decode("utf-8")
        content = json.loads(text)
        schema, digest, body = content["schema"], content["sha256"], content["body"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Unreadable(f"not a whole record ({type(error).__name__})") from None
    try:
        if not _agrees(digest, schema, body, text):
            raise Unreadable("SHA-256 does not agree: the file was damaged or edited")
        if schema > SCHEMA:
            raise FromTheFuture(f"written by a later version of the suite (schema {schema}, known up to {SCHEMA})")
        values = _lenient(body) if '"float"' in text else body
        if _LONG.search(text) or "\\ud" in text.lower():
            values = _tame(values)
        values["trial"] = Trial.from_json(values["trial"])
        values["status"] = Status(values["status"])
        record = Record(**values)
        _check_kinds(record)
        return replace(record, cost=_read_memory(record))
    except Unreadable:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise Unreadable(reason(error)[:200]) from None


# More digits than a number of 64 bits has: what follows looks closer.
_LONG = re.compile(r"\d{19}")


def _tame(value: Any) -> Any:
    """The same without what no table and no page can hold: lone surrogates become "?".

    Raises:
        Unreadable: A whole number of more than 64 bits.
    """
    if isinstance(value, dict):
        return {_tame(key): _tame(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_tame(each) for each in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise Unreadable("holds a whole number of more than 64 bits")
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


_KINDS: dict[str, type] = {f.name: bool if f.default is False else str for f in fields(Architecture)}


_Counts = Literal["n_train", "n_test", "classes", "steps", "steps_planned", "parameters"]
_COUNTS: tuple[_Counts, ...] = get_args(_Counts)


def _check_kinds(record: Record) -> None:
    """Refuses a body that is whole but not shaped like a record, so that no reader need look twice."""
    kinds: dict[str, type | tuple[type, ...]] = {"message": str, "started": str, "seconds": (int, float)}
    kinds |= {"epochs": list, **dict.fromkeys(("environment", "result", "cost", "probes"), dict)}
    for name, kind in kinds.items():
        if not isinstance(getattr(record, name), kind):
            raise Unreadable(f"{name} is not of the kind that a record has")
    for name, value in record.cost.items():
        if name.endswith("_times_s"):
            if not (isinstance(value, list) and all(_is_number(each) for each in value)):
                raise Unreadable(f"cost {name} is not a list of numbers")
        elif name.endswith("_bytes") and name != "others_memory_bytes" and not _is_number(value):
            raise Unreadable(f"cost {name} is not a number")
    for name in _COUNTS:
        count = record.result.get(name, 0)
        if not (_is_number(count) and math.isfinite(count)):
            raise Unreadable(f"result {name} is not a finite number")
    if not all(isinstance(row, dict) for row in record.epochs):
        raise Unreadable("epochs are not of the kind that a record has")
    for name, value in vars(record.trial.architecture).items():
        if not isinstance(value, _KINDS[name]):
            raise Unreadable(f"architecture's {name} is not of the kind that a record has")
    if not isinstance(record.trial.study, str):
        raise Unreadable("trial's study is not a text")
    check(record.trial)  # what no study may ask for was never run


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# What file systems say that cannot sync a folder (SMB, VirtualBox's shared folders): the file itself is synced.
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS)


def write(path: Path, data: bytes) -> None:
    """Writes a file so that after a crash either the old or the new one is there, whole.

    Temp file in the same folder, fsync, rename, fsync of the folder.
    """
    handle, temp = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # Who may read it is for the umask to say, which can only be read by being set.
        os.umask(mask := os.umask(0o077))
        os.chmod(temp, 0o666 & ~mask)
        os.replace(temp, path)
    except BaseException:
        Path(temp).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(folder)


# A record of a 1000-layer net is tens of kB; garbage of a GB must not be read into memory.
MAX_BYTES = 64 * 2**20


def read(path: Path) -> Record:
    """One record from its file; see `decode` for what it raises."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise Unreadable(f"larger than {MAX_BYTES} bytes")
        return decode(path.read_bytes())
    except IsADirectoryError as error:
        raise Unreadable(str(error.strerror)) from None
    except OSError as error:
        raise CannotOpen(error.strerror or str(error)) from None


def load(folder: Path, pattern: str = "*.json") -> tuple[list[tuple[Path, Record]], list[tuple[Path, Unreadable]]]:
    """All records of a folder, sorted by name, and the files that could not be read, each with its reason."""
    good: list[tuple[Path, Record]] = []
    bad: list[tuple[Path, Unreadable]] = []
    for path in sorted(folder.glob(pattern)):
        try:
            good.append((path, read(path)))
        except Unreadable as error:
            bad.append((path, error))
    return good, bad
