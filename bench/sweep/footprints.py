"""What code leaves behind in its process, beyond torch's settings: replaced functions, hooks, environment. No torch.

A user's own block may patch a function of torch's, register a hook for every module, or move to another core; the next
trial of a warm worker would then be another one. Who finds footprints has the worker replaced.
"""

import gc
import os
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from bench.plan.errors import OWN
from bench.plan.machine import KINDS

# Packages whose modules a trial runs through; and of which of them the classes are looked at, too.
_WATCHED = frozenset({"builtins", "json", "torch", "torchvision", "numpy", "random", "math", "time", "models", "bench"})
_CLASSES = ("torch.nn.", "models.", "bench.")
# Variables that scikit-learn sets as it is imported, which the first trial on digits does.
_OF_SKLEARN = ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK")
# Libraries of operators that torch.compile makes as it is first used. A user's own cannot be made twice in a process,
# as it would be where the module that makes it is imported again; but for `custom_op`, which replaces its own.
_OF_COMPILE = ("inductor", "quantized_decomposed")
# Of which the tables at the top of a module are looked at, too.
_TABLES = ("models.", "bench.")


@dataclass(frozen=True)
class Footprints:
    """A process at a moment.

    Attributes:
        modules: By name their attributes, of which each must stay the object that it is; new ones are no harm. A
            function stands there as `_kept` has it.
        classes: Likewise; a new one may stand before what is inherited.
        tables: By name the rows of each table in the suite's modules: these must stay, and none come.
        facts: What must stay equal.
    """

    modules: dict[str, dict[str, object]]
    classes: dict[str, dict[str, object]]
    tables: dict[str, dict[str, object]]
    facts: dict[str, object]


def read() -> Footprints:
    """What the modules and classes hold that are loaded by now, and what the process has of the system."""
    modules = {
        name: {key: value for key, value in vars(module).items() if not _private(value)}
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in _WATCHED and module is not None and not _private(module)
    }
    classes = {
        f"{name}.{attribute}": dict(vars(value))
        for name, attributes in modules.items()
        if name.startswith(_CLASSES)
        for attribute, value in attributes.items()
        if isinstance(value, type) and value.__module__ == name
    }
    if "torch" in modules:
        classes["torch.Tensor"] = dict(vars(modules["torch"]["Tensor"]))
    tables = {
        f"{name}.{attribute}": {str(key): row for key, row in value.items()}
        for name, attributes in modules.items()
        if name.startswith(_TABLES)
        for attribute, value in attributes.items()
        if attribute.isupper() and isinstance(value, dict)
    }
    return Footprints(_kept(modules), _kept(classes), tables, _facts())


def _kept(found: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """Each function with its code and defaults, which can be replaced while it stays the object that it is."""
    return {
        name: {
            attribute: (value, value.__code__, value.__defaults__, dict(value.__kwdefaults__ or {}))
            if type(value) is FunctionType else value
            for attribute, value in attributes.items()
        }
        for name, attributes in found.items()
    }  # fmt: skip


def _private(module: Any) -> bool:
    """Whether it is a user's own, of a name that begins as the suite's: what it keeps for itself is no harm."""
    return issubclass(type(module), ModuleType) and str(module.__name__).startswith(OWN)


def left(before: Footprints) -> str:
    """The first name under which something else stands now than `read` found, and how many more; empty where none."""
    now = read()
    changed = [name for name in before.facts if now.facts[name] != before.facts[name]]
    for name, old in before.modules.items():
        changed += [f"{name}.{each}" for each in _differ(old, now.modules.get(name, {}), old)]
    for name, old in before.classes.items():
        new = now.classes.get(name, {})
        changed += [f"{name}.{each}" for each in _differ(old, new, {**old, **new})]
    for name, old in before.tables.items():
        new = now.tables.get(name, {})
        changed += [f"{name}[{each!r}]" for each in _differ(old, new, {**old, **new})]
    more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"{changed[0]}{more}" if changed else ""


def _differ(old: Mapping[str, object], new: Mapping[str, object], names: Iterable[str]) -> list[str]:
    return [name for name in names if not _same(old.get(name, _differ), new.get(name, _differ))]


def _same(old: object, new: object) -> bool:
    """Whether it is the same object; a plain value may have been made anew, as `time.tzname` is."""
    return old is new or (type(old) is type(new) and isinstance(old, str | int | float | tuple) and old == new)


def _facts() -> dict[str, object]:
    numpy, hooked = sys.modules.get("numpy"), sys.modules.get("torch.nn.modules.module")
    return {
        "hooks of every module": {
            name: list(hooks)
            for name, hooks in vars(hooked).items()
            if name.startswith("_global_") and isinstance(hooks, dict)
        } if hooked else {},
        "numpy's answer to errors": numpy.geterr() if numpy else {},
        "the environment": {name: text for name, text in os.environ.items() if name not in _OF_SKLEARN},
        "sys.path": list(sys.path),
        "the working folder": os.path.realpath("/proc/self/cwd"),  # os.getcwd refuses a folder that is gone
        "the cores": os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(),
        "the collection of garbage": (gc.isenabled(), gc.get_threshold()),
        "the limit of recursion": sys.getrecursionlimit(),
        "the mask of new files": _mask(),
        "handlers of signals": {each: signal.getsignal(each) for each in signal.valid_signals()},
        "limits of resources": _limits(),
        "threads that go on": sorted(thread.name for thread in threading.enumerate()),
        "the priority": os.getpriority(os.PRIO_PROCESS, 0),
        "warnings that are errors": [each for each in warnings.filters if each[0] == "error"],
        "torch's libraries of operators": _libraries(sys.modules["torch"]) if "torch" in sys.modules else [],
        "torch's modes": _modes(sys.modules["torch"]) if "torch" in sys.modules else {},
    }  # fmt: skip


def _mask() -> int:
    """It can only be read by being set."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _limits() -> dict[str, tuple[int, int]]:
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {name: resource.getrlimit(getattr(resource, name)) for name in names}


def _libraries(torch: Any) -> list[str]:
    replaced = set(torch._library.custom_ops.OPDEFS)
    spaces = {name.partition("::")[0] for name in torch.library._defs if name.partition(".")[0] not in replaced}
    return sorted(spaces.difference(_OF_COMPILE))


def _modes(torch: Any) -> dict[str, object]:
    """What torch does otherwise in this thread, of that which nothing puts back before a trial."""
    tiny = torch.tensor(1e-310, dtype=torch.float64)
    return {
        "autocast": [(kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in KINDS],
        "autocast's cache": torch.is_autocast_cache_enabled(),
        "numbers near zero": bool(tiny * 1 == 0),
        "functions seen by a mode": torch._C._len_torch_function_stack(),
        "operators seen by a mode": torch._C._len_torch_dispatch_stack(),
        "hooks of saved tensors": torch._C._autograd._top_saved_tensors_default_hooks(True) is not None,
    }
