"""From one record to the rows of each table: plain dicts and lists, no pandas.

Kept apart from `tables.py` so that what a column means can be read in one place. Works on one record at a
time; what records mean side by side (comparable, duplicate, cells) is not known here.
"""

import dataclasses
import hashlib
import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypedDict

from bench.plan.machine import KINDS
from bench.store.agree import reads_digest
from bench.store.parts import Ceilings, Cost, Operator
from bench.store.record import Record
from models.spec import ARCHITECTURES, Architecture
from results import convergence
from results.convergence import Ending

# One training step is a forward pass and a backward pass of twice its FLOPs (Kaplan et al. 2020, section 2.1).
STEP_OVER_FORWARD = 3

# What SGD moves a step in parameters' sizes: weights read forward and backward, gradients written and read, weights
# read and written; momentum, where there is some, read and written.
PARAMETER_PASSES, MOMENTUM_PASSES, FLOAT_BYTES = 6, 2, 4

# When a timing is not the network's alone. Each thread of a worker that nothing disturbs has all of a processor; an
# unchanged machine repeats the calibration within a few percent. Assumed; the gate of `make bench-compare` is 25 %.
LEAST_CPU_SHARE, MOST_SPEED_CHANGE, MOST_BYTES_OF_OTHERS = 0.9, 0.25, 64 * 2**20
# Floors of like processes differed by 6 MiB on the machine of the published records, and by 140 in one whose worker
# was new: so far from the others' median, what a net needs is not told apart from what the process was about to load.
MOST_FLOOR_CHANGE = 64 * 2**20
# A pause: so many seconds, and so many times what is usual.
STALL_S, STALL_TIMES = 2.0, 5.0


class Drawn(TypedDict):
    """Of the architecture, as far as a table needs it to tell rows apart.

    Attributes:
        label: How figures and pages call the network.
        residual: Whether blocks have a shortcut.
        shortcut: Kind of shortcut; "none" in a plain net.
        placement: Where normalisation and activation stand relative to the addition.
        init: How initial weights are drawn.
    """

    label: str
    residual: bool
    shortcut: str
    placement: str
    init: str


class Ended(TypedDict):
    """How a trial ended.

    Attributes:
        status: "ok", or how it ended else: "diverged", an error, a timeout.
        message: Why it did not end well.
        seconds: Time of the whole trial, start and evaluation included.
        started: When it began.
        disturbed: Why its times are not its network's alone.
    """

    status: str
    message: str
    seconds: float
    started: str
    disturbed: str


class Priced(TypedDict):
    """What follows from raw samples: times are medians, in seconds a batch; memory in bytes.

    Attributes:
        step_time_low_s: Lower quartile of the step times.
        step_time_high_s: Upper quartile of the step times.
        n_samples: Steps that were timed.
        arithmetic_time_s: Time of a step at the best rate of a matrix product.
        overhead_time_s: Time of a step beyond that.
        least_bytes_per_step: Bytes that a step must move at least.
        flops_per_byte: Arithmetic of a step over the bytes that it must move.
    """

    step_time_s: float
    forward_time_s: float
    backward_time_s: float
    optimizer_time_s: float
    inference_time_s: float
    step_time_low_s: float
    step_time_high_s: float
    n_samples: float
    images_per_s: float
    inference_images_per_s: float
    flops_per_s: float
    net_memory_bytes: float
    arithmetic_time_s: float
    overhead_time_s: float
    least_bytes_per_step: float
    flops_per_byte: float
    arithmetic_share: float
    bandwidth_share: float


def number(value: float | None) -> float:
    """A float, NaN where there is none. Takes no `object`, so that mypy refuses a key that no record has."""
    return any_number(value)


def numbers(part: Mapping[str, object], columns: Iterable[str]) -> dict[str, float]:
    """A part of a record by these keys."""
    return {name: any_number(part.get(name)) for name in columns}


