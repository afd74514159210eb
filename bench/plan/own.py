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
    """The row with the digest of its source and the first line of its docstring.

    The digest covers the file and every module that it imports, directly or not, from its own folder: the study's, or
    else the package that it belongs to.

    Args:
        row: With a `factory`; others come back as they are.
        folder: Of the study's file.

    Returns:
        The row; unchanged when the source is not found, which a worker will say when it imports it.
    """
    if not row.factory:
        return row
    module, _, function = row.factory.partition(":")
    found = _source(module, folder)
    if found is None:
        return row
    place, path = found
    content = path.read_bytes()
    line = _first_line(content, function)
    digest = hashlib.sha256(content)
    within = place if place == folder else place / module.partition(".")[0]
    for helper in _helpers(module, path, place, within):
        digest.update(helper.relative_to(place).as_posix().encode() + b"\0" + helper.read_bytes())
    code = digest.hexdigest()[:16]
    return dataclasses.replace(row, code=code, source=f"{row.factory}: {line}" if line else row.factory)


def _source(module: str, folder: Path) -> tuple[Path, Path] | None:
    """Where a module is found: the folder that its dotted name starts from, and its file."""
    for place in [folder, *map(Path, sys.path)]:
        if path := _file(place, module):
            return place, path
    return None


def _file(place: Path, module: str) -> Path | None:
    relative = Path(*module.split("."))
    for path in (place / relative.with_suffix(".py"), place / relative / "__init__.py"):
        with contextlib.suppress(OSError):  # a name that is too long for a file
            if path.is_file():
                return path
    return None


def _helpers(module: str, path: Path, place: Path, within: Path) -> list[Path]:
    """The files that run with a module's own: imported, directly or not, and in the folder `within`; sorted."""
    found: set[Path] = set()
    # Importing a.b.c runs a and a.b first, for the module itself too.
    waiting = [(place, module), *_imported(path, place)]
    while waiting:
        start, dotted = waiting.pop()
        parts = dotted.split(".")
        for name in (".".join(parts[: i + 1]) for i in range(len(parts))):
            helper = _file(start, name)
            if helper and helper != path and helper not in found and helper.is_relative_to(within):
                found.add(helper)
                waiting += _imported(helper, place)
    return sorted(found)


def _imported(file: Path, place: Path) -> list[tuple[Path, str]]:
    """The imports of a file, wherever they stand in it: the folder to start from, and a dotted name."""
    try:
        nodes = list(ast.walk(ast.parse(file.read_bytes())))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []
    names: list[tuple[Path, str]] = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [(place, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = file.parents[node.level - 1] if 0 < node.level <= len(file.parents) else place
            head = f"{node.module}." if node.module else ""
            names += [(start, f"{head}{alias.name}") for alias in node.names]
    return names


def _first_line(content: bytes, function: str) -> str:
    try:
        found = [node for node in ast.parse(content).body if getattr(node, "name", "") == function]
    except (SyntaxError, ValueError, RecursionError):
        return ""
    text = ast.get_docstring(found[-1]) if found and isinstance(found[-1], ast.FunctionDef | ast.ClassDef) else ""
    return (text or "").splitlines()[0] if text else ""
