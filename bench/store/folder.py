"""A study's records on disk, seen by the sweep that adds to them: locked, tidied, and what of them counts.

Nothing that was measured is ever deleted: what no longer counts moves to `apart/`, what cannot be read
is renamed to `NAME.corrupt-N`. Only the holder of the lock changes anything.
"""

import dataclasses
import json
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from bench.plan.trial import Trial
from bench.store.agree import differences, today_of
from bench.store.parts import Today
from bench.store.record import CannotOpen, FromTheFuture, Record, encode, file_name, load, write

APART = "apart"


class WriteError(OSError):
    """The disk is full, or the folder is gone: the sweep stops; the message is one line."""


def plain(trial: Trial) -> Trial:
    """The trial without what only names it, so that a reworded label does not undo a record."""
    return dataclasses.replace(trial, architecture=dataclasses.replace(trial.architecture, label="", source=""))


def _any_repeat(trial: Trial) -> Trial:
    """The trial without its seed, and a search without its rate: a search goes on to rates beyond those it names."""
    return dataclasses.replace(plain(trial), seed=0, lr=0.0 if trial.purpose == "search" else trial.lr)


def _changed(record: Record, environments: Mapping[str, Today]) -> list[str]:
    """What differs between a record's environment and one of today."""
    now = environments.get(record.trial.dataset, {})
    return differences(record.environment, today_of(now, record.trial.architecture.factory))