def any_number(value: object) -> float:
    """The same of anything that a file may hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)


def keys(record: Record) -> dict[str, object]:
    """What the trial was asked to do, its architecture spread out."""
    trial = record.trial
    row: dict[str, object] = dict(vars(trial))
    row["architecture"] = trial.architecture.name
    row["grow_to"] = ", ".join(map(str, trial.grow_to))
    return row | {name: getattr(trial.architecture, name) for name in Drawn.__annotations__}


def names(architectures: Iterable[Architecture]) -> dict[Architecture, str]:
    """How tables name architectures: by their names, by more where two differ and are called the same.

    A user's own are then "module.function"; what is called the same even so (a block that was edited since, say) gets a
    digest behind. Another label or source makes no other architecture; the suite's own row keeps its name.
    """
    found = {each: each.name for each in architectures}
    for longer in (_dotted, _with_digest):
        kinds: dict[str, set[Architecture]] = {}
        for each, name in found.items():
            kinds.setdefault(name, set()).add(_bare(each))
        found = {each: name if len(kinds[name]) == 1 else longer(each, name) for each, name in found.items()}
    return found


def _dotted(architecture: Architecture, name: str) -> str:
    return architecture.factory.replace(":", ".") or name


def _with_digest(architecture: Architecture, name: str) -> str:
    bare, ours = _bare(architecture), ARCHITECTURES.get(name)
    if ours is not None and bare == _bare(ours):
        return name
    return f"{name}@{hashlib.sha256(repr(bare).encode()).hexdigest()[:6]}"


def _bare(architecture: Architecture) -> Architecture:
    return dataclasses.replace(architecture, label="", source="")


def machine(record: Record, columns: Mapping[str, str]) -> dict[str, object]:
    """Where it ran, by these columns; of the search for its rate and of what a user's own block reads, the digest."""
    told = record.environment.get("search")
    found: Mapping[str, object] = {
        **record.environment,
        "search": told.get("digest") if isinstance(told, dict) else "",
        "own_reads": reads_digest(record.environment),
    }
    return {
        name: any_number(value) if kind != "str" else value if isinstance(value, str) else ""
        for name, kind in columns.items()
        for value in [found.get(name)]
    }


def ended(record: Record) -> Ended:
    """How and where it ended."""
    return {
        "status": str(record.status),
        "message": str(record.message).encode(errors="replace").decode(),
        "seconds": number(record.seconds),
        "started": str(record.started),
        "disturbed": disturbed(record),
    }


def ending(record: Record) -> Ending:
    """How its training ended. One that reached the error it was to stop at has all that it was to learn: level."""
    steps, planned = number(record.result.get("steps")), number(record.result.get("steps_planned"))
    if record.status == "ok" and record.trial.stop_at_train_error > 0 and steps < planned:
        return Ending(0.0, 0.0, 0.0)
    epochs = [row for row in record.epochs if isinstance(row, dict)]
    errors, rates = [number(row.get("train_error")) for row in epochs], [number(row.get("lr_last")) for row in epochs]
    return convergence.ending(errors, rates, record.trial.lr)


def result(record: Record, columns: Iterable[str]) -> dict[str, float]:
    """The final scalars; the errors of a trial that did not end "ok" are NaN, whatever the file says."""
    row = numbers(record.result, columns)
    if record.status != "ok":
        row |= dict.fromkeys(("train_error", "test_error", "train_loss", "test_loss"), math.nan)
    return {**row, **vars(ending(record))}


def epochs(record: Record, columns: Collection[str]) -> list[dict[str, float]]:
    """One row an epoch."""
    return [
        {"epoch": int(epoch) if 0 < (epoch := number(row.get("epoch"))) < 2**31 else i, **numbers(row, columns)}
        for i, row in enumerate(record.epochs, start=1)
        if isinstance(row, dict)
    ]


def measured(record: Record, columns: Iterable[str]) -> dict[str, float]:
    """The numbers of a cost record as they are, its device's ceilings among them."""
    ceilings = record.cost.get("ceilings")
    return numbers({**record.cost, **(ceilings if isinstance(ceilings, dict) else {})}, columns)


