"""Made-up records for tests: what a study could have left, without training anything. No torch.

Numbers follow simple formulas of architecture, depth and seed, so that the same call gives the same bytes:
plain nets worsen from 34 layers up and diverge from 258 on, post-activation ones worsen slowly, pre-activation ones
stay flat. A test that needs other numbers says so (`error=...`).
"""

import dataclasses
import math
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.plan.trial import Trial
from bench.store import parts, record
from bench.store.record import Record, Status
from models.spec import ARCHITECTURES
from results import tables
from results.tables import Frames

DEPTHS = (18, 34, 66, 130, 258, 514, 1002)
ARMS = ("plain", "resnet", "preact")
STEPS_AN_EPOCH = 11
ENVIRONMENT: parts.Environment = {
    "device": "cpu",
    "device_name": "made-up processor",
    "host": "nowhere",
    "os": "Linux",
    "cores": 2,
    "threads": 1,
    "workers": 2,
    "python": "3.11.7",
    "torch": "2.15.0",
    "suite": "0.1.0",
    "code": "c0de",
    "data": "da7a",
    "execution": "eager",
    "execution_note": "",
}

# (architecture, depth, seed) -> training error in 0..1; None diverges.
Error = Callable[[str, int, int], float | None]


def usual(architecture: str, depth: int, seed: int) -> float | None:
    """About what short runs on digits showed (docs/performance.md, 3c)."""
    noise = random.Random(f"{architecture} {depth} {seed}").uniform(0.9, 1.1)
    if architecture.startswith("plain"):
        return None if depth >= 258 else min(0.9, 0.06 * noise * (depth / 18) ** 1.5)
    if architecture == "preact":
        return 0.015 * noise
    return min(0.88, 0.012 * noise * (depth / 18) ** 0.9)


def trial(architecture: str = "resnet", depth: int = 18, seed: int = 0, study: str = "made-up", **fields: Any) -> Trial:
    """A trial of the default recipe; any other field by name."""
    fields = {"epochs": 5, "lr": 0.05, "warmup_epochs": 1.0, **fields}
    return Trial(study=study, architecture=ARCHITECTURES[architecture], depth=depth, seed=seed, **fields)


def train_record(
    asked: Trial,
    train_error: float | None = 0.02,
    test_error: float | None = None,
    *,
    unconverged: bool = False,
    status: Status | None = None,
    message: str = "",
    started: str = "2026-11-23T00:00:00Z",
    environment: parts.Environment | None = None,
    **result: Any,
) -> Record:
    """A training record that ended with these errors; `train_error=None` diverged at step 7."""
    status = status or (Status.DIVERGED if train_error is None else Status.OK)
    diverged = status is Status.DIVERGED
    planned = asked.epochs * STEPS_AN_EPOCH
    error = math.nan if train_error is None or status is not Status.OK else train_error
    test = error + 0.02 if test_error is None else test_error
    epochs = [] if diverged else _epochs(asked, 0.5 if math.isnan(error) else error, unconverged)
    values: parts.Result = {
        "train_error": error,
        "test_error": min(test, 1.0) if not math.isnan(error) else math.nan,
        "train_loss": 2.5 * error,
        "test_loss": 2.5 * test,
        "train_error_running": epochs[-1]["train_error"] if epochs else math.nan,
        "train_loss_running": epochs[-1]["train_loss"] if epochs else math.nan,
        **{"n_train": 1437, "n_test": 360, "classes": 10, "parameters": 4800 * asked.depth},
        "steps": 7 if diverged else planned,
        "steps_planned": planned,
        "diverged_step": 7 if diverged else None,
        "train_seconds": 0.0009 * asked.depth * (7 if diverged else planned),
        **result,
    }
    return Record(
        trial=asked,
        status=status,
        message=message or ("diverged at step 7: loss is nan" if diverged else ""),
        environment={**ENVIRONMENT, **(environment or {})},
        result=values,
        epochs=epochs,
        probes=_probes(asked, error) if asked.probes else {},
        seconds=0.001 * asked.depth * planned,
        started=started,
    )


def _epochs(asked: Trial, error: float, unconverged: bool) -> list[parts.Epoch]:
    last = 2.5 * error + 0.01
    # The error's falls decide "converged": by 3 points an epoch it is not, by 0.1 it is.
    fall = 0.03 if unconverged else 0.001
    rows: list[parts.Epoch] = []
    for epoch in range(1, asked.epochs + 1):
        loss = min(2.3026, last * 1.02 ** (asked.epochs - epoch))
        rows.append(
            {
                "epoch": epoch,
                "steps": epoch * STEPS_AN_EPOCH,
                "train_loss": loss,
                "train_error": min(1.0, error + fall * (asked.epochs - epoch)),
                "lr_first": asked.lr,
                "lr_last": asked.lr * (1 - epoch / (asked.epochs + 1)),
                "seconds": 0.0009 * asked.depth * STEPS_AN_EPOCH,
            }
        )
    return rows


