"""What the gate judges: ratios with intervals, of each benchmark and of each slope over depth. Pure, no torch."""

import itertools
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from scipy import stats

from tests.regressions.rounds import SHARE, Pair, Round

# One-sided, for each bound of the median: the order of the values gives it, whatever their distribution.
CONFIDENCE = 0.95
# Where the other side got less than SHARE, the wall's clock fails from 1 + this on: equal code was seen at 1.17.
BUSY = 0.25
# What is measured of a benchmark: seconds by two clocks, and peak memory where it can be read.
MEASURES = ("wall", "processor", "memory")
# MiB by which two processes of equal code were seen to differ (0.9), and twice that.
MEMORY_NOISE = 2.0
# A benchmark that exists at several depths: kind, depth, family.
AT_DEPTH = re.compile(r"(\D+) (\d+) (\D+)")


class Series(NamedTuple):
    """Values of one measure, round by round; by how much equal code may differ; the benchmarks that they are from."""

    unit: str
    values: list[float]
    slack: float
    parts: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A benchmark, or a slope over depth, by one measure.

    Attributes:
        name: Of the benchmark or the slope.
        measure: One of `MEASURES`.
        unit: Of `before` and `now`.
        before: The other side's median.
        now: This side's.
        ratio: The median of the pairs' ratios.
        low: Its one-sided lower bound.
        high: Its one-sided upper bound.
        slack: By how much `now` may exceed `before` whatever the ratio.
        busy: Whether neighbours took a part of the processor from the other side.
        parts: The benchmarks that it is from.
    """

    name: str
    measure: str
    unit: str
    before: float
    now: float
    ratio: float
    low: float
    high: float
    slack: float
    busy: bool
    parts: tuple[str, ...]

    def limit(self, threshold: float) -> float:
        """The ratio from which on it is slower."""
        if self.busy and self.measure == "wall":
            return 1 + max(threshold, BUSY)
        return 1 + threshold + (self.slack / self.before if self.slack else 0.0)

    def words(self) -> str:
        """What is wrong with it, if anything is."""
        if self.measure == "memory":
            return f"{self.name} needs {self.ratio:.2f} times as much memory as it did"
        return f"{self.name} takes {self.ratio:.2f} times as long as it did ({self.measure} time)"


@dataclass
class Comparison:
    """What a comparison found: rows, those that are slower for certain, and other reasons why it fails."""

    rows: list[Row] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    slower: list[Row] = field(default_factory=list)


def series(rounds: Mapping[str, Sequence[Round]], calibrated: bool) -> dict[tuple[str, str], Series]:
    """Values by name and measure, of each benchmark and of each slope over depth.

    Args:
        rounds: By benchmark.
        calibrated: Give times in units of the calibration before each round, for sides that did not take turns.
    """
    clock_unit = "calibrations" if calibrated else "ms"
    found = {}
    for name, taken in rounds.items():
        for measure in MEASURES:
            values = [_value(each, measure, calibrated) for each in taken]
            if measure != "memory" or all(values):  # a 0 there: it could not be read
                unit, slack = ("MiB", MEMORY_NOISE) if measure == "memory" else (clock_unit, 0.0)
                found[name, measure] = Series(unit, values, slack, (name,))
    return found | _slopes(found)


def _value(found: Round, measure: str, calibrated: bool) -> float:
    if measure == "memory":
        return found.memory / 2**20
    seconds: float = getattr(found, measure)
    pace: float = getattr(found, f"pace_{measure}")
    return seconds / pace if calibrated else 1e3 * seconds


def _slopes(found: Mapping[tuple[str, str], Series]) -> dict[tuple[str, str], Series]:
    """Least-squares slopes over depth: one a round, from as many rounds as the depth with the fewest has."""
    ladders: dict[tuple[str, str], list[tuple[int, Series]]] = {}
    for (name, measure), each in found.items():
        if match := AT_DEPTH.fullmatch(name):
            kind, depth, family = match.groups()
            ladders.setdefault((f"{kind} {family} per layer", measure), []).append((int(depth), each))
    slopes = {}
    for key, ladder in ladders.items():
        if len(ladder) > 1:
            depths, members = zip(*ladder, strict=True)
            rounds = zip(*(each.values for each in members), strict=False)
            values = [statistics.linear_regression(depths, at_depths).slope for at_depths in rounds]
            parts = tuple(itertools.chain.from_iterable(each.parts for each in members))
            slack = members[0].slack / (max(depths) - min(depths))
            slopes[key] = Series(f"{members[0].unit} per layer", values, slack, parts)
    return slopes


def judge(pairs: Mapping[str, Sequence[Pair]], calibrated: bool) -> list[Row]:
    """The rows of what was measured.

    Args:
        pairs: By benchmark, rounds before and now.
        calibrated: As in `series`.
    """
    before, now = ({name: [pair[i] for pair in taken] for name, taken in pairs.items()} for i in (0, 1))
    busy = {name for name, taken in before.items() if _share(taken, calibrated) < SHARE}
    rows, ours = [], series(now, calibrated)
    for key, theirs in series(before, calibrated).items():
        if key in ours:
            both = theirs.values, ours[key].values
            ratios = [b / a if a > 0 else math.nan for a, b in zip(*both, strict=True)]
            old, new, ratio = map(statistics.median, (*both, ratios))
            low, high = bounds(ratios)
            disturbed = not busy.isdisjoint(theirs.parts)
            rows.append(Row(*key, theirs.unit, old, new, ratio, low, high, theirs.slack, disturbed, theirs.parts))
    return rows


def _share(taken: Sequence[Round], calibrated: bool) -> float:
    """How much of a processor these rounds had."""
    return statistics.median(
        each.pace_processor / each.pace_wall if calibrated else each.processor / each.wall for each in taken
    )


def bounds(values: Sequence[float]) -> tuple[float, float]:
    """One-sided bounds of the median."""
    if not all(map(math.isfinite, values)):
        return math.nan, math.nan
    # An upper bound belongs to the test against "less", a lower one to "greater".
    low, high = (
        stats.quantile_test(values, alternative=side).confidence_interval(CONFIDENCE) for side in ("greater", "less")
    )
    return float(low.low), float(high.high)
