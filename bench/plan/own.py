"""A user's own architecture, as far as it can be told without importing it: where its source lies and what it says.

A study's file names "package.module:function"; the module is looked for beside that file first. The report half
reads studies, too, and must not run a user's code: so the source is read here, and imported only in workers.
"""

import ast
import contextlib
import dataclasses
import hashlib
import sys
from pathlib import Path

from models.spec import Architecture


def reachable(folder: Path) -> None:
    """Lets the modules of a study's folder be imported, here and in workers, which inherit `sys.path`.

    Appended, so that nothing there can stand in for the suite's own modules.
    """
    text = str(folder.resolve())
    if text not in sys.path:
        sys.path.append(text)


def described(row: Architecture, folder: Path) -> Architecture:
    """The row with the digest of its source file and the first line of its docstring.

    Args:
        row: With a `factory`; others come back as they are.
        folder: Of the study's file.

    Returns:
        The row; unchanged when the source is not found, which a worker will say when it imports it.
    """
    if not row.factory:
        return row
    module, _, function = row.factory.partition(":")
    path = _source(module, folder)
    if path is None:
        return row
    content = path.read_bytes()
    line = _first_line(content, function)
    digest = hashlib.sha256(content).hexdigest()[:16]
    return dataclasses.replace(row, code=digest, source=f"{row.factory}: {line}" if line else row.factory)


def _source(module: str, folder: Path) -> Path | None:
    relative = Path(*module.split("."))
    for place in [folder, *map(Path, sys.path)]:
        for path in (place / relative.with_suffix(".py"), place / relative / "__init__.py"):
            with contextlib.suppress(OSError):  # a name that is too long for a file
                if path.is_file():
                    return path
    return None


def _first_line(content: bytes, function: str) -> str:
    try:
        found = [node for node in ast.parse(content).body if getattr(node, "name", "") == function]
    except (SyntaxError, ValueError, RecursionError):
        return ""
    text = ast.get_docstring(found[-1]) if found and isinstance(found[-1], ast.FunctionDef | ast.ClassDef) else ""
    return (text or "").splitlines()[0] if text else ""
