"""A user's own modules that import what the suite has, too: `from models.layers import Norm`.

`models`, `bench`, `results` and `reports` are the suite's packages here, and may be a user's as well. Where a block's
author has one of them, the sources that its digest covers are compiled with such imports written out as
`own_1a2b3c4d.models.layers`: a private package, whose folders are the user's. All other names stay as they are.

Why the source, not `sys.modules` swapped around calls: a block imports in its forward pass, too, on whatever thread,
while the suite imports as well. Why not an `__import__` of the block's own: torch.compile follows an import inside a
function with Python's. So every class has a module that can be imported by its name, as torch.compile and pickle do.
"""

import ast
import contextlib
import hashlib
import importlib
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from bench.plan.checkout import ROOMS, ROOT
from bench.plan.errors import OWN

_ROOMS = tuple(ROOT / room for room in ROOMS)
_LIBRARIES = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def file_of(place: Path, module: str) -> Path | None:
    """The file of a module whose dotted name starts from this folder; None where it has none."""
    relative = Path(*module.split("."))
    endings = (".py", *EXTENSION_SUFFIXES)
    for path in (place / relative / "__init__.py", *(place / relative.with_suffix(end) for end in endings)):
        with contextlib.suppress(OSError):  # a name that is too long for a file
            if path.is_file():
                return path
    return None


def foreign(path: Path) -> bool:
    """Whether a file is Python's, the suite's, or an installed package's, not the user's."""
    path = path.resolve()
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    return bool(installed) or any(path.is_relative_to(folder) for folder in (*_LIBRARIES, *_ROOMS))


def shared(module: str) -> bool:
    """Whether a module's dotted name begins with one of the suite's."""
    return module.partition(".")[0] in ROOMS


def folders(place: Path) -> list[Path]:
    """Where a user's modules are looked for: their folder, then what of `sys.path` is neither ours nor Python's."""
    return [place, *(path for path in map(Path, sys.path) if path.resolve() != ROOT and not foreign(path))]


def home(place: Path, module: str) -> Path | None:
    """The folder of the user's that has a module of a shared name, or what the module is in; None: it is the suite's.

    Args:
        place: Folder that the importing block's own dotted name starts from.
        module: Dotted; a name inside a module may follow.
    """
    parts = module.split(".")
    names = [".".join(parts[: i + 1]) for i in range(len(parts))]

    def has(folder: Path) -> bool:
        return any(file is not None and not foreign(file) for file in (file_of(folder, name) for name in names))

    return next(filter(has, folders(place)), None) if shared(module) else None


def enter(place: Path, module: str, files: Iterable[Path]) -> None:
    """From now on the imports in these files are the user's: first what the user has, then the suite's.

    Args:
        place: Folder that the dotted names start from.
        module: That the study names; importable under this name, too, unless the suite has a module of it.
        files: The sources that the block's digest covers, resolved.
    """
    if not any((folder / room).is_dir() or file_of(folder, room) for folder in folders(place) for room in ROOMS):
        return
    root = f"{OWN}{hashlib.sha256(str(place.resolve()).encode()).hexdigest()[:8]}"
    _places[root] = place
    _roots.update(dict.fromkeys(files, root))
    if shared(module):
        _named[module] = f"{root}.{module}"
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


# By private package: its folder. By source: the private package that its imports see. By module that a study names: its
# private name.
_places: dict[str, Path] = {}
_roots: dict[Path, str] = {}
_named: dict[str, str] = {}


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top, _, rest = fullname.partition(".")
        if fullname in _named:
            return ModuleSpec(fullname, _Again(_named[fullname]))
        if top in _places and not rest:
            whole = ModuleSpec(fullname, None, is_package=True)
            whole.submodule_search_locations = list(map(str, folders(_places[top])))
            return whole
        others = (finder.find_spec(fullname, path, target) for finder in sys.meta_path if finder is not self)
        found = next((spec for spec in others if spec), None)
        # Exactly this loader: who has put in another one means it.
        if found and found.origin and type(found.loader) is SourceFileLoader:
            root = top if top in _places else _roots.get(Path(found.origin).resolve())
            if root:
                found.loader = _Written(fullname, found.origin, root)
        return found


_FINDER = _Finder()


class _Written(SourceFileLoader):
    """A source with its imports written out; never from or to `__pycache__`, which is the user's own Python's."""

    def __init__(self, fullname: str, path: str, root: str) -> None:
        super().__init__(fullname, path)
        self._root = root

    def get_code(self, fullname: str) -> CodeType:
        tree = _Imports(self._root).visit(ast.parse(self.get_data(self.path), self.path))
        code: CodeType = compile(ast.fix_missing_locations(tree), self.path, "exec", dont_inherit=True)
        return code


class _Again(Loader):
    """A module under a second name, otherwise as it is."""

    def __init__(self, name: str) -> None:
        self._name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self._name)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Imports(ast.NodeTransformer):
    def __init__(self, root: str) -> None:
        self._root, self._place = root, _places[root]

    def _mine(self, module: str) -> bool:
        return home(self._place, module) is not None

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        made: list[ast.stmt] = []
        for alias in node.names:
            top = alias.name.partition(".")[0]
            if not self._mine(alias.name):
                made.append(ast.Import([alias]))
                continue
            made.append(ast.Import([ast.alias(f"{self._root}.{alias.name}", alias.asname or top)]))
            if not alias.asname and alias.name != top:  # `import models.layers` binds `models`
                made.append(ast.Import([ast.alias(f"{self._root}.{top}", top)]))
        return [ast.copy_location(each, node) for each in made]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        if node.level == 0 and node.module and any(self._mine(f"{node.module}.{each.name}") for each in node.names):
            node.module = f"{self._root}.{node.module}"
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """`import_module("models." + name)` likewise: the preflight sees what it imports."""
        self.generic_visit(node)
        function = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if function == "import_module" and node.args and self._mine(_begins(node.args[0]).strip(".")):
            node.args[0] = ast.BinOp(ast.Constant(f"{self._root}."), ast.Add(), node.args[0])
        return node


def _begins(text: ast.expr) -> str:
    """What a text is known to begin with: a literal's, an f-string's, or a sum's first part."""
    if isinstance(text, ast.BinOp):
        return _begins(text.left)
    if isinstance(text, ast.JoinedStr) and text.values:
        return _begins(text.values[0])
    return text.value if isinstance(text, ast.Constant) and isinstance(text.value, str) else ""
