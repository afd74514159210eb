"""Two folders of records of one study, side by side: errors, costs and laws of cost, paired where they may be.

A pair of errors is one trial on both sides (equal digest, so one recipe, one seed, one order of images). Nothing is
pooled over the sides: each keeps its own mean, and a difference is one of pairs. Pure functions on frames.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from results import lines, stats
from results.columns import ARCHITECTURE, COST_SETTING, SETTING
from results.rows import MOST_SPEED_CHANGE
from results.stats import Estimate
from results.tables import Frames, one_each

# A label may be reworded; what it names stays the same.
RECIPE = tuple(name for name in SETTING if name != "label")
_COST = ("study", "architecture", "depth", *COST_SETTING)
_LAW = ("study", "architecture", *COST_SETTING)

# The images behind each error.
MEASURES = {"train_error": "n_train", "test_error": "n_test"}
COSTS = ("step_time_s", "peak_memory_bytes", "net_memory_bytes")

# A machine's own speed changes by so much between two dates, whatever the software.
LEAST_RATIO, MOST_RATIO = 1 / (1 + MOST_SPEED_CHANGE), 1 + MOST_SPEED_CHANGE


@dataclass(frozen=True)
class Setting:
    """What the trials of a pair were asked to do, the seed apart.

    Attributes:
        fields: By name, all of it. Not in it: the depth of a law, which is 0.
    """

    study: str
    architecture: str
    depth: int
    fields: Mapping[str, object]


def _setting(names: Sequence[str], values: tuple[Any, ...]) -> Setting:
    fields = dict(zip(names, values, strict=False))
    return Setting(str(fields["study"]), str(fields["architecture"]), int(fields.get("depth", 0)), fields)


@dataclass(frozen=True)
class Mean:
    """Errors of one setting on one side: the mean over the seeds that ended, of how many, and how many diverged."""

    value: float
    ended: int
    seeds: int
    diverged: int


@dataclass(frozen=True)
class ErrorPair:
    """An error of one setting on both sides.

    Attributes:
        recipe: Everything that the trials were asked to do, but the seed.
        measure: A key of `MEASURES`.
        a, b: None where the side has no such trial.
        pairs: Trials that are on both sides.
        apart: B - A over the trials that ended on both sides, with its two-sided 95 % interval.
        identical: Whether all trials that are on both sides ended alike, to the last digit of their losses.
        ends_differ: Trials that ended on one side and failed on the other.
    """

    recipe: Setting
    measure: str
    a: Mean | None
    b: Mean | None
    pairs: int
    apart: Estimate
    identical: bool
    ends_differ: int

    @property
    def differs(self) -> bool:
        """Whether the interval leaves out zero, or a trial failed on one side only."""
        beyond = self.apart.estimable and (self.apart.low > 0 or self.apart.high < 0)
        return beyond or self.ends_differ > 0


@dataclass(frozen=True)
class Taken:
    """What a step took on one side: how its measurement ended, why its times are in doubt, and the numbers."""

    status: str
    disturbed: str
    values: dict[str, float]


@dataclass(frozen=True)
class CostPair:
    """The cost of one network at one depth on both sides; None where a side has no measurement."""

    setting: Setting
    a: Taken | None
    b: Taken | None

    def ratio(self, measure: str) -> float:
        """B / A; NaN where a side has no number."""
        top, bottom = (side.values[measure] if side else math.nan for side in (self.b, self.a))
        return top / bottom if bottom > 0 else math.nan


@dataclass(frozen=True)
class LawPair:
    """Time per layer of one network, in seconds, fitted on each side over the depths that both have measured."""

    setting: Setting
    depths: tuple[int, ...]
    a: Estimate
    b: Estimate

    @property
    def ratio(self) -> float:
        """B / A; NaN where there is none."""
        return self.b.value / self.a.value if self.a.value > 0 else math.nan


@dataclass(frozen=True)
class Shared:
    """How many trainings may be paired: those on each side, on both, and those of both that ended identically."""

    a: int
    b: int
    both: int
    identical: int


def large(ratio: float) -> bool:
    """Whether a ratio of costs is more than what a machine's own speed does between two dates."""
    return math.isfinite(ratio) and not LEAST_RATIO <= ratio <= MOST_RATIO


