"""What a study will take: time and memory of each trial before it is run, time while it runs. No torch.

Before: `predict`, from what a step costs and from arithmetic. While it runs: `Forecast`, from the durations of trials
that ended here, which hold all that a machine and its neighbours do to them; it knows nothing before the first has.

Step time and memory are straight lines in depth (docs/performance.md: the log-log slope is 1.00 to 1.02), fitted to the
cost records of the same network family and recipe on the same device. Without such records a rule of thumb stands in,
and is called that. Where a record is there already, the prediction's error is shown beside it.
"""

import itertools
import math
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.plan.machine import GPUS, KINDS, Machine, usable_memory, within_reason
from bench.plan.study import Study
from bench.plan.trial import Trial, spec_of, values
from bench.plan.words import counted
from bench.store import record
from bench.store.record import Record, Status
from bench.sweep.size import size
from models.layouts import LAYOUTS, blocks_per_stage, stage_shapes

# Training images of data sets whose size is fixed; others are looked up in their records.
N_TRAIN = {
    "digits": 1437, "synthetic": 256, "cifar10": 50_000, "cifar100": 50_000, "cifar10-jpeg": 50_000,
    "fashion-mnist": 60_000,
}  # fmt: skip
# Channels, height and width of their images; others are taken as CIFAR's.
IMAGES = {"digits": (1, 8, 8), "synthetic": (1, 8, 8), "fashion-mnist": (1, 28, 28)}
# One core of an AVX512 server (docs/performance.md, 3a): FLOPs per second of convolutions, seconds per layer and step
# whatever its size, and the memory of a process that has loaded torch.
FLOPS_A_SECOND, DISPATCH_S_A_LAYER, FLOOR_BYTES = 50e9, 0.27e-3, 705 * 2**20
# Two evaluations and one pass for BatchNorm's statistics, in forward passes of a third of a step each.
PASSES_AFTER = 1.0


@dataclass(frozen=True)
class Line:
    """A straight line over depth: value = intercept + slope * depth."""

    intercept: float
    slope: float

    def __call__(self, depth: int) -> float:
        return self.intercept + self.slope * depth


@dataclass(frozen=True)
class Prediction:
    """What one trial is expected to take.

    Attributes:
        trial: Which.
        seconds: Of training and evaluation, or of measuring its cost; on one worker.
        memory_bytes: At its peak, the process's own floor included on a CPU.
        basis: Where the numbers come from, in words.
        measured_s: What it took, where there is a record; else None.
    """

    trial: Trial
    seconds: float
    memory_bytes: float
    basis: str
    measured_s: float | None = None

    @property
    def error(self) -> float | None:
        """Predicted over measured seconds, less one."""
        return self.seconds / self.measured_s - 1 if self.measured_s else None


def fit(points: Sequence[tuple[int, float]]) -> Line:
    """The line through points of (depth, value) with the least squared relative errors; never falling.

    Relative: the deepest net's noise is larger than the shallowest's whole value. One depth gives proportionality.
    """
    if len({depth for depth, _ in points}) < 2:
        depth, value = points[0]
        return Line(0.0, value / depth)
    weights = [1 / value**2 for _, value in points]
    total = sum(weights)
    x = sum(w * d for w, (d, _) in zip(weights, points, strict=True)) / total
    y = sum(w * v for w, (_, v) in zip(weights, points, strict=True)) / total
    spread = sum(w * (d - x) ** 2 for w, (d, _) in zip(weights, points, strict=True))
    slope = sum(w * (d - x) * (v - y) for w, (d, v) in zip(weights, points, strict=True)) / spread
    return Line(y - slope * x, slope) if slope > 0 else Line(y, 0.0)


def family(trial: Trial) -> tuple[object, ...]:
    """What must agree for one trial's price to say something about another's."""
    return values(trial, "cost", "time")


def predict(study: Study, records: Iterable[Record]) -> list[Prediction]:
    """Predicts each trial of a study.

    Args:
        study: What is asked.
        records: Any; of cost records those that ended well are used, on the device that most of them have, those of the
            trial itself left out of its own fit.
    """
    known = [r for r in records if r.status.final]
    costs = [r for r in known if _priced(r)]
    names = [str(r.environment.get("device_name", "")) for r in costs]
    chosen = statistics.mode(names) if names else ""
    costs = [r for r, name in zip(costs, names, strict=True) if name == chosen]
    sizes = N_TRAIN | {
        r.trial.dataset: int(r.result["n_train"]) for r in known if 0 < r.result.get("n_train", 0) < 1e12
    }
    mine = {r.trial: r for r in known if r.environment.get("device_name", "") in ("", chosen) or not chosen}
    return [_one(trial, costs, sizes, mine.get(trial)) for trial in study.trials]


def _priced(record: Record) -> bool:
    """Whether a cost record says something: a time of nothing, or beyond all reason, predicts nothing."""
    times = record.cost.get("step_times_s") or []
    numbers = (*times, record.seconds, record.cost.get("peak_memory_bytes", 1))
    return bool(times) and all(1e-9 < number < 1e18 for number in numbers)


