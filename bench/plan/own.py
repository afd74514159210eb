"""A user's own architecture, as far as it can be told without importing it: where its source lies and what it says.

A study's file names "package.module:function"; the module is looked for beside that file first. The report half
reads studies, too, and must not run a user's code: so the source is read here, and imported only in workers. There,
`check` makes sure that what Python imports is what was read.
"""

import ast
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from bench.plan.checkout import ROOT
from bench.plan.own_imports import enter, file_of, foreign, home, shared
from models.spec import Architecture

_OF_PYTHON = sys.stdlib_module_names


def reachable(folder: Path) -> None:
    """Lets the modules of a study's folder be imported, here and in workers, which inherit `sys.path`.

    Appended, so that nothing there can stand in for the suite's own modules.
    """
    text = str(folder.resolve())
    if text not in sys.path:
        sys.path.append(text)


def described(row: Architecture, folder: Path) -> Architecture:
    """The row with the digest of its source and the first line of its docstring.

    The digest covers the file and every module that it imports, directly or not, and that is the user's: neither
    Python's, nor the suite's, nor an installed package's (but for the package that the file belongs to).

    Args:
        row: With a `factory`; others come back as they are.
        folder: Of the study's file.

    Returns:
        The row; unchanged when the source is not found, which a worker will say when it imports it.
    """
    if not row.factory:
        return row
    module, _, function = row.factory.partition(":")
    beside = file_of(folder, module)
    found = (folder, beside) if beside else _beside_the_suite("", module) or _source(module)
    if found is None:
        return row
    line = _first_line(found[1].read_bytes(), function)
    return dataclasses.replace(
        row, code=_digest(module, *found), source=f"{row.factory}: {line}" if line else row.factory
    )


# By module: the digest of its source when this process was about to import it.
_checked: dict[str, str] = {}
# Every source that a digest has covered in this process, resolved.
_covered: set[Path] = set()


def modules() -> dict[str, ModuleType]:
    """The modules of users' own blocks that are imported here, by name; not those of installed packages."""
    loaded = sorted(sys.modules.items()) if _covered else []
    return {name: module for name, module in loaded if _theirs(getattr(module, "__file__", None) or "") in _covered}


@functools.cache
def _theirs(file: str) -> Path | None:
    """A source that is a user's own, resolved. Remembered: there are a thousand modules, and disks may be slow."""
    path = Path(file)
    return path.resolve() if path.suffix == ".py" and path.is_absolute() and not foreign(path) else None


def forget() -> None:
    """Has Python import them again: what a module keeps (a table, a counter, a cache) is no matter of the next trial's.

    Not those of installed packages, and no compiled code: some of these can be imported once only.
    """
    for name, module in modules().items():
        del sys.modules[name]
        package, _, child = name.rpartition(".")
        # `from package import module` takes this before it imports.
        if package in sys.modules and getattr(sys.modules[package], child, None) is module:
            delattr(sys.modules[package], child)


def check(row: Architecture) -> set[Path]:
    """Makes sure that what Python would import here is what the row's digest was made of.

    From here on it can be imported here, anew, and its imports are its own, `models` too.

    Returns:
        The files that the digest covers; empty where there is no digest.

    Raises:
        ValueError: One line: another file has taken the name, or the source was edited meanwhile.
    """
    if not row.code:
        return set()
    module = row.factory.partition(":")[0]
    importlib.invalidate_caches()
    found = _beside_the_suite(row.code, module) or _source(module)
    if found and foreign(found[1]):  # a package may have a thousand files to digest
        _not_taken(row, found[1])
    now = _digest(module, *found) if found else ""
    if found is None or now != row.code:
        if found:
            _not_taken(row, found[1])
        where = found[1] if found else f"module {module}"
        raise ValueError(f"{where} is not what it was when the study was read: run the study again")
    place, path = found
    helpers = _helpers(module, path, place)
    theirs = not foreign(path)
    if theirs and shared(module) and (suites := file_of(ROOT, module)):
        raise ValueError(f"{_taken(suites, path)}, or have the study name a file that imports it")
    for top in {relative.parts[0].partition(".")[0] for relative in helpers if place / relative == helpers[relative]}:
        if theirs and shared(top):
            continue
        meant, taken = file_of(place, top), _source(top)
        if meant and taken and taken[1] != meant:
            raise ValueError(_taken(taken[1], meant))
    covered = {file.resolve() for file in (path, *helpers.values())}
    _covered.update(covered)
    forget()
    if module in sys.modules and _checked.get(module, now) != now:
        raise ValueError(f"{path} was edited after this process imported it: start the process again")
    _checked[module] = now
    if theirs:
        enter(place, module, covered)
    return covered