def _used(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["comparable"]]


# ---- errors -----------------------------------------------------------------------------------------------

_RESULTS = ("train_error", "test_error", "train_loss", "test_loss")


def paired(a: Frames, b: Frames) -> pd.DataFrame:
    """A row per training that is on both sides and on the same images; `identical`: it ended in the same numbers.

    A user's own block must have read the same files and variables.
    """
    names = ["digest", "status", "data", "own_reads", "n_train", "n_test", *_RESULTS]
    both = _used(a.trials)[[*RECIPE, *names]].merge(_used(b.trials)[names], on="digest", suffixes=("_a", "_b"))
    # Older records do not name their images.
    both = both[both["own_reads_a"] == both["own_reads_b"]]
    both = both[(both["data_a"] == both["data_b"]) | (both["data_a"] == "") | (both["data_b"] == "")]
    same = both["status_a"] == both["status_b"]
    for name in _RESULTS:
        one, other = both[f"{name}_a"], both[f"{name}_b"]
        same &= (one == other) | (one.isna() & other.isna())
    return both.assign(identical=same)


def shared(a: Frames, b: Frames) -> Shared:
    """How much of the trainings is on both sides."""
    both = paired(a, b)
    return Shared(len(_used(a.trials)), len(_used(b.trials)), len(both), int(both["identical"].sum()))


def errors(a: Frames, b: Frames) -> list[ErrorPair]:
    """Every setting of either side, training error before test error."""
    both = dict(iter(paired(a, b).groupby(list(RECIPE), sort=False)))
    cells = [{tuple(c[n] for n in RECIPE): c for c in side.cells.to_dict("records")} for side in (a, b)]
    keys = sorted({*cells[0], *cells[1]}, key=_order)
    found = []
    for measure in MEASURES:
        for key in keys:
            one, other = (_mean(side.get(key), measure) for side in cells)
            rows = both.get(key)
            pairs = rows if rows is not None else pd.DataFrame()
            found.append(_error_pair(_setting(RECIPE, key), measure, one, other, pairs))
    return found


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    row = dict(zip(RECIPE, key, strict=True))
    return (row["study"], row["architecture"], row["depth"], key)


def _mean(cell: Mapping[str, Any] | None, measure: str) -> Mean | None:
    if cell is None:
        return None
    return Mean(float(cell[f"{measure}_mean"]), int(cell["n_ok"]), int(cell["n"]), int(cell["n_diverged"]))


def _error_pair(recipe: Setting, measure: str, a: Mean | None, b: Mean | None, pairs: pd.DataFrame) -> ErrorPair:
    if pairs.empty:
        why = "on one side only" if a is None or b is None else "no trial is on both sides"
        return ErrorPair(recipe, measure, a, b, 0, stats.none(math.nan, 0, why), False, 0)
    ended = (pairs["status_a"] == "ok", pairs["status_b"] == "ok")
    good, identical = pairs[ended[0] & ended[1]], bool(pairs["identical"].all())
    images = good[[f"{MEASURES[measure]}_a", f"{MEASURES[measure]}_b"]].min(axis=None) if len(good) else math.nan
    apart = (good[f"{measure}_b"] - good[f"{measure}_a"]).to_numpy()
    # Each side is rounded to an image; of the same images, so no sampling of the test set is added.
    found = stats.mean_interval(apart, resolution=math.sqrt(2) / images if images > 0 else 0.0)
    if identical and len(good):
        found = stats.none(0.0, len(good), "identical")
    return ErrorPair(recipe, measure, a, b, len(pairs), found, identical, int((ended[0] != ended[1]).sum()))


# ---- recipes that differ ----------------------------------------------------------------------------------


