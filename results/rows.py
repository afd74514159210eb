"""From one record to the rows of each table: plain dicts and lists, no pandas.

Kept apart from `tables.py` so that what a column means can be read in one place. Works on one record at a
time; what records mean side by side (comparable, duplicate, cells) is not known here.
"""

import dataclasses
import hashlib
import math
import statistics
from collections.abc import Iterable, Iterator
from typing import Any

from bench.store.record import Record
from models.spec import ARCHITECTURES, MAX_DEPTH, Architecture
from results import convergence
from results.convergence import Ending

# Medians of raw samples: cost column -> field of the record.
SAMPLED = {
    "step_time_s": "step_times_s",
    "forward_time_s": "forward_times_s",
    "backward_time_s": "backward_times_s",
    "optimizer_time_s": "optimizer_times_s",
    "inference_time_s": "inference_times_s",
}

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


def number(value: Any) -> float:
    """A float, NaN where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    return float(value)


def keys(record: Record) -> dict[str, Any]:
    """What the trial was asked to do, its architecture spread out."""
    trial = record.trial
    row = dict(vars(trial))
    row["architecture"] = trial.architecture.name
    row["grow_to"] = ", ".join(map(str, trial.grow_to))
    for name in ("label", "residual", "shortcut", "placement", "init"):
        row[name] = getattr(trial.architecture, name)
    return row


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


def misfit(row: dict[str, Any], columns: dict[str, str]) -> str:
    """Which value cannot stand in its column; empty when all can. A record may be whole and still not make sense."""
    kinds: dict[str, tuple[type, ...]] = {"str": (str,), "bool": (bool,), "int64": (int,), "float64": (float, int)}
    for name, kind in columns.items():
        value = row.get(name)
        if value is None:
            continue
        if not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind != "bool"):
            return f"{name} is {value!r:.40}"
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return f"{name} is out of range"
    depth = row.get("depth")
    if depth is not None and not 0 < depth <= MAX_DEPTH:
        return f"depth {depth} is none that a network can have"
    return ""


def ended(record: Record) -> dict[str, Any]:
    """How and where it ended."""
    return {
        **{name: str(value) for name, value in record.environment.items() if isinstance(value, str)},
        **{name: number(record.environment.get(name)) for name in ("cores", "threads", "workers")},
        "status": str(record.status),
        "message": str(record.message).encode(errors="replace").decode(),
        "seconds": number(record.seconds),
        "started": str(record.started),
    }


def ending(record: Record) -> Ending:
    """How its training ended. One that reached the error it was to stop at has all that it was to learn: level."""
    steps, planned = number(record.result.get("steps")), number(record.result.get("steps_planned"))
    if record.status == "ok" and record.trial.stop_at_train_error > 0 and steps < planned:
        return Ending(0.0, 0.0, 0.0)
    epochs = [row for row in record.epochs if isinstance(row, dict)]
    errors, rates = ([number(row.get(name)) for row in epochs] for name in ("train_error", "lr_last"))
    return convergence.ending(errors, rates, record.trial.lr)


def result(record: Record, columns: tuple[str, ...]) -> dict[str, Any]:
    """The final scalars; the errors of a trial that did not end "ok" are NaN, whatever the file says."""
    row = {name: number(record.result.get(name)) for name in columns}
    if record.status != "ok":
        for name in ("train_error", "test_error", "train_loss", "test_loss"):
            row[name] = math.nan
    return {**row, **vars(ending(record))}


def epochs(record: Record, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row an epoch."""
    return [
        {"epoch": int(epoch) if 0 < (epoch := number(row.get("epoch"))) < 2**31 else i, **_numbers(row, columns)}
        for i, row in enumerate(record.epochs, start=1)
        if isinstance(row, dict)
    ]


def _numbers(row: dict[str, Any], columns: tuple[str, ...]) -> dict[str, float]:
    return {name: number(row.get(name)) for name in columns}