def _not_taken(row: Architecture, found: Path) -> None:
    """Raises a ValueError where the row's digest is of another file, of which `found` has the name."""
    module = row.factory.partition(":")[0]
    for place in map(Path, sys.path):
        meant = file_of(place, module)
        if meant and meant != found and _digest(module, place, meant) == row.code:
            raise ValueError(_taken(found, meant))


# Said of a module that `uncovered` finds.
UNSEEN = "imports {} in a way that the source does not show: write it as an import"


def uncovered(modules: Iterable[str], covered: set[Path]) -> str:
    """The first of these imported modules whose source is a user's own and is not covered by a digest; else empty."""
    for name in sorted(modules):
        file = getattr(sys.modules.get(name), "__file__", None) or ""
        # Modules that a package makes in memory call themselves by a bare name, such as torch's `_classes.py`.
        if (at := _theirs(file)) and at not in covered:
            return file
    return ""


def _taken(taken: Path, meant: Path) -> str:
    return f"Python imports {taken} under the name of {meant}: give {meant.name} another name"


def _digest(module: str, place: Path, path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes())
    for relative, helper in sorted(_helpers(module, path, place).items()):
        digest.update(relative.as_posix().encode() + b"\0" + helper.read_bytes())
    return digest.hexdigest()[:16]


def _beside_the_suite(code: str, module: str) -> tuple[Path, Path] | None:
    """Where a user's module lies whose name begins as one of the suite's packages, which Python finds first.

    The one of this digest, where several folders have one.
    """
    if not shared(module):
        return None
    places = [(place, path) for place in map(Path, sys.path) if (path := file_of(place, module)) and not foreign(path)]
    return next((found for found in places if _digest(module, *found) == code), places[0] if places else None)


def _source(module: str) -> tuple[Path, Path] | None:
    """Where Python would import a module from: the folder that its dotted name starts from, and its file."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    inside = spec.submodule_search_locations
    for place in [Path(spec.origin or "").parent] if inside is None else [Path(folder).parent for folder in inside]:
        if path := file_of(place, module):
            return place, path
    return None


def _helpers(module: str, path: Path, place: Path) -> dict[Path, Path]:
    """The files that run with a module's own: imported, directly or not, and the user's; by their relative names."""
    package = place / module.partition(".")[0]
    found: dict[Path, Path] = {}
    known = {path}
    # Importing a.b.c runs a and a.b first, for the module itself too.
    waiting = [(place, module), *_imported(path, place)]
    while waiting:
        start, dotted = waiting.pop()
        parts = dotted.split(".")
        if start == place and shared(dotted):
            start = home(place, dotted) or place
        elif start == place and not file_of(place, parts[0]) and not (place / parts[0]).is_dir():
            start = elsewhere[0] if (elsewhere := _source(parts[0])) else place
        for name in (".".join(parts[: i + 1]) for i in range(len(parts))):
            helper = file_of(start, name)
            if not helper or helper in known:
                continue
            if helper.is_relative_to(package) or not foreign(helper):
                root = place if helper.is_relative_to(place) else start
                found[helper.relative_to(root)] = helper
                known.add(helper)
                waiting += _imported(helper, place)
    return found


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
    # Python's own modules are found before any of a user's.
    return [(start, name) for start, name in names if start != place or name.partition(".")[0] not in _OF_PYTHON]


def _first_line(content: bytes, function: str) -> str:
    try:
        found = [node for node in ast.parse(content).body if getattr(node, "name", "") == function]
    except (SyntaxError, ValueError, RecursionError):
        return ""
    text = ast.get_docstring(found[-1]) if found and isinstance(found[-1], ast.FunctionDef | ast.ClassDef) else ""
    return (text or "").splitlines()[0] if text else ""
