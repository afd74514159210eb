"""What was made of records before is not made again: a study's tables and figures, and its page, where nothing changed.

Own file because tables, figures and page ask the same. Compared is all that they are made of: records, study, the
suite's own sources, the versions of the packages that draw; and that each file is still as it was left.
"""

import hashlib
import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from bench.plan.checkout import ROOMS, ROOT
from bench.plan.study import Study
from bench.store.record import write

# Below these folders lies what is read or made, not what makes it.
_NO_SOURCES = ("records", "published", "out", "html", "robustness", "rehearsal", "__pycache__")
_DRAWING = ("jinja2", "matplotlib", "numpy", "pandas", "scipy", "seaborn")


@dataclass(frozen=True)
class Made:
    """What a command left behind.

    Attributes:
        stamp: The file that says so, beside what was made.
        of: `fingerprint` of all that it was made of.
    """

    stamp: Path
    of: str

    def said(self) -> list[str] | None:
        """What the command told when it made its files; None where anything changed since."""
        try:
            left = json.loads(self.stamp.read_bytes())
            same = left["of"] == self.of and all(_looks(Path(name)) == looks for name, looks in left["files"].items())
            return list(map(str, left["said"])) if same else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # never made, or by a version that left something else

    def remember(self, files: Iterable[Path], said: Sequence[str] = ()) -> None:
        """Notes what was made, and what was told."""
        left = {"of": self.of, "files": {str(file): _looks(file) for file in files}, "said": list(said)}
        write(self.stamp, json.dumps(left).encode())


def _looks(file: Path) -> list[int]:
    state = file.stat()
    return [state.st_size, state.st_mtime_ns]


def fingerprint(study: Study, recipe: str, folders: Sequence[Path], *choices: object) -> str:
    """SHA-256 over everything that tables, figures and page depend on.

    Args:
        study: What is asked.
        recipe: The text of its file.
        folders: Of its records.
        choices: Of the command.
    """
    versions = [platform.python_version(), *(metadata.version(name) for name in _DRAWING)]
    digest = hashlib.sha256(repr((study, recipe, choices, versions)).encode(errors="surrogatepass"))
    files = [file for folder in folders for file in sorted(folder.glob("*.json"))]
    for folder in ROOMS:
        for file in sorted((ROOT / folder).rglob("*.*")):
            if file.is_file() and not any(part in _NO_SOURCES for part in file.relative_to(ROOT).parts):
                files.append(file)
    for file in files:
        digest.update(str(file).encode(errors="surrogatepass") + b"\0" + file.read_bytes())
    return digest.hexdigest()
