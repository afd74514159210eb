"""What a command does first: refuses where a file of the user's stands in for a module that is meant to be another."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import first
from bench.plan.checkout import ROOT


def typed(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """A command as somebody types it in this folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = (sys.executable, "-m", *words)
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


# A package that is imported at once, one that workers import, one that another package imports, one of an extra,
# Python's own, one that the very first line would import, and the suite's.
NAMES = ["typer", "torch", "pyparsing", "pyarrow", "random", "signal", "results"]


@pytest.mark.parametrize("module", ["bench", "results", "reports"])
@pytest.mark.parametrize("name", NAMES)
def test_a_file_in_the_working_folder_that_hides_a_module_is_named(name: str, module: str, tmp_path: Path) -> None:
    if name == module:
        pytest.skip("Python runs that one instead")
    (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')\n")
    done = typed(tmp_path, module, "--help")
    whose = {"random": "Python's own module", "signal": "Python's own module", "results": "the suite's own"}
    words = f"{tmp_path}/{name}.py hides {whose.get(name, 'the package')} {name!r}"
    said = f"error: {words}; give it another name, or run this in another folder\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_a_folder_that_hides_a_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    assert typed(tmp_path, "bench", "--version").returncode == 0  # Python takes the package before it
    (tmp_path / "numpy" / "__init__.py").touch()
    assert "numpy/__init__.py hides the package 'numpy'" in typed(tmp_path, "bench", "--version").stderr


@pytest.mark.parametrize("command", ["reports.robustness", "reports.judges.planted", "bench.cost.trace"])
def test_the_other_commands_look_too(command: str, tmp_path: Path) -> None:
    (tmp_path / "torch.py").touch()
    done = typed(tmp_path, command, "66")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "torch.py hides the package 'torch'" in done.stderr


def test_what_hides_nothing_is_nobodys_business(tmp_path: Path) -> None:
    """A block, a package of one's own, what Python never looks for in a folder, another's package, other files."""
    for name in ("block.py", "utils.py", "sys.py", "os.py", "numpy.txt", "torch.toml", "hidden_package.py"):
        (tmp_path / name).touch()
    library = tmp_path / "library"
    library.mkdir()
    (library / "hidden_package.py").touch()
    standard = os.path.dirname(os.__file__)
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        assert first.hidden(["", str(ROOT), standard, str(library), *sys.path]) == ""
        (tmp_path / "numpy.py").touch()
        assert "numpy.py" in first.hidden(["", str(ROOT), standard, *sys.path])
        # Whoever names a folder in PYTHONPATH means it: so clusters put another numpy in front.
        os.chdir(library)
        assert first.hidden([str(tmp_path), standard, *sys.path]) == ""
    finally:
        os.chdir(here)


def test_a_folder_that_stands_twice_does_not_hide_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with PYTHONPATH=. in the checkout. Else every command would look through all packages, for seconds."""
    monkeypatch.setattr(first, "_packages", lambda: pytest.fail("looked for packages"))
    assert first.hidden([str(ROOT), "", str(ROOT), os.path.dirname(os.__file__), *sys.path]) == ""


def test_every_module_that_a_run_loads_is_known(tmp_path: Path) -> None:
    """By name, in a process that has loaded all that a run, its tables and its page load; but for parts of packages
    that are loaded under a name of their own."""
    code = (
        "import sys, bench.preflight, bench.sweep.run, bench.sweep.process, bench.cost.trace, results.figures.table\n"
        "import results.files, results.event_files, reports.page.render, sklearn.datasets\n"
        "from bench import first\n"
        "known = {*first.ROOMS, *first._packages(), *sys.stdlib_module_names}\n"
        "files = {name.partition('.')[0]: getattr(each, '__file__', None) for name, each in sys.modules.items()}\n"
        "print(sorted(name for name, file in files.items() if file and name not in known and name[0] != '_'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stdout + done.stderr


# What Python has on Linux and not on Windows is taken away before the command's first line.
WINDOWS = """
import _signal, runpy, sys
del _signal.pthread_sigmask, _signal.SIG_UNBLOCK
sys.platform, sys.argv = "win32", [sys.argv[1], "--help"]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["bench", "results", "reports", "reports.robustness", "bench.cost.trace"])
def test_windows_itself_is_refused_in_one_line_that_names_wsl(module: str) -> None:
    words = [sys.executable, "-c", WINDOWS, module]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    said = "error: Windows itself is not supported; run this in WSL (Windows Subsystem for Linux)\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


HOLD = ["env", "--block-signal=INT"]
# Seconds, at least: to start Python and to print a command's help.
HELP_TAKES = 0.04


def _heeded() -> None:
    """A shell has what it runs in the background ignore Ctrl-C, these tests too, and then it would be lost."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


HOLDS = subprocess.run([*HOLD, "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not HOLDS, reason="this `env` cannot block a signal")
@pytest.mark.parametrize("module", ["bench", "results", "reports", "reports.robustness", "bench.cost.trace"])
def test_ctrl_c_at_any_moment_of_the_start_is_no_traceback_where_make_has_it_wait(module: str) -> None:
    for wait in (0.0, 0.01, 0.02, 0.03, 0.05, 0.08):
        words = [*HOLD, sys.executable, "-m", module, "--help"]
        with subprocess.Popen(
            words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=_heeded
        ) as process:
            time.sleep(wait)
            if process.poll() is not None:  # a fast machine has shown the help by now
                assert wait >= HELP_TAKES
                continue
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert said in ("", "error: interrupted\n")
        assert process.returncode in (-signal.SIGINT, 130), "it was not lost"


def test_every_command_of_make_that_lets_it_wait_takes_it_up_again() -> None:
    """Else Ctrl-C would never reach it."""
    modules = set(re.findall(r"\$\(OURS\) -m ([\w.]+)", (ROOT / "Makefile").read_text()))
    assert {"bench", "results", "reports"} < modules
    for module in modules:
        path = ROOT / module.replace(".", "/")
        text = (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        before = text[: text.index("    first.begin()\n")]
        assert [line for line in before.splitlines() if "import" in line] == ["    from bench import first"]