def priced(record: Record) -> Priced:
    """What follows from a cost record."""
    raw, batch = record.cost, record.trial.batch_size
    steps = sorted(_samples(raw.get("step_times_s")))
    step_time, inference_time = _median(raw.get("step_times_s")), _median(raw.get("inference_times_s"))
    flops = STEP_OVER_FORWARD * batch * number(raw.get("flops_per_image"))
    ceilings = raw.get("ceilings")
    best: Ceilings = ceilings if isinstance(ceilings, dict) else {}
    # At the machine's best matrix-multiply rate; what is left of the step is memory traffic, launches, dispatch.
    arithmetic_time = _ratio(flops, number(best.get("matmul_flops_per_s")))
    # At least so much goes through memory: what backward needs is written and read once. So many bytes per second, and
    # the floating-point operations a byte, are a roofline's two axes.
    passes = PARAMETER_PASSES + (MOMENTUM_PASSES if record.trial.momentum else 0)
    parameter_bytes = passes * FLOAT_BYTES * number(raw.get("parameters"))
    least_bytes = 2 * number(raw.get("saved_activation_bytes")) + parameter_bytes
    return {
        "step_time_s": step_time,
        "forward_time_s": _median(raw.get("forward_times_s")),
        "backward_time_s": _median(raw.get("backward_times_s")),
        "optimizer_time_s": _median(raw.get("optimizer_times_s")),
        "inference_time_s": inference_time,
        # The quartiles: what a step takes on this machine, not how well its median is known.
        "step_time_low_s": steps[len(steps) // 4] if steps else math.nan,
        "step_time_high_s": steps[(3 * len(steps)) // 4] if steps else math.nan,
        "n_samples": float(len(steps)),
        "images_per_s": _ratio(batch, step_time),
        "inference_images_per_s": _ratio(batch, inference_time),
        "flops_per_s": _ratio(flops, step_time),
        "net_memory_bytes": number(raw["net_memory_bytes"]) if "net_memory_bytes" in raw else _less_a_copy(raw),
        "arithmetic_time_s": arithmetic_time,
        "overhead_time_s": step_time - arithmetic_time,
        "least_bytes_per_step": least_bytes,
        "flops_per_byte": _ratio(flops, least_bytes),
        "arithmetic_share": _ratio(arithmetic_time, step_time),
        "bandwidth_share": _ratio(_ratio(least_bytes, number(best.get("copy_bytes_per_s"))), step_time),
    }


def _less_a_copy(raw: Cost) -> float:
    """Peak memory of a net from an older record, whose measurement held a copy of the weights meanwhile."""
    copy = FLOAT_BYTES * number(raw.get("parameters"))
    return number(raw.get("peak_memory_bytes")) - number(raw.get("memory_floor_bytes")) - copy


def disturbed(record: Record) -> str:
    """Why the times of a record are not its network's alone, in words; empty where nothing speaks against them.

    What was trained is not touched by it. Records older than these facts say nothing. Whether the memory is
    its network's alone shows only beside other records: `tables.floors_apart`.
    """
    cost, found = record.cost, record.result
    measured = record.trial.purpose == "cost"
    reasons = []
    if measured:
        times = _samples(cost.get("step_times_s"))
        usual, longest = (statistics.median(times), max(times)) if times else (math.nan, math.nan)
    else:
        # The loss is looked at at each epoch's end, too.
        steps, kind = number(found.get("steps")), KINDS.get(record.device)
        looks = max(len(record.epochs), steps / kind.look_every) if kind else math.nan
        usual, longest = _ratio(number(found.get("train_seconds")), looks), number(found.get("longest_gap_s"))
    if longest > max(STALL_S + usual, STALL_TIMES * usual):
        reasons.append(f"stalled: {longest:.3g} s without a step, {usual:.3g} s are usual")
    # Recorded over all threads together, of which each should have a processor.
    known = number(record.environment.get("threads"))
    threads = known if known > 1 else 1.0
    share = number(cost.get("cpu_share") if measured else found.get("cpu_share")) / threads
    if record.device == "cpu" and share < LEAST_CPU_SHARE:
        whose = "a processor" if threads == 1 else f"each of its {threads:g} processors"
        reasons.append(f"contended: it had {share:.0%} of {whose}")
    before, after = (*_samples(cost.get("calibration_times_s")), math.nan, math.nan)[:2]
    if abs(_ratio(after, before) - 1) > MOST_SPEED_CHANGE:
        reasons.append(
            f"the machine's speed changed: a fixed piece of work took {after / before:.2f} times as long afterwards"
        )
    others = _samples(cost.get("others_memory_bytes"))
    change = max(others) - min(others) if others else 0.0
    if change > MOST_BYTES_OF_OTHERS:
        reasons.append(f"contended: another process took or gave back {change / 2**20:.0f} MiB of the GPU")
    return "; ".join(reasons)


def _samples(value: Sequence[float] | None) -> list[float]:
    values = [number(v) for v in value] if isinstance(value, list) else []
    return [v for v in values if math.isfinite(v)]


def _median(value: Sequence[float] | None) -> float:
    return statistics.median(samples) if (samples := _samples(value)) else math.nan


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else math.nan


def operators(record: Record) -> list[Operator]:
    """One row an operator kind and stage."""
    rows = record.cost.get("operators")
    return [
        {
            "kind": str(row.get("kind", "")),
            "stage": str(row.get("stage", "")),
            "self_time_s": number(row.get("self_time_s")),
            "calls": number(row.get("calls")),
        }
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict)
    ]