def cost(record: Record) -> dict[str, Any]:
    """Medians of the raw samples and what follows from them. Times in seconds per batch, memory in bytes."""
    raw, batch = record.cost, record.trial.batch_size
    row: dict[str, Any] = {name: number(value) for name, value in raw.items() if not isinstance(value, list | dict)}
    for column, field in SAMPLED.items():
        row[column] = statistics.median(samples) if (samples := _samples(raw.get(field))) else math.nan
    steps = sorted(_samples(raw.get("step_times_s")))
    row["n_samples"] = float(len(steps))
    if steps:
        # The quartiles: what a step takes on this machine, not how well its median is known.
        row["step_time_low_s"], row["step_time_high_s"] = steps[len(steps) // 4], steps[(3 * len(steps)) // 4]
    row["images_per_s"] = _ratio(batch, row["step_time_s"])
    row["inference_images_per_s"] = _ratio(batch, row["inference_time_s"])
    flops = STEP_OVER_FORWARD * batch * number(raw.get("flops_per_image"))
    row["flops_per_s"] = _ratio(flops, row["step_time_s"])
    row["net_memory_bytes"] = number(raw.get("peak_memory_bytes")) - number(raw.get("memory_floor_bytes"))
    ceilings = raw.get("ceilings")
    ceilings = ceilings if isinstance(ceilings, dict) else {}
    row["copy_bytes_per_s"] = number(ceilings.get("copy_bytes_per_s"))
    row["matmul_flops_per_s"] = number(ceilings.get("matmul_flops_per_s"))
    # At the machine's best matrix-multiply rate; what is left of the step is memory traffic, launches, dispatch.
    row["arithmetic_time_s"] = _ratio(flops, row["matmul_flops_per_s"])
    row["overhead_time_s"] = row["step_time_s"] - row["arithmetic_time_s"]
    # At least so much goes through memory: what backward needs is written and read once. So many bytes per second, and
    # the floating-point operations a byte, are a roofline's two axes.
    passes = PARAMETER_PASSES + (MOMENTUM_PASSES if record.trial.momentum else 0)
    row["least_bytes_per_step"] = 2 * number(raw.get("saved_activation_bytes")) + (
        passes * FLOAT_BYTES * number(raw.get("parameters"))
    )
    row["flops_per_byte"] = _ratio(flops, row["least_bytes_per_step"])
    row["arithmetic_share"] = _ratio(row["arithmetic_time_s"], row["step_time_s"])
    row["bandwidth_share"] = _ratio(_ratio(row["least_bytes_per_step"], row["copy_bytes_per_s"]), row["step_time_s"])
    return row


def disturbed(record: Record) -> str:
    """Why the times of a record are not its network's alone, in words; empty where nothing speaks against them.

    What was trained is not touched by it. Records of before these facts were kept say nothing. Whether the memory is
    its network's alone shows only beside other records: `tables.floors_apart`.
    """
    cost, found = record.trial.purpose == "cost", record.result
    source = record.cost if cost else found
    reasons = []
    if cost:
        times = _samples(source.get("step_times_s"))
        usual, longest = (statistics.median(times), max(times)) if times else (math.nan, math.nan)
    else:
        # Looks at the loss: each step on a CPU, else every 50 and at an epoch's end (`CHECK_EVERY` in
        # bench/train/loop.py).
        steps = number(found.get("steps"))
        looks = steps if record.environment.get("device") == "cpu" else max(len(record.epochs), steps / 50)
        usual, longest = _ratio(number(found.get("train_seconds")), looks), number(found.get("longest_gap_s"))
    if longest > max(STALL_S + usual, STALL_TIMES * usual):
        reasons.append(f"stalled: {longest:.3g} s without a step, {usual:.3g} s are usual")
    # Recorded over all threads together, of which each should have a processor.
    known = number(record.environment.get("threads"))
    threads = known if known > 1 else 1.0
    share = number(source.get("cpu_share")) / threads
    if record.environment.get("device") == "cpu" and share < LEAST_CPU_SHARE:
        whose = "a processor" if threads == 1 else f"each of its {threads:g} processors"
        reasons.append(f"contended: it had {share:.0%} of {whose}")
    before, after = (*_samples(source.get("calibration_times_s")), math.nan, math.nan)[:2]
    if abs(_ratio(after, before) - 1) > MOST_SPEED_CHANGE:
        reasons.append(
            f"the machine's speed changed: a fixed piece of work took {after / before:.2f} times as long afterwards"
        )
    others = _samples(source.get("others_memory_bytes"))
    change = max(others) - min(others) if others else 0.0
    if change > MOST_BYTES_OF_OTHERS:
        reasons.append(f"contended: another process took or gave back {change / 2**20:.0f} MiB of the GPU")
    return "; ".join(reasons)


def _samples(value: Any) -> list[float]:
    values = [number(v) for v in value] if isinstance(value, list) else []
    return [v for v in values if math.isfinite(v)]


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom > 0 else math.nan


def operators(record: Record) -> list[dict[str, Any]]:
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


# One number of a probe: quantity, name, index, epoch, value.
Reading = tuple[str, str, int, float, float]


def probes(record: Record) -> Iterator[tuple[str, Reading]]:
    """Every number that the probes left, with the probe's key.

    `gradient_norms`: "norm" by layer. `branch_ratio`: "ratio" and "response_std_by_block" by block and epoch (name: the
    block; index: its place among those that were measured). `lesions`: "errors" and "errors_reestimated" by place in
    "blocks", "random.errors" by the number of deleted blocks. Any other probe: its scalars, its lists by position,
    lists of dicts by position with the dict's keys as quantities.
    """
    for probe, content in record.probes.items():
        if not isinstance(content, dict):
            continue
        if probe == "gradient_norms" and isinstance(content.get("layers"), list):
            names = content["layers"]
            for i, value in enumerate(content.get("norms", [])):
                yield probe, ("norm", str(names[i]) if i < len(names) else "", i, math.nan, number(value))
            content = {k: v for k, v in content.items() if k not in ("layers", "norms")}
        elif probe == "branch_ratio":
            yield from ((probe, reading) for reading in _by_block_and_epoch(content))
            content = {k: v for k, v in content.items() if k not in _BY_BLOCK_AND_EPOCH}
        yield from ((probe, reading) for reading in _flat("", content))


_BY_BLOCK_AND_EPOCH = ("block", "epoch", "ratio", "response_std_by_block", "response_std")


def _by_block_and_epoch(content: dict[str, Any]) -> Iterator[Reading]:
    """A table is a list an epoch, or a list a block: whichever has as many entries as there are epochs.

    Older records have the responses as "response_std", in the same form.
    """
    blocks, epochs = (v if isinstance(v := content.get(name), list) else [] for name in ("block", "epoch"))
    responses = content.get("response_std_by_block", content.get("response_std"))
    for quantity, table in (("ratio", content.get("ratio")), ("response_std_by_block", responses)):
        if not isinstance(table, list):
            continue
        by_epoch = len(table) == len(epochs) and all(isinstance(r, list) and len(r) == len(blocks) for r in table)
        for i, row in enumerate(table):
            for j, value in enumerate(row if isinstance(row, list) else []):
                e, b = (i, j) if by_epoch else (j, i)
                if e < len(epochs) and b < len(blocks):
                    yield (quantity, str(blocks[b]), b, number(epochs[e]), number(value))


def _flat(quantity: str, value: Any, index: int = -1, epoch: float = math.nan) -> Iterator[Reading]:
    if isinstance(value, dict):
        epoch = number(value["epoch"]) if "epoch" in value and not isinstance(value["epoch"], list) else epoch
        # Random lesions come as {"k": 4, "errors": [...]}: k is what they are plotted against.
        at = value["k"] if isinstance(value.get("k"), int) and abs(value["k"]) < 2**31 else index
        for key, inner in value.items():
            if key not in ("k", "epoch") or isinstance(inner, list):
                yield from _flat(f"{quantity}.{key}" if quantity else key, inner, at, epoch)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            # Inside an indexed entry the index is kept: many errors at one k are one row each.
            yield from _flat(quantity, inner, i if index < 0 or isinstance(inner, dict) else index, epoch)
    elif isinstance(value, bool | int | float):
        yield (quantity, "", index, epoch, float(value))
    elif isinstance(value, str):
        yield (quantity, value, index, epoch, math.nan)
