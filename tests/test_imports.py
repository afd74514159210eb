"""Imports point one way, and the report half and every `--help` work without the heavy packages."""

import ast
import subprocess
import sys
from pathlib import Path

import made_up
import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "models": {"models"},
    "bench": {"bench", "models"},
    "results": {"results", "bench.command", "bench.record", "bench.study", "models.spec"},
    "reports": {"reports", "results", "bench.command", "bench.record", "bench.study", "models.spec"},
}


def imported(source: str) -> set[str]:
    """Modules of ours that a source imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # "from bench import study" names the module bench.study.
            whole = node.module if "." in node.module or node.module not in MAY_IMPORT else None
            names |= {whole} if whole else {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in MAY_IMPORT}


def trespasses(room: str, source: str) -> set[str]:
    """Imports of a source in `room` that point the wrong way."""
    allowed = MAY_IMPORT[room]
    return {n for n in imported(source) if n not in allowed and n.split(".")[0] not in allowed}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    wrong = {str(f.relative_to(ROOT)): t for f in files if (t := trespasses(room, f.read_text(encoding="utf-8")))}
    assert wrong == {}


def test_a_wrong_import_is_seen() -> None:
    assert trespasses("results", "def f():\n    from bench import train\n") == {"bench.train"}
    assert trespasses("models", "import bench.study\n") == {"bench.study"}
    assert trespasses("reports", "from bench.study import load\nfrom bench import record\n") == set()


BLOCK = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {names!r}:
            raise ImportError(f'{{name}} must not be loaded here')
sys.meta_path.insert(0, Refuse())
sys.argv = {argv!r}
import runpy
runpy.run_module({module!r}, run_name='__main__')
"""


def run_without(names: tuple[str, ...], module: str, *argv: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m module argv...` where some packages cannot be imported."""
    code = BLOCK.format(names=names, argv=[module, *argv], module=module)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


HEAVY = ("torch", "torchvision", "sklearn", "seaborn")


@pytest.mark.parametrize("module", ["bench", "results", "reports"])
def test_help_loads_nothing_heavy(module: str) -> None:
    done = run_without(HEAVY, module, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_the_block_blocks() -> None:
    done = run_without(("torch",), "bench.train")
    assert done.returncode != 0
    assert "torch must not be loaded here" in done.stderr


def test_report_half_runs_without_torch(tmp_path: Path) -> None:
    records = tmp_path / "records"
    made_up.write(records / "digits", made_up.study_records(study="digits"))
    for module, option in (("results", "--out"), ("reports", "--html")):
        done = run_without(("torch",), module, "digits", "--records", str(records), option, str(tmp_path / module))
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "reports" / "digits.html").stat().st_size > 10_000
    assert (tmp_path / "results" / "digits" / "trials.csv").exists()
