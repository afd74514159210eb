"""What the gate judges: rounds by two clocks, ratios with intervals, what made a machine noisy. Pure, no torch."""

import json
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from scipy import stats

# One-sided, for each bound of the median: the order of the ratios gives it, whatever their distribution.
CONFIDENCE = 0.95
# Rounds of a benchmark, at least.
LEAST = 12
# A machine is noisy where a calibration got less of a processor than this, or where its processor time differs by more.
SHARE, PACE = 0.9, 1.3
# Where the other side got less than that share, the wall's clock fails from 1 + this on: equal code was seen at 1.17.
BUSY = 0.25
# What must agree for two sides to be comparable; torch and Python may differ, that is the question.
DEVICE = ("device", "device_name", "cores", "calibration")


class Round(NamedTuple):
    """Seconds of one round, and of the calibration before it (0 where there was none)."""

    wall: float
    processor: float
    pace_wall: float = 0.0
    pace_processor: float = 0.0


Pair = tuple[Round, Round]
CLOCKS = ("wall", "processor")


@dataclass(frozen=True)
class Saved:
    """A baseline: what it ran on, its rounds by benchmark, and in words why it was noisy, if it was."""

    machine: dict[str, Any]
    rounds: dict[str, list[Round]]
    noise: list[str]

    def write(self, path: Path) -> None:
        path.write_text(json.dumps({"machine": self.machine, "rounds": self.rounds, "noise": self.noise}))


def read(path: Path) -> Saved:
    """A saved baseline.

    Raises:
        ValueError: One line: the file is missing or is none of ours.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rounds = {str(name): [Round(*map(float, each)) for each in found] for name, found in content["rounds"].items()}
        return Saved(dict(content["machine"]), rounds, list(map(str, content["noise"])))
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{path} is not a run of these benchmarks, or one of an earlier version") from None


def file_name(machine: Mapping[str, Any]) -> str:
    """Of a baseline: device and versions, as file systems take it."""
    words = f"{machine['device']}-{machine['device_name']}-torch-{machine['torch']}-python-{machine['python']}"
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", words) + ".json"


def noise(rounds: Mapping[str, Sequence[Round]]) -> list[str]:
    """In words, what else the machine did while these were measured; empty on a quiet one."""
    found = [each for rows in rounds.values() for each in rows if each.pace_wall > 0]
    if len(found) < LEAST:
        return []
    said = []
    share = statistics.median(each.pace_processor / each.pace_wall for each in found)
    if share < SHARE:
        said.append(f"the benchmarks had {share:.0%} of a processor")
    tenths = statistics.quantiles((each.pace_processor for each in found), n=10)
    if tenths[-1] / tenths[0] > PACE:
        said.append(f"its pace changed by {tenths[-1] / tenths[0]:.1f}x meanwhile")
    return said


@dataclass(frozen=True)
class Row:
    """A benchmark by one clock: its usual time before and now, their ratio, that ratio's one-sided bounds, and whether
    neighbours took a part of the processor before."""

    name: str
    clock: str
    before: float
    now: float
    ratio: float
    low: float
    high: float
    busy: bool

    def limit(self, threshold: float) -> float:
        """The ratio from which on it is slower."""
        return 1 + (max(threshold, BUSY) if self.busy and self.clock == "wall" else threshold)


@dataclass
class Comparison:
    """What a comparison found: rows, and the reasons why it fails; none is a pass."""

    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def unlike(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Why two sides cannot be compared."""
    return [
        f"unlike devices: {n} {theirs.get(n)!r} and {ours.get(n)!r}" for n in DEVICE if ours.get(n) != theirs.get(n)
    ]


def judge(pairs: Mapping[str, Sequence[Pair]], calibrated: bool) -> list[Row]:
    """The rows of what was measured.

    Args:
        pairs: By benchmark, rounds before and now.
        calibrated: Compare units of the calibration before each round, for sides that did not take turns.
    """
    rows = []
    for name, found in pairs.items():
        old = [pair[0] for pair in found]
        share = statistics.median(
            each.pace_processor / each.pace_wall if calibrated else each.processor / each.wall for each in old
        )
        for clock in CLOCKS:
            before, now = ([_time(each, clock, calibrated) for each in side] for side in zip(*found, strict=True))
            ratios = [b / a if a > 0 else math.nan for a, b in zip(before, now, strict=True)]
            low, high = _bounds(ratios)
            rows.append(Row(name, clock, *map(statistics.median, (before, now, ratios)), low, high, share < SHARE))
    return rows


def _time(found: Round, clock: str, calibrated: bool) -> float:
    seconds: float = getattr(found, clock)
    pace: float = getattr(found, f"pace_{clock}")
    return seconds / pace if calibrated else seconds


def _bounds(ratios: Sequence[float]) -> tuple[float, float]:
    if not all(map(math.isfinite, ratios)):
        return math.nan, math.nan
    # An upper bound belongs to the test against "less", a lower one to "greater".
    low, high = (
        stats.quantile_test(ratios, alternative=side).confidence_interval(CONFIDENCE) for side in ("greater", "less")
    )
    return float(low.low), float(high.high)
