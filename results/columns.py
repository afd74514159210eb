"""The columns of every table, and their types: the one place that lists them. Reads nothing, computes nothing.

A column is always there, with the same type, however few records there are.
"""

import dataclasses
from typing import TypedDict, get_type_hints

from bench.plan.trial import Trial, affecting
from bench.store.parts import Ceilings, Counted, Epoch, Kernels, Operator, Place, Result, Sizes
from results import rows
from results.convergence import Ending
from results.search import Searched


def _kinds(form: type, *but: str) -> dict[str, str]:
    """A column for each key. Numbers that a record may lack are float64 with NaN, counts too: one kind, always."""
    kinds = {str: "str", bool: "bool"}
    return {name: kinds.get(kind, "float64") for name, kind in get_type_hints(form).items() if name not in but}


ARCHITECTURE = _kinds(rows.Drawn)

# What a trial was asked to do, seed apart: two trials are replicates when all of these agree.
_ASKED: dict[str, str] = {
    "study": "str",
    "architecture": "str",
    **ARCHITECTURE,
    **{
        f.name: {int: "int64", float: "float64", bool: "bool", str: "str", tuple: "str"}[
            int if f.name == "depth" else type(f.default)
        ]
        for f in dataclasses.fields(Trial)
        if f.name not in ("study", "architecture", *affecting("repeat"))
    },
}
SETTING = tuple(_ASKED)

# Costs of one architecture are compared over depth when these agree; the learning rate and the like do not change them.
COST_SETTING = tuple(name for name in affecting("cost") if name != "architecture")

MACHINE = {**_kinds(Place), "search": "str", "own_reads": "str", **_kinds(Kernels), **_kinds(Sizes)}
RESULT = _kinds(Result, "micro_batch")
_ENDED = _kinds(rows.Ended)
_NAMED = {"comparable": "bool", "digest": "str", "path": "str"}
KEYS = {**_ASKED, "seed": "int64"}

ENDING = {f.name: "float64" for f in dataclasses.fields(Ending)}
TRIALS = {**KEYS, **MACHINE, **_ENDED, **RESULT, **ENDING, **_kinds(Searched), **_NAMED}

_SHORT_KEYS = {
    name: KEYS[name]
    for name in (
        *("study", "architecture", "label", "residual", "layout", "depth", "width", "dataset", "seed"),
        *("lr", "lr_from", "clip_norm", "batch_size", "precision"),
    )
}
EPOCH = _kinds(Epoch, "epoch")
EPOCHS = {**_SHORT_KEYS, "epoch": "int64", **EPOCH, "status": "str", **_NAMED}

MEASURED = {**_kinds(Counted), **_kinds(Ceilings), "cpu_share": "float64"}
# What `disturbed` says in words: whether it is the times that are in doubt, the memory, or both.
_IN_DOUBT = {"times_disturbed": "bool", "memory_disturbed": "bool"}
COST = {**KEYS, **MACHINE, **_ENDED, **_IN_DOUBT, **_kinds(rows.Priced), **MEASURED, **_NAMED}

OPERATORS = {**_SHORT_KEYS, **_kinds(Operator), **_NAMED}

# Long form: one number a row. `index` counts blocks, layers or whatever the quantity runs over; -1 for a scalar.
PROBES = {
    **_SHORT_KEYS,
    **{"probe": "str", "quantity": "str", "name": "str", "index": "int64", "epoch": "float64", "value": "float64"},
    **_NAMED,
}


class Cell(TypedDict):
    """A setting over its seeds; see `Frames.cells` in results/tables.py."""

    n: int
    n_ok: int
    n_diverged: int
    n_failed: int
    steps: float
    convergence: str
    train_error_mean: float
    train_error_low: float
    train_error_high: float
    test_error_mean: float
    test_error_low: float
    test_error_high: float
    train_loss_mean: float
    train_loss_low: float
    train_loss_high: float
    train_seconds_mean: float


# Counts of seeds are never missing.
CELL = {**_kinds(Cell), **dict.fromkeys(("n", "n_ok", "n_diverged", "n_failed"), "int64")}
CELLS = {**_ASKED, **CELL}