def _one(trial: Trial, costs: list[Record], sizes: dict[str, int], own: Record | None) -> Prediction:
    others = [r for r in costs if family(r.trial) == family(trial) and r.trial.depth != trial.depth]
    same = [r for r in costs if family(r.trial) == family(trial) and r.trial.depth == trial.depth]
    used = others + (same if trial.trains else [])
    if used:
        step = fit([(r.trial.depth, statistics.median(r.cost["step_times_s"])) for r in used])(trial.depth)
        peaks = [(r.trial.depth, float(r.cost["peak_memory_bytes"])) for r in used if "peak_memory_bytes" in r.cost]
        memory = fit(peaks)(trial.depth) if peaks else rule_of_thumb(trial)[1]
        depths = sorted({r.trial.depth for r in used})
        basis = f"fit over depth {', '.join(map(str, depths))}"
    else:
        step, memory = rule_of_thumb(trial)
        basis = "rule of thumb"
    seconds = step * _steps(trial, sizes)
    if not trial.trains and used:
        seconds = fit([(r.trial.depth, r.seconds) for r in used])(trial.depth)
    measured_s = share_s(own) if own is not None and own.status is Status.OK else None
    return Prediction(trial, seconds, memory, basis, measured_s)


def share_s(record: Record) -> float:
    """Seconds of a record; where several seeds shared a GPU in one process, this one's part of them."""
    several = record.environment.get("seeds_at_once", 1)
    return record.seconds / several if isinstance(several, int) and several > 1 else record.seconds


def rule_of_thumb(trial: Trial) -> tuple[float, float]:
    """Seconds of a training step and bytes at its peak, from the network's arithmetic alone, for one core."""
    channels, height, width = IMAGES.get(trial.dataset.removeprefix("random-labels:"), (3, 32, 32))
    image = (channels, trial.resize or height, trial.resize or width)
    spec = spec_of(trial, image, 10)
    row, counts = LAYOUTS[trial.layout], blocks_per_stage(trial.layout, trial.depth)
    layers = row.layers(trial.depth)
    # Multiply-adds of a block and pixel over its squared width: linear maps; 3x3 twice; 1x1, 3x3, 1x1 at a quarter.
    # Of a token: four in attention and eight in an MLP, by turns; beside them, products of tokens.
    taps = 18.0 if row.expansion(trial.depth) == 1 else 17 / 16
    taps = taps if row.convolutional else 6.0 if row.stem == "patches" else float(layers)
    macs = elements = 0.0
    for count, shape in zip(counts, stage_shapes(spec)[1:], strict=False):
        channels, area = (shape[0], math.prod(shape[1:])) if row.convolutional else (shape[-1], math.prod(shape[:-1]))
        products = area / channels if row.stem == "patches" else 0.0
        macs += count * (taps + products) * channels**2 * area
        # Kept for the backward pass; measured: two elements for each of a layer's output (docs/performance.md, 3a), and
        # nine for a sublayer's.
        elements += (9.0 if row.stem == "patches" else 2.0) * count * layers * channels * area
    # Backward costs twice the forward pass; a multiply-add is two FLOPs.
    step = trial.batch_size * 6 * macs / FLOPS_A_SECOND + DISPATCH_S_A_LAYER * trial.depth
    return step, FLOOR_BYTES + trial.batch_size * elements * 4


def _steps(trial: Trial, sizes: dict[str, int]) -> float:
    """Steps of the trial's net: training, and what comes after it; a cost trial takes about twelve.

    Those of deeper nets that it is grown to count as many times as these are deeper.
    """
    if not trial.trains:
        return 12.0
    inner = trial.dataset.removeprefix("random-labels:")
    n = trial.train_examples or sizes.get(trial.dataset, sizes.get(inner, 50_000))
    each = n // trial.batch_size if trial.drop_last else -(-n // trial.batch_size)
    return each * (trial.epochs + PASSES_AFTER) * _layers(trial) / trial.depth


def _layers(trial: Trial) -> int:
    """Of all nets that the trial trains: after each growth the grown one, and the one before it once more."""
    return trial.depth + sum(map(sum, itertools.pairwise((trial.depth, *trial.grow_to))))


def memory_here(device: str = "cpu") -> float:
    """Bytes that a process on this machine may use, of its GPU or of itself; infinite where it is not said."""
    try:
        if command := KINDS[device].memory_command:
            said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
            return float(said.split()[0]) * 2**20
        fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return min(float(fields["MemAvailable"].split()[0]) * 1024, usable_memory())
    except (OSError, subprocess.SubprocessError, KeyError, ValueError, IndexError):
        return float("inf")


