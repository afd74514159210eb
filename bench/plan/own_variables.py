"""Which variables of the environment a user's own code reads: what they say is part of what runs, as its files are.

They are seen as the preflight runs that code, and go into the record by name, with a digest of the value: it may be a
secret. Not seen is what the code takes from a copy of the whole environment, or has a library read.
"""

import _collections_abc
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# By source file and name, the digest of what was read; empty where the variable was not set. For as long as the
# process: a module that two blocks import reads its variables once.
_read: dict[tuple[str, str], str] = {}
# What the code has set itself is no longer a matter of the environment.
_set: set[str] = set()
# Python's own way from `os.environ.get` or `os.getenv` to the value, where it is not frozen.
_WAY = {os.__file__, _collections_abc.__file__}


@contextmanager
def watched() -> Iterator[None]:
    """Within, notes who reads which variable."""
    kind: Any = os._Environ
    get, put, walk = kind.__getitem__, kind.__setitem__, kind.__iter__
    walked: list[Any] = []  # names just listed: reading them in turn copies the environment, and asks for none

    def noted(self: Any, key: Any) -> Any:
        try:
            value = get(self, key)
        except KeyError:
            _note(key, "")
            raise
        if walked[:1] == [key]:
            del walked[0]
        else:
            walked.clear()
            _note(key, hashlib.sha256(os.fsencode(value)).hexdigest()[:16])
        return value

    def replaced(self: Any, key: Any, value: Any) -> None:
        put(self, key, value)
        _set.add(os.fsdecode(key))

    def through(self: Any) -> Iterator[Any]:
        walked.clear()
        for key in walk(self):
            walked.append(key)
            yield key

    kind.__getitem__, kind.__setitem__, kind.__iter__ = noted, replaced, through
    try:
        yield
    finally:
        kind.__getitem__, kind.__setitem__, kind.__iter__ = get, put, walk


def _note(key: Any, digest: str) -> None:
    frame = sys._getframe(2)
    while frame.f_back and (frame.f_code.co_filename.startswith("<") or frame.f_code.co_filename in _WAY):
        frame = frame.f_back
    name = os.fsdecode(key)
    if name not in _set:
        _read[frame.f_code.co_filename, name] = digest


def theirs(files: set[Path]) -> dict[str, str]:
    """The variables that these sources have read so far, resolved, with the digests of their values."""
    return {name: digest for (file, name), digest in sorted(_read.items()) if Path(file).resolve() in files}
