"""The columns of every table, and their types: the one place that lists them. Reads nothing, computes nothing.

A column is always there, with the same type, however few records there are.
"""

import dataclasses

from bench.plan.trial import Trial, affecting
from results import rows
from results.convergence import Ending
from results.search import SEARCHED

# Of the architecture, as far as a table needs it to tell rows apart.
ARCHITECTURE = {"label": "str", "residual": "bool", "shortcut": "str", "placement": "str", "init": "str"}

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

_MACHINE = {
    **dict.fromkeys(("device", "device_name", "host", "os", "python", "torch", "suite"), "str"),
    **dict.fromkeys(("code", "data", "execution", "search", "cpu_capability", "onednn_max_cpu_isa"), "str"),
    **dict.fromkeys(("cores", "threads", "workers"), "float64"),
}

# Numbers that a record may lack are float64 with NaN, counts too: one dtype, whatever is missing.
RESULT = dict.fromkeys(
    (
        *("train_error", "test_error", "train_loss", "test_loss", "train_error_running", "train_loss_running"),
        *("n_train", "n_test", "classes", "parameters", "steps", "steps_planned", "diverged_step", "train_seconds"),
        *("longest_gap_s", "cpu_share"),
    ),
    "float64",
)

_ENDED = {"status": "str", "message": "str", "seconds": "float64", "started": "str", "disturbed": "str"}
_NAMED = {"comparable": "bool", "digest": "str", "path": "str"}
KEYS = {**_ASKED, "seed": "int64"}

ENDING = {f.name: "float64" for f in dataclasses.fields(Ending)}
TRIALS = {**KEYS, **_MACHINE, **_ENDED, **RESULT, **ENDING, **SEARCHED, **_NAMED}

_SHORT_KEYS = {
    name: KEYS[name]
    for name in (
        *("study", "architecture", "label", "residual", "layout", "depth", "width", "dataset", "seed"),
        *("lr", "lr_from", "clip_norm", "batch_size", "precision"),
    )
}
EPOCH = dict.fromkeys(("steps", "train_loss", "train_error", "test_error", "lr_first", "lr_last", "seconds"), "float64")
EPOCHS = {**_SHORT_KEYS, "epoch": "int64", **EPOCH, "status": "str", **_NAMED}

_MEASURED = dict.fromkeys(
    (
        *("parameters", "flops_per_image", "macs_per_image", "peak_memory_bytes", "memory_floor_bytes"),
        *("saved_activation_bytes", "first_step_s", "energy_j_per_step", "kernels_per_step"),
        *("copy_bytes_per_s", "matmul_flops_per_s", "cpu_share"),
    ),
    "float64",
)
_DERIVED = dict.fromkeys(
    (
        *rows.SAMPLED,
        *("step_time_low_s", "step_time_high_s", "n_samples", "images_per_s", "inference_images_per_s"),
        *("flops_per_s", "net_memory_bytes", "arithmetic_time_s", "overhead_time_s"),
        *("least_bytes_per_step", "flops_per_byte", "arithmetic_share", "bandwidth_share"),
    ),
    "float64",
)
# What `disturbed` says in words: whether it is the times that are in doubt, the memory, or both.
_IN_DOUBT = {"times_disturbed": "bool", "memory_disturbed": "bool"}
COST = {**KEYS, **_MACHINE, **_ENDED, **_IN_DOUBT, **_DERIVED, **_MEASURED, **_NAMED}

OPERATORS = {**_SHORT_KEYS, "kind": "str", "stage": "str", "self_time_s": "float64", "calls": "float64", **_NAMED}

# Long form: one number a row. `index` counts blocks, layers or whatever the quantity runs over; -1 for a scalar.
PROBES = {
    **_SHORT_KEYS,
    **{"probe": "str", "quantity": "str", "name": "str", "index": "int64", "epoch": "float64", "value": "float64"},
    **_NAMED,
}

CELL = {
    **dict.fromkeys(("n", "n_ok", "n_diverged", "n_failed"), "int64"),
    "steps": "float64",
    "convergence": "str",
    **{
        f"{measure}_{part}": "float64"
        for measure in ("train_error", "test_error", "train_loss")
        for part in ("mean", "low", "high")
    },
    "train_seconds_mean": "float64",
}
CELLS = {**_ASKED, **CELL}
