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


class ReadOf(TypedDict):
    """What else a trial depends on.

    Attributes:
        search: Digest of the search that the learning rate is from.
        own_reads: Digest of the files and variables that a user's own block reads.
    """

    search: str
    own_reads: str


class Named(TypedDict):
    """Which record a row is of.

    Attributes:
        comparable: Whether it may be compared with the others of its study.
        digest: Digest of the trial, which `run --only` takes.
        path: File of the record.
    """

    comparable: bool
    digest: str
    path: str


MACHINE = {**_kinds(Place), **_kinds(ReadOf), **_kinds(Kernels), **_kinds(Sizes)}
RESULT = _kinds(Result, "micro_batch")
_ENDED = _kinds(rows.Ended)
_NAMED = _kinds(Named)
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


class InDoubt(TypedDict):
    """What `disturbed` says in words.

    Attributes:
        times_disturbed: Whether the times are in doubt.
        memory_disturbed: Whether the memory is in doubt.
    """

    times_disturbed: bool
    memory_disturbed: bool


class Reading(TypedDict):
    """What was measured inside a net, one number a row.

    Attributes:
        probe: What measured it.
        quantity: What of it this is.
        name: Name of the block, layer or whatever else it is of.
        index: Number of the block, layer or whatever else it is of; -1 for a scalar.
        epoch: Epoch that it was measured after.
        value: The number.
    """

    probe: str
    quantity: str
    name: str
    index: int
    epoch: float
    value: float


MEASURED = {**_kinds(Counted), **_kinds(Ceilings), "cpu_share": "float64"}
COST = {**KEYS, **MACHINE, **_ENDED, **_kinds(InDoubt), **_kinds(rows.Priced), **MEASURED, **_NAMED}

OPERATORS = {**_SHORT_KEYS, **_kinds(Operator), **_NAMED}

PROBES = {**_SHORT_KEYS, **_kinds(Reading), "index": "int64", **_NAMED}


class Cell(TypedDict):
    """A setting over its seeds; see `Frames.cells` in results/tables.py.

    Attributes:
        n: Seeds.
        n_ok: Seeds that ended well.
        n_diverged: Seeds that diverged.
        n_failed: Seeds that did not end well, diverged ones among them.
        steps: Steps of the longest of its trainings.
        convergence: Whether its nets had converged.
    """

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
