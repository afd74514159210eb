"""Rounds by two clocks, baselines of them, and what made a machine noisy. Pure, no torch."""

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

# Rounds of a benchmark, at least.
LEAST = 12
# A machine is noisy where a calibration got less of a processor than this, or where its processor time differs by more.
SHARE, PACE = 0.9, 1.3
# What must agree for two sides to be comparable; torch and Python may differ, that is the question.
DEVICE = ("device", "device_name", "cores", "calibration")


class Round(NamedTuple):
    """Seconds of one round, and of the calibration before it (0 where there was none); bytes of peak memory over what
    the process had before (0 where it was not asked for or could not be read)."""

    wall: float
    processor: float
    pace_wall: float = 0.0
    pace_processor: float = 0.0
    memory: float = 0.0


Pair = tuple[Round, Round]


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


def unlike(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Why two sides cannot be compared."""
    return [
        f"unlike devices: {n} {theirs.get(n)!r} and {ours.get(n)!r}" for n in DEVICE if ours.get(n) != theirs.get(n)
    ]