def other_recipes(pairs: Iterable[ErrorPair]) -> list[tuple[Setting, list[tuple[str, list[object], list[object]]]]]:
    """Networks that both sides trained and not by one recipe: study, architecture, depth; and each field that differs.

    Args:
        pairs: As `errors` gives them.

    Returns:
        For each such network, its fields with the values of A and of B. No field: the trials differ in what is no
        field of a table (the images, the source of a block or what it reads, the probes).
    """
    nets: dict[tuple[str, str, int], list[ErrorPair]] = {}
    for pair in pairs:
        if pair.measure == "train_error" and not pair.pairs:
            nets.setdefault(_net(pair.recipe), []).append(pair)
    found = []
    for net, lot in nets.items():
        sides = [[pair.recipe for pair in lot if getattr(pair, side) is not None] for side in ("a", "b")]
        if not all(sides):
            continue
        fields = []
        for name in RECIPE:
            one, other = ([*dict.fromkeys(recipe.fields[name] for recipe in side)] for side in sides)
            if set(one) != set(other):
                fields.append((name, one, other))
        found.append((_setting(_NAMED[:3], net), fields))
    return found


def setting_words(settings: Sequence[Setting]) -> list[str]:
    """Of each setting, what tells it from others of the same study, network and depth: "epochs 10, lr 0.05"."""
    nets: dict[tuple[str, str, int], list[Setting]] = {}
    for setting in settings:
        nets.setdefault(_net(setting), []).append(setting)
    words = []
    for setting in settings:
        lot = nets[_net(setting)]
        names = [n for n in setting.fields if n not in _NAMED and len({each.fields[n] for each in lot}) > 1]
        words.append(", ".join(f"{n.replace('_', ' ')} {_short(setting.fields[n])}" for n in names))
    return words


_NAMED = ("study", "architecture", "depth", *ARCHITECTURE)


def _net(setting: Setting) -> tuple[str, str, int]:
    return setting.study, setting.architecture, setting.depth


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# ---- costs ------------------------------------------------------------------------------------------------


def costs(a: Frames, b: Frames) -> list[CostPair]:
    """Every measured network of either side.

    A step's cost does not hang on the learning rate, so a pair need not be of one digest; but for users' own blocks,
    whose source only the digest tells, and what they read a digest of its own.
    """
    sides = [_by_setting(frames.cost) for frames in (a, b)]
    keys = sorted({*sides[0], *sides[1]}, key=lambda key: tuple(map(str, key[:2])) + key[2:])
    return [CostPair(_setting(_COST, key), *(_taken(side.get(key)) for side in sides)) for key in keys]


def _by_setting(cost: pd.DataFrame) -> dict[tuple[Any, ...], Mapping[str, Any]]:
    rows = one_each(_used(cost), _COST).to_dict("records")
    own = [(row["digest"], row["own_reads"]) if row["shortcut"] == "own" else ("", "") for row in rows]
    return {(*(row[n] for n in _COST), *digests): row for row, digests in zip(rows, own, strict=True)}


def _taken(row: Mapping[str, Any] | None) -> Taken | None:
    if row is None:
        return None
    return Taken(row["status"], row["disturbed"], {name: float(row[name]) for name in COSTS})


def laws(pairs: Iterable[CostPair]) -> list[LawPair]:
    """Time per layer of every network that both sides measured at one depth or more."""
    lots: dict[tuple[Any, ...], list[CostPair]] = {}
    for pair in pairs:
        if math.isfinite(pair.ratio("step_time_s")):
            lots.setdefault(tuple(pair.setting.fields[name] for name in _LAW), []).append(pair)
    found = []
    for key, lot in lots.items():
        depths = [pair.setting.depth for pair in lot]
        times = np.array([[side.values["step_time_s"] for side in (p.a, p.b) if side is not None] for p in lot])
        slopes = [lines.relative_line(depths, column).slope for column in times.T]
        found.append(LawPair(_setting(_LAW, key), tuple(depths), *slopes))
    return found
