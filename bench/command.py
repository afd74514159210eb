"""How every command of the suite is served: what cannot be served is one line on stderr and an exit code. No torch."""

import importlib.metadata
import os
import shutil
import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from bench import first
from bench.plan.checkout import ROOT
from bench.plan.errors import one_line

MISSING = f"packages of requirements.lock are missing in {sys.executable}; run `make setup`"


def environment(project: Path, here: str) -> str:
    """The Python of the project's own environment, where that is set up and is not this one; else empty."""
    python = project / ".venv" / "bin" / "python"
    return str(python) if (project / ".venv" / ".ready").is_file() and python != Path(here) else ""


def interpreter() -> str:
    """This Python as one would type it here: another may lack the packages."""
    if shutil.which("python") == sys.executable:
        return "python"
    path = Path(sys.executable)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else sys.executable


def patience(words: str) -> None:
    """Says what takes a while, to somebody who sits before a terminal: a log's errors stay alone."""
    if sys.stderr.isatty():
        print(words, file=sys.stderr, flush=True)


def version() -> str:
    """The suite's version: of a checkout, what pyproject.toml says."""
    import tomllib

    try:
        return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    except OSError:
        return importlib.metadata.version("depth-ablation")


first.refuse_windows()

try:
    import typer as typer
except ModuleNotFoundError as absent:
    # `python -m bench list` right after `make ablation` is asked of the Python that `make` has set up.
    if own := environment(ROOT, sys.executable):
        os.execv(own, [own, *sys.orig_argv[1:]])
    print(f"error: {MISSING} ({absent.name})", file=sys.stderr)
    raise SystemExit(2) from None


def serve(app: Callable[..., object]) -> NoReturn:
    """Runs a command to its exit code: 2 for a request that cannot be served, 130 interrupted."""
    first.refuse()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller: `... >&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (as long as the process)
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # no name or message is too odd to print
    line, code = "", 0
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # set while modules were loaded
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = int(app(standalone_mode=False) or 0)  # type: ignore[call-overload]
        sys.stdout.flush()
    except typer.TyperException as error:
        line, code = error.format_message(), error.exit_code
    except ValueError as error:
        line, code = str(error), 2
    except ModuleNotFoundError as error:
        line, code = f"{MISSING} ({error.name})", 2
    except KeyboardInterrupt:
        line, code = "interrupted", 130
    except BrokenPipeError:  # `... | head` read enough
        _close_output()
    except OSError as error:  # mostly a full disk below standard output
        line, code = f"{error.filename or 'cannot write the output'}: {error.strerror or error}", 2
        _close_output()
    if line:
        print(f"error: {one_line(line)}", file=sys.stderr)  # names of files and keys may hold anything
    sys.exit(code)


def _close_output() -> None:
    """What is still buffered goes nowhere: Python's own flush at exit must not fail as well."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