def lines(
    study: Study, folder: Path, workers: int = 0, memory_bytes: float | None = None
) -> tuple[list[str], list[str]]:
    """For people: a line per trial (what will not fit says so); and the sum, and how good earlier predictions were.

    Args:
        study: What is asked.
        folder: Of the studies' folders of records.
        workers: Trials at a time, as far as the machine has cores; 0 is as a sweep has them (see `size`).
        memory_bytes: What a trial may use; None asks the machine.
    """
    within_reason(workers=workers)
    records = _records(study, folder)
    found = predict(study, records)
    kinds = [r.device or "cpu" for r in records]
    kind = statistics.mode(kinds) if kinds else "cpu"
    workers = size(Machine(device=kind if kind in KINDS else "cpu"), "process", workers).workers
    at_once = study.seeds_at_once if kind in GPUS else 1
    most = memory_here(kind) if memory_bytes is None else memory_bytes
    text = []
    for one in found:
        error = (
            "" if one.error is None else f"  took {one.measured_s:.1f} s: prediction off by {100 * one.error:+.0f} %"
        )
        fits = "  DOES NOT FIT" if one.memory_bytes > most else ""
        if not fits and one.trial.trains and at_once * one.memory_bytes > most:
            fits = f"  {at_once} AT ONCE DO NOT FIT"
        text.append(f"{one.seconds:8.1f} s {one.memory_bytes / 2**20:7.0f} MiB{fits}{error}")
    training = sum(p.seconds for p in found if p.trial.trains)
    measuring = sum(p.seconds for p in found if not p.trial.trains)
    bases = ", ".join(sorted({p.basis.split(" over")[0] for p in found}))
    minutes = (training / workers + measuring) / 60
    sums = [f"predicted ({bases}), without start-up: {minutes:.1f} min with {counted(workers, 'trial')} at a time"]
    if study.seeds_at_once > 1:
        sums.append(f"on a GPU {study.seeds_at_once} seeds of a net train at once; the time foresees no gain from it")
    errors = [abs(p.error) for p in found if p.error is not None]
    if errors:
        middle = 100 * statistics.median(errors)
        sums.append(f"predictions were off by {middle:.0f} % in the median of {counted(len(errors), 'trial')}")
    return text, sums


def _records(study: Study, folder: Path) -> list[record.Record]:
    """What the study and its parts have left before."""
    names = dict.fromkeys([study.name, *(t.study for t in study.trials)])
    return [found for name in names for _, found in record.load(folder / name)[0]]


def by_net(study: Study, folder: Path) -> list[str]:
    """A table, depths down and architectures across: how many trials, and how long they take one after the other."""
    sums: dict[tuple[int, str], tuple[int, float]] = {}
    for one in predict(study, _records(study, folder)):
        net = one.trial.depth, one.trial.architecture.name
        count, seconds = sums.get(net, (0, 0.0))
        sums[net] = count + 1, seconds + one.seconds
    nets = list(dict.fromkeys(name for _, name in sums))
    rows = [["layers", *nets]]
    for depth in sorted({depth for depth, _ in sums}):
        cells = [sums.get((depth, name)) for name in nets]
        rows.append([str(depth), *(f"{c[0]} x {c[1] / c[0]:.3g} s" if c else "-" for c in cells)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


# ---- while a study runs ------------------------------------------------------------------------------------


def work(trial: Trial) -> float:
    """How much a trial is expected to take, in layers x epochs: only to order and to scale by, within a study.

    Measured on two cores at width 8, a step's time grows with depth and hardly with anything else.
    """
    if not trial.trains:
        return float(trial.depth)
    examples = trial.train_examples or N_TRAIN.get(trial.dataset.removeprefix("random-labels:"), 50_000)
    return _layers(trial) * trial.epochs * examples / 1000


class Forecast:
    """Durations of trials to come, from those that ended: of the same setting, else scaled from similar ones."""

    def __init__(self) -> None:
        self._rates: dict[tuple[object, ...], list[float]] = {}

    @staticmethod
    def _keys(trial: Trial) -> list[tuple[object, ...]]:
        """From the same setting to the merely similar."""
        alike = (trial.trains, *values(trial, "scale"))
        network = (*alike, trial.architecture)
        extent = trial.depth, trial.epochs, trial.grow_to, trial.train_examples
        return [(*network, *extent), network, alike, (trial.trains,)]

    def learn(self, record: Record) -> None:
        """Takes in a record. One that diverged ended early: it tells about its own setting only."""
        if record.status.final:
            keys = self._keys(record.trial)
            for key in keys if record.status == Status.OK else keys[:1]:
                self._rates.setdefault(key, []).append(share_s(record) / work(record.trial))

    def seconds(self, trial: Trial) -> float | None:
        """Expected duration of a trial; None while nothing like it has ended."""
        for key in self._keys(trial):
            if key in self._rates:
                return statistics.median(self._rates[key]) * work(trial)
        return None

    def left(self, trials: Sequence[Trial], workers: int) -> float | None:
        """Expected time until all of these have ended; None while it cannot be told."""
        shared, alone = 0.0, 0.0
        for trial in trials:
            seconds = self.seconds(trial)
            if seconds is None:
                return None
            if not trial.trains:
                alone += seconds
            else:
                shared += seconds
        return alone + shared / workers
