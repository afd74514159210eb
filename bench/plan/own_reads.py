"""Which files a user's own code reads beside its imports: its weights, its settings, a source that it runs itself.

What such a file says is part of what runs. It is seen as the preflight opens it, and its digest goes into the record.
"""

import functools
import glob
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.plan.own_imports import foreign

# While something is watched, the files that are opened for reading.
_opened: list[set[str]] = []


@contextmanager
def watched() -> Iterator[set[str]]:
    """Within, collects the names of files that are opened for reading."""
    _hook()
    names: set[str] = set()
    _opened.append(names)
    try:
        yield names
    finally:
        _opened.pop()


@functools.cache
def _hook() -> None:
    """Once: Python takes no such hook back."""
    sys.addaudithook(_look)


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _opened and isinstance(arguments[0], str | bytes | os.PathLike):
        name, mode, flags = arguments
        reads = flags & os.O_ACCMODE == os.O_RDONLY if mode is None else "r" in mode or "+" in mode
        if reads:
            _opened[-1].add(os.path.abspath(os.fsdecode(name)))


def theirs(names: set[str], covered: set[Path]) -> set[Path]:
    """Those files that are a user's own.

    Args:
        names: As `watched` collects them.
        covered: Files that another digest covers, resolved.
    """
    near = {file.parent for file in covered} | {Path.cwd(), Path.home()}
    # Sources of modules are read for messages, too; whether these are covered is asked in `own`.
    files = (getattr(each, "__file__", None) or "" for each in list(sys.modules.values()))
    sources = {Path(file).resolve() for file in files if file.endswith(".py")}
    read = {source for name in names for source in _sources(Path(name).resolve())} - sources - covered
    return {
        path
        for path in read
        if path.is_file() and not foreign(path) and not all(_hidden(path, folder) for folder in near)
    }


def _sources(path: Path) -> list[Path]:
    """The file itself; of compiled code, which Python reads instead of the source, that source."""
    if path.suffix != ".pyc":
        return [path]
    if path.parent.name != "__pycache__":
        return []
    stem, folder = path.name.partition(".")[0], path.parent.parent
    usual = folder / f"{stem}.py"
    return [usual] if usual.is_file() else sorted(folder.glob(f"{glob.escape(stem)}.*"))


def digest(files: set[Path]) -> str:
    """Of the contents of files."""
    contents = [hashlib.sha256(path.read_bytes()).digest() for path in sorted(files)]
    return hashlib.sha256(b"".join(contents)).hexdigest()[:16]


def _hidden(path: Path, folder: Path) -> bool:
    """Whether a file lies outside a folder, or inside of what programs keep there for themselves."""
    return not path.is_relative_to(folder) or any(part.startswith(".") for part in path.relative_to(folder).parts)
