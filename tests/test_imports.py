"""Imports point one way, and the report half and every `--help` work without the heavy packages."""

import ast
import signal
import subprocess
import sys
import time
from pathlib import Path

import made_up
import pytest

from bench.plan.checkout import ROOMS, ROOT

# What each folder may import of ours: a folder's name allows its own modules, not those of its sub-folders.
_PLAN, _STORE = "bench.plan", "bench.store"
_ROWS = {"models.spec", "models.layouts"}  # without torch
_SERVED = {"bench.first", "bench.command", "bench.asked", "bench.options"}  # how a command is served
_REPORT_HALF = {*_SERVED, _PLAN, _STORE, *_ROWS}
MAY_IMPORT = {
    "models": {"models"},
    "bench/plan": {_PLAN, *_ROWS, "bench.train.device"},  # device: for `default_study`, where a GPU is there
    "bench/store": {_STORE, _PLAN, *_ROWS},
    "bench/sweep": {"bench.sweep", _STORE, _PLAN, *_ROWS},
    "bench/data": {"bench.data", _STORE, _PLAN, *_ROWS},
    "bench/train": {"bench.train", "bench.data", _STORE, _PLAN, "models"},
    "bench/probes": {"bench.probes", "bench.train", "bench.data", _STORE, _PLAN, "models"},
    "bench/cost": {"bench.cost", "bench.train", "bench.data", _STORE, _PLAN, "models", *_SERVED},  # trace: a command
    "bench": {"bench", "bench.plan", "bench.store", "bench.sweep", "bench.data", "bench.train", "bench.probes",
              "bench.cost", "models"},
    "results": {"results", "results.figures", *_REPORT_HALF},
    "results/figures": {"results.figures", "results", *_REPORT_HALF},
    "reports": {"reports", "reports.judges", "reports.page", "results", "results.figures", *_REPORT_HALF},
    "reports/judges": {"reports.judges", "reports.finding", "reports.protocol", "results", *_REPORT_HALF},
    "reports/page": {"reports.page", "reports.claims", "reports.finding", "reports.protocol", "results",
                     "results.figures", *_REPORT_HALF},
}  # fmt: skip
# What a notebook imports: tables with their verdicts. Nothing of ours imports it, so there is no circle.
DOOR = "results/study.py"
FOLDERS = {folder.replace("/", ".") for folder in MAY_IMPORT}


def imported(source: str) -> set[str]:
    """Modules of ours that a source imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # "from bench.plan import study" names the module bench.plan.study.
            folder = node.module in FOLDERS
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if folder else {node.module}
    return {name for name in names if name.split(".")[0] in ROOMS}


def trespasses(folder: str, source: str, also: frozenset[str] = frozenset()) -> set[str]:
    """Imports of a source in this folder that point the wrong way."""
    allowed = MAY_IMPORT[folder] | also
    return {name for name in imported(source) if name not in allowed and name.rpartition(".")[0] not in allowed}


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_imports_point_one_way(folder: str) -> None:
    files = sorted((ROOT / folder).glob("*.py"))
    assert files
    wrong = {}
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        also = frozenset({"reports", "reports.page"} if name == DOOR else ())
        if found := trespasses(folder, path.read_text(encoding="utf-8"), also):
            wrong[name] = found
    assert wrong == {}


def test_nothing_of_ours_imports_the_notebooks_module() -> None:
    door = DOOR.removesuffix(".py").replace("/", ".")
    found = [
        path for room in ROOMS for path in (ROOT / room).rglob("*.py") if door in imported(path.read_text("utf-8"))
    ]
    assert found == []
    assert door in imported("from results import study\n")


def test_every_folder_has_its_row() -> None:
    found = {path.parent.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    assert found == set(MAY_IMPORT)


def test_a_wrong_import_is_seen() -> None:
    assert trespasses("results", "def f():\n    from bench.train import loop\n") == {"bench.train.loop"}
    assert trespasses("models", "import bench.plan.study\n") == {"bench.plan.study"}
    assert trespasses("bench/store", "from bench.sweep.run import run\n") == {"bench.sweep.run"}
    assert trespasses("bench/cost", "from bench import runner\n") == {"bench.runner"}
    assert trespasses("reports/judges", "from reports.page import words\n") == {"reports.page.words"}
    assert trespasses("reports", "from bench.plan.study import load\nfrom bench.store import record\n") == set()


BLOCK = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {names!r}:
            raise ModuleNotFoundError(f'{{name}} must not be loaded here', name=name)
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
    done = run_without(("torch",), "bench.train.loop")
    assert done.returncode != 0
    assert "torch must not be loaded here" in done.stderr


def test_report_half_runs_without_torch(tmp_path: Path) -> None:
    records = tmp_path / "records"
    made_up.write(records / "digits", made_up.study_records(("plain", "resnet"), (18, 258), range(2), study="digits"))
    asked = ("digits", "--records", str(records), "--out", str(tmp_path / "results"))
    for module, more in (("results", ()), ("reports", ("--html", str(tmp_path / "reports")))):
        done = run_without(("torch",), module, *asked, *more)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "reports" / "digits.html").stat().st_size > 10_000
    assert (tmp_path / "results" / "digits" / "trials.csv").exists()


@pytest.mark.parametrize("module", ["bench", "results", "reports"])
def test_a_package_that_is_missing_is_one_line(module: str) -> None:
    for name in ("typer", "pandas", "numpy"):
        arguments = ("digits", "--records", "results/published") if module != "bench" else ("list",)
        done = run_without((name,), module, *arguments)
        if done.returncode:  # not every command needs every package
            assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
            assert "make setup" in done.stderr
        else:
            assert name != "typer"


@pytest.mark.parametrize("module", ["bench", "results", "reports"])
def test_an_interruption_while_modules_are_loaded_is_no_traceback(module: str) -> None:
    """Ctrl-C at any moment of the first half second; until the module's first line runs, Python itself answers."""
    for wait in (0.06, 0.1, 0.15, 0.25, 0.4):
        words = [sys.executable, "-m", module, "--help"]
        process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(wait)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        ours = said.partition(f"{module}/__main__.py")[2]
        assert process.returncode in (0, 130, -signal.SIGINT) or not ours
        assert "Traceback" not in said or not ours or "from bench import first" in ours
