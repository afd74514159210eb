"""What a command does before it imports anything that a file of the user's may stand in for, and before it takes long.

Only modules are imported here that Python has loaded by itself, or that are built into it: no file can hide these.
"""

import _imp
import _signal  # type: ignore[import-not-found]  # known to typeshed as `signal` only
import os
import sys

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOMS = ("models", "bench", "results", "reports")


def begin() -> None:
    """Until `serve` there is nothing to tidy up, so Ctrl-C ends the process without a traceback; then `refuse`.

    Before this line Python itself answers, unless whoever started it had the signal wait, as the Makefile does.
    """
    refuse_windows()
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGINT})
    refuse()


def refuse_windows() -> None:
    """Ends the process, with one line, on Windows itself: signals, locks and workers are those of POSIX."""
    if sys.platform == "win32":
        print("error: Windows itself is not supported; run this in WSL (Windows Subsystem for Linux)", file=sys.stderr)
        raise SystemExit(2)


def refuse() -> None:
    """Ends the process, with one line, where a file hides a module that is imported here."""
    if line := hidden(sys.path):
        print(f"error: {line}; give it another name, or run this in another folder", file=sys.stderr)
        raise SystemExit(2)


def hidden(path: list[str]) -> str:
    """Which file of the working folder or the checkout Python would import instead of what is meant, in words.

    Args:
        path: Where Python looks, in this order: `sys.path`.

    Returns:
        The first such file and the module; empty where there is none.
    """
    path = list(dict.fromkeys(map(os.path.abspath, path)))
    own = os.path.dirname(os.__file__)
    mine = path[: path.index(own)] if own in path else []
    for i, place in enumerate(mine):
        # Folders of PYTHONPATH are named by somebody who means them to be looked into first.
        if place not in (os.path.abspath(""), PROJECT) or not os.path.isdir(place):
            continue
        for entry in sorted(os.listdir(place)):
            module = entry.partition(".")[0]
            file = _file(place, module)
            if not file or os.path.basename(file) != entry != os.path.basename(os.path.dirname(file)):
                continue
            if module in ROOMS and place != PROJECT and PROJECT in path[i + 1 :]:
                return f"{file} hides the suite's own {module!r}"
            elif module in sys.stdlib_module_names and not _within(module):
                return f"{file} hides Python's own module {module!r}"
            elif any(_file(later, module) for later in path[i + 1 :]) and module in _packages():
                return f"{file} hides the package {module!r}"
    return ""


def _file(place: str, module: str) -> str:
    """Where a folder has this module; empty where it has none."""
    names = [os.path.join(module, "__init__.py"), *(module + end for end in (*_imp.extension_suffixes(), ".py"))]
    return next((file for name in names if os.path.isfile(file := os.path.join(place, name))), "")


def _within(module: str) -> bool:
    """Whether it is a part of Python itself, which looks into no folder for it."""
    return module in sys.builtin_module_names or _imp.is_frozen(module)


def _packages() -> set[str]:
    """The top-level modules of what pyproject.toml asks for, and of what that asks for, as far as it is installed.

    Asked only where there is doubt, since it takes a while: nobody else's packages are a reason to refuse.
    """
    import re
    import tomllib
    from importlib import metadata

    try:
        with open(os.path.join(PROJECT, "pyproject.toml"), "rb") as file:
            project = tomllib.load(file)["project"]
        waiting = [*project["dependencies"]]
        for extra in project["optional-dependencies"].values():
            waiting += extra
    except OSError:
        waiting = ["depth-ablation"]
    seen: set[str] = set()
    found: set[str] = set()
    while waiting:
        name = re.split(r"[^\w.-]", waiting.pop(), maxsplit=1)[0].lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            one = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found |= {each.parts[0].partition(".")[0] for each in one.files or () if each.suffix in (".py", ".so")}
        waiting += one.requires or []
    return found