def _probes(asked: Trial, error: float) -> parts.Probes:
    """For the probes that the trial asks for."""
    blocks = max(1, (asked.depth - 2) // 2)
    growth = 1.16 if not asked.architecture.residual else 1.02
    norms = [min(1e30, 0.1 * growth ** (asked.depth - i)) for i in range(asked.depth)]
    rise = 0.5 if not asked.architecture.residual else 0.3 / blocks
    shown = error if math.isfinite(error) else 0.9
    wobble = random.Random(f"probes {asked.architecture.name} {asked.depth} {asked.seed}").uniform(0.95, 1.05)
    ready: parts.Probes = {
        "gradient_norms": {
            "layers": [f"layer {i}" for i in range(asked.depth)],
            "position": [i + 1 for i in range(asked.depth)],
            "norms": norms,
            "first": norms[0],
            "last": norms[-1],
        },
        "branch_ratio": {
            "block": list(range(blocks)),
            "epoch": [0, asked.epochs],
            "ratio": [[wobble * share / (1 + b) for b in range(blocks)] for share in (0.5, 1.0)],
            "response_std_by_block": [[share / (1 + b) for b in range(blocks)] for share in (0.5, 1.0)],
        },
        "lesions": {
            "intact_error": shown,
            "blocks": list(range(blocks)),
            "errors": [min(0.9, shown + rise) for _ in range(blocks)],
            "errors_reestimated": [min(0.9, shown + rise / 2) for _ in range(blocks)],
            "intact_error_reestimated": shown,
            "random": [
                {"k": k, "errors": [min(0.9, shown + k * rise)] * 2, "errors_reestimated": [shown + k * rise / 2] * 2}
                for k in (1, 2, 4)
                if k <= blocks
            ],
            "shuffled": {"errors": [0.8, 0.7], "errors_reestimated": [0.7, 0.6]},
            "effective_depth": asked.depth * (0.9 if rise > 0.1 else 0.3) * wobble,
            "effective_depth_reestimated": asked.depth * (0.8 if rise > 0.1 else 0.2) * wobble,
            "by_epoch": [{"epoch": 1, "intact_error": 0.3, "effective_depth": asked.depth * 0.1 * wobble}],
        },
    }
    return {name: ready[name] for name in asked.probes if name in ready}


def cost_record(asked: Trial, status: Status = Status.OK, **cost: Any) -> Record:
    """A cost record: time and memory linear in depth, slightly noisy."""
    asked = dataclasses.replace(asked, purpose="cost", epochs=0, probes=(), grow_to=())
    luck = random.Random(f"cost {asked.architecture.name} {asked.depth}")
    step = (0.002 + 0.0009 * asked.depth) * (1.0 if not asked.architecture.residual else 1.08)
    floor = 705 * 2**20
    values: parts.Cost = {
        "batch_size": asked.batch_size,
        "parameters": 4800 * asked.depth,
        "flops_per_image": 2.4e5 * asked.depth,
        "macs_per_image": 1.2e5 * asked.depth,
        "step_times_s": [step * luck.uniform(0.98, 1.04) for _ in range(10)],
        "warmup_times_s": [2 * step],
        "forward_times_s": [step * 0.3 * luck.uniform(0.98, 1.04) for _ in range(5)],
        "backward_times_s": [step * 0.6 * luck.uniform(0.98, 1.04) for _ in range(5)],
        "optimizer_times_s": [step * 0.1 * luck.uniform(0.98, 1.04) for _ in range(5)],
        "inference_times_s": [step * 0.25 * luck.uniform(0.98, 1.04) for _ in range(5)],
        "peak_memory_bytes": floor + int(0.44 * 2**20 * asked.depth * luck.uniform(0.98, 1.02)),
        "memory_floor_bytes": floor,
        "saved_activation_bytes": 300_000 * asked.depth,
        "first_step_s": 3 * step,
        "operators": [
            {"kind": kind, "stage": stage, "self_time_s": step * share, "calls": asked.depth}
            for kind, stage, share in (
                ("convolution", "forward", 0.18),
                ("convolution", "backward", 0.42),
                ("batch norm", "backward", 0.10),
                ("batch norm", "forward", 0.07),
                ("optimizer", "update", 0.07),
                ("other", "forward", 0.16),
            )
        ],
        "ceilings": {"copy_bytes_per_s": 1e10, "matmul_flops_per_s": 1.2e11},
        **cost,
    }
    values.setdefault("net_memory_bytes", values["peak_memory_bytes"] - values["memory_floor_bytes"])
    ok = status is Status.OK
    message = "" if ok else f"ended {status}"
    when = "2026-11-23T00:05:00Z"
    return Record(asked, status, message, ENVIRONMENT.copy(), {}, [], values if ok else {}, {}, 2.0, when)


def study_records(
    architectures: Sequence[str] = ARMS,
    depths: Sequence[int] = DEPTHS,
    seeds: Iterable[int] = range(3),
    error: Error = usual,
    cost: bool = True,
    unconverged: Sequence[tuple[str, int]] = (),
    **fields: Any,
) -> list[Record]:
    """All records of a made-up study: each architecture at each depth with each seed, and its cost once.

    Args:
        error: Training error of a trial, None for one that diverges.
        unconverged: (architecture, depth) whose error is still falling at the end.
        fields: Of every trial, `study` among them.
    """
    records = []
    for name in architectures:
        for depth in depths:
            for seed in seeds:
                asked = trial(name, depth, seed, **fields)
                records.append(train_record(asked, error(name, depth, seed), unconverged=(name, depth) in unconverged))
            if cost:
                records.append(cost_record(trial(name, depth, 0, **fields)))
    return records


def write(folder: Path, records: Iterable[Record], varied: Sequence[str] = ()) -> list[Path]:
    """Puts records where a run would have put them (without its fsync: tests write thousands)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for found in records:
        path = folder / record.file_name(found.trial, varied)
        path.write_bytes(record.encode(found))
        paths.append(path)
    return paths


def frames(records: Iterable[Record]) -> Frames:
    """The tables of these records, as if they had been read from files."""
    return tables.from_records([(Path(record.file_name(r.trial, ())), r) for r in records])


def damage(folder: Path) -> list[Path]:
    """Three files that cannot be read: empty, cut off, and not a record."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = record.encode(train_record(trial()))
    contents = {"empty.json": b"", "cut.json": whole[: len(whole) // 2], "other.json": b'{"a": 1}'}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in contents]
