"""Where `--inject` lets faults in. What they are and do is the tests' business: `tests/harness/faults.py`, by name."""

import importlib
from dataclasses import dataclass
from typing import Any

HARNESS = "tests.harness.faults"


@dataclass(frozen=True)
class Fault:
    """A fault to be rehearsed: which, in which trial (from 1, in the study's order), at which step (from 1)."""

    name: str
    trial: int
    step: int


def harness() -> Any:
    """The module of faults: `parse`, the table `FAULTS`, and `Rehearsal`, which lets them happen.

    Raises:
        ValueError: One line: it is not there, as in an installed suite.
    """
    try:
        return importlib.import_module(HARNESS)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{HARNESS}.".startswith(f"{error.name}."):
            raise
        raise ValueError("--inject needs tests/harness of the checkout: run it in the checkout's folder") from None
