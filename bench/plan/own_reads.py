"""Which files a user's own code reads beside its imports: its weights, its settings, a source that it runs itself.

What such a file says is part of what runs. It is seen as the preflight opens it, and its digest goes into the record.
Not seen is what Python itself does not open: what other programs read, and libraries that open files by themselves
(`torch.from_file`, safetensors); nor which files a folder has.
"""

import functools
import glob
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.plan.own_imports import foreign

# While something is watched, the files that are opened for reading; and those that are written, which are no input.
_opened: list[set[str]] = []
_written: set[str] = set()
# What belongs to the system, to Python, and to programs that keep something for themselves. By the name of a folder
# anywhere in a path: caches, and what git keeps.
_SYSTEM = tuple(map(Path, ("/proc", "/sys", "/dev", "/run", "/etc", "/usr", "/lib", "/lib64", "/bin", "/sbin")))
_INSTALLED = (Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve())
_KEPT = frozenset({".cache", "__pycache__", ".triton", ".nv", ".git"})
_CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


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
    if not _opened or event not in ("open", "os.rename", "sqlite3.connect"):
        return
    name = arguments[1 if event == "os.rename" else 0]
    if not isinstance(name, str | bytes | os.PathLike):
        return
    path = os.path.abspath(os.fsdecode(name))
    if event == "os.rename":
        if "__pycache__" not in path:  # compiled code tells of its source, whoever compiled it
            _written.add(path)
    elif event == "sqlite3.connect":
        _opened[-1].add(path)
    else:
        _, mode, flags = arguments
        reads = flags & os.O_ACCMODE == os.O_RDONLY if mode is None else "r" in mode
        (_opened[-1] if reads else _written).add(path)


def theirs(names: set[str], covered: set[Path]) -> set[Path]:
    """Those files that are a user's own, wherever they lie, and that this process has not written itself.

    Args:
        names: As `watched` collects them.
        covered: Files that another digest covers, resolved.
    """
    read = {source for name in names - _written for source in _sources(Path(name).resolve())} - covered
    found = {path for path in read if path.is_file() and not foreign(path) and not _kept(path)}
    # Sources of modules are read for messages, too; whether these are covered is asked in `own`.
    files = (getattr(each, "__file__", None) or "" for each in (list(sys.modules.values()) if found else []))
    return found - {Path(file).resolve() for file in files if file.endswith(".py")}


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


def _kept(path: Path) -> bool:
    """Whether a file is the system's, Python's, or what a program keeps for itself; resolved."""
    temporary = Path(tempfile.gettempdir()).resolve()
    caches = [Path(os.environ[name]).resolve() for name in _CACHES if os.environ.get(name)]
    inside = any(path.is_relative_to(folder) for folder in (*_SYSTEM, *_INSTALLED, *caches, temporary / "ray"))
    return inside or any(part in _KEPT or part.startswith("torchinductor_") for part in path.parts)