class Folder:
    """One study's folder of records, locked as long as this object is open.

    Attributes:
        path: The folder.
        notes: Lines to tell the user: what was set aside, and why.
        keep: Whether the folder stays even if it is new and gets no record: the sweep was not refused.
    """

    def __init__(self, path: Path) -> None:
        """Makes the folder, proves that it can be written, and takes its lock.

        Raises:
            ValueError: One line: it cannot be written, or another sweep holds it.
        """
        self.path = path
        self.notes: list[str] = []
        self.keep = False
        self._paths: dict[Trial, Path] = {}
        self._made = made = _make(path)
        self._lock = FileLock(path / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(f"{path} is in use by another sweep ({_holder(path)})") from None
        except OSError as error:
            _unmake(made)
            raise ValueError(f"cannot write to {path}: {error.strerror}") from None
        try:
            for leftover in (*path.glob(".*.tmp"), *path.glob("checkpoints/.*.tmp")):
                leftover.unlink(missing_ok=True)
            # Held open by the lock, so no other file can get its number meanwhile.
            self._locked = os.stat(path / ".lock")
            holder = {"pid": os.getpid(), "host": socket.gethostname()}
            write(path / ".holder", json.dumps(holder).encode())
        except OSError as error:
            self._lock.release()
            _unmake(made)
            raise ValueError(f"cannot write to {path}: {error.strerror}") from None

    def close(self) -> None:
        """Frees the lock; a folder that is new and got no record goes again, so that a refusal leaves nothing."""
        with suppress(OSError):
            (self.path / ".holder").unlink(missing_ok=True)
            if not self.keep and self._made and {entry.name for entry in self.path.iterdir()} <= {".lock"}:
                _unmake(self._made)
        self._lock.release()

    def finished(
        self, trials: Sequence[Trial], whole: Iterable[Trial], environments: Mapping[str, Today]
    ) -> list[Record]:
        """Sorts out what is there.

        Args:
            trials: What is asked now.
            whole: Every trial that the study could ask for; other seeds of these are left alone too.
            environments: By data set, what a record of today would say of the `COMPARED` names.

        Returns:
            Records of `trials` that need not be run again.

        Raises:
            ValueError: A record of a later version of the suite stands in the way, or one that cannot be opened.
        """
        good, bad = load(self.path)
        for path, reason in bad:
            if isinstance(reason, FromTheFuture):
                raise ValueError(f"{path}: {reason}; install that version, or choose another --records folder")
            if isinstance(reason, CannotOpen):
                raise ValueError(f"cannot read the record {path}: {reason}")
            aside = _free(path, "corrupt")
            _move(path, aside)
            self.notes.append(f"{path.name}: {reason}; set aside as {aside.name}")
        asked = {plain(t): t for t in trials}
        possible = {_any_repeat(t) for t in [*whole, *trials]}
        # The latest of two records of one trial counts.
        good.sort(key=lambda pair: (pair[1].status.final, pair[1].started), reverse=True)
        done: list[Record] = []
        for path, record in good:
            trial = plain(record.trial)
            reason_apart = ""
            if _any_repeat(trial) not in possible:
                reason_apart = "not a trial of this study (any more)"
            elif trial in self._paths:
                reason_apart = f"a second record of the trial in {self._paths[trial].name}"
            elif trial in asked:
                changed = _changed(record, environments)
                if record.status.final and changed:
                    reason_apart = "made with another " + ", ".join(changed)
            if reason_apart:
                self._set_apart(path, reason_apart)
                continue
            self._paths[trial] = path
            if trial in asked and record.status.final:
                done.append(record)
        return done + self._taken_back(set(asked) - {plain(record.trial) for record in done}, environments)

    def _taken_back(self, missing: set[Trial], environments: Mapping[str, Today]) -> list[Record]:
        """Records kept apart that count again: a study, code or device that was changed and changed back.

        One takes the place of a failed record of its trial, as a new one would.
        """
        found = sorted(load(self.path / APART, "*.json*")[0], key=lambda pair: pair[1].started, reverse=True)
        done = []
        for path, record in found:
            trial = plain(record.trial)
            failed = self._paths.get(trial)
            target = failed or self.path / (path.name.partition(".json")[0] + ".json")
            if trial not in missing or not record.status.final or (target.exists() and not failed):
                continue
            if not _changed(record, environments):
                _move(path, target)
                missing.discard(trial)
                self.notes.append(f"{path.name}: counts again; taken back from {self.path.name}/{APART}")
                self._paths[trial] = target
                done.append(record)
        return done

    def _set_apart(self, path: Path, reason: str) -> None:
        folder = self.path / APART
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"cannot make the folder {folder}, for records that no longer count: {error.strerror}"
            ) from None
        target = folder / path.name
        if target.exists():
            target = _free(target, "apart")
        _move(path, target)
        self.notes.append(f"{path.name}: {reason}; kept apart in {self.path.name}/{APART}")

    def save(self, record: Record, varied: Sequence[str]) -> Path:
        """Writes a record, in the place of an older one of the same trial.

        Raises:
            WriteError: With path and size; whatever was there before is still whole.
        """
        trial = plain(record.trial)
        path = self._paths.get(trial, self.path / file_name(record.trial, varied))
        data = encode(record)
        try:
            if not self._still_ours():
                raise FileNotFoundError(None, "the folder was removed or replaced while the sweep ran")
            write(path, data)
        except OSError as error:
            raise WriteError(f"cannot write {path} ({len(data)} bytes): {error.strerror}") from None
        self._paths[trial] = path
        if record.status.final:
            self._forget(record.trial)
        return path

    def checkpoint(self, trial: Trial) -> Path:
        """Where a long trial may keep its epoch checkpoint, until it has its final record."""
        return self.path / "checkpoints" / f"{trial.digest}.pt"

    def _forget(self, trial: Trial) -> None:
        path = self.checkpoint(trial)
        with suppress(OSError):
            for generation in path.parent.glob(path.name + "*"):
                generation.unlink()
            path.parent.rmdir()

    def _still_ours(self) -> bool:
        """Whether the lock file on disk is the one that is locked: another may lock a new file in a new folder."""
        try:
            return os.path.samestat(self._locked, os.stat(self.path / ".lock"))
        except OSError:
            return False


def _holder(path: Path) -> str:
    try:
        holder = json.loads((path / ".holder").read_text())
        return f"pid {int(holder['pid'])} on {str(holder['host'])!r}"
    except (OSError, ValueError, KeyError, TypeError):
        return "pid unknown"


def _free(path: Path, word: str) -> Path:
    """The first NAME.word-N that is not taken."""
    number = 1
    while (candidate := path.with_name(f"{path.name}.{word}-{number}")).exists():
        number += 1
    return candidate


def _move(path: Path, target: Path) -> None:
    try:
        path.rename(target)
    except OSError as error:
        raise ValueError(f"cannot move {path} to {target}: {error.strerror}") from None


def _make(path: Path) -> list[Path]:
    """Makes a folder with its parents, and returns those that were new, innermost first."""
    if any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in str(path)):
        raise ValueError(f"records folder {str(path)!r} holds control characters or bytes that are not UTF-8")
    try:
        missing = [p for p in (path, *path.parents) if not p.exists()]
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"cannot make the records folder {str(path)!r}: {error.strerror}") from None
    return missing


def _unmake(made: Iterable[Path]) -> None:
    for path in made:
        for leftover in (path / ".lock", path / ".holder"):
            leftover.unlink(missing_ok=True)
        with suppress(OSError):
            path.rmdir()
