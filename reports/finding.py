"""What a judge says: one verdict with its numbers, as frozen data; and the rows that it looked at, a type a kind.

Thresholds are in `protocol`, the rules that turn ladders into findings in `rules`.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from bench.plan import words
from results.stats import Difference, Estimate

# Said of nets whose first gradient is no number; by these words a page knows them.
OVERFLOWS = "exceeds float32's range in"
# A fit's name.
LOGARITHMS = "log-log"


class Verdict(StrEnum):
    """The three answers that a claim can get."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"


def _share() -> Any:
    """A field that holds a share of images, shown in percent."""
    return field(metadata={"unit": "%"})


def _difference() -> Any:
    """A field that holds a difference of such shares, shown in points."""
    return field(metadata={"unit": "points"})


def _cost(unit: str = "{}") -> Any:
    """A field that holds a cost, shown in the unit of what was measured."""
    return field(metadata={"cost": unit})


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a judge looked at, such as a depth or a seed. Its fields are the columns of the page's table, in order."""

    @property
    def lost(self) -> bool:
        """Whether it stands for nets without a number, since one of them failed."""
        return False

    def columns(self) -> dict[str, object]:
        """Its values by column."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    @classmethod
    def units(cls) -> dict[str, str]:
        """By column, "%" or "points" where its fractions are shown so."""
        return {f.name: f.metadata["unit"] for f in dataclasses.fields(cls) if "unit" in f.metadata}

    def costs(self) -> dict[str, str]:
        """By column that holds a cost, its unit, where {} stands for that of what was measured."""
        return {f.name: f.metadata["cost"] for f in dataclasses.fields(self) if "cost" in f.metadata}


@dataclass(frozen=True, kw_only=True)
class ArmRow(Row):
    """A row that names the architecture it is about; any other row is about its finding's subject."""

    subject: str


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What the search for a depth's learning rate found: the best of how many (NaN: unknown), and what it cost."""

    lr: float
    tried: float
    search_seconds: float
    chosen_seconds: float


@dataclass(frozen=True, kw_only=True)
class TrainedRow(Row):
    """Of trained nets of a depth, with the search for their learning rate where there was one."""

    depth: int
    searched: Searched | None = None

    def columns(self) -> dict[str, object]:
        """Its values by column, those of the search last."""
        own = super().columns()
        del own["searched"]
        return {**own, **(vars(self.searched) if self.searched else {})}


@dataclass(frozen=True, kw_only=True)
class DepthRow(TrainedRow):
    """A depth against the shallowest one; no number (NaN) where a net of either failed."""

    effect: float = _difference()
    low: float = _difference()
    high: float = _difference()
    n: int
    diverged: int
    broken: int
    convergence: str

    @property
    def lost(self) -> bool:
        return bool(self.diverged or self.broken)


@dataclass(frozen=True, kw_only=True)
class HarmRow(DepthRow):
    """A depth judged for itself, with its p after Holm."""

    holm_p: float
    state: str


@dataclass(frozen=True, kw_only=True)
class SeedRow(TrainedRow, ArmRow):
    """The error of one net; NaN where it failed."""

    seed: int
    error: float = _share()
    failed: bool

    @property
    def lost(self) -> bool:
        return self.failed


@dataclass(frozen=True, kw_only=True)
class PlacementRow(ArmRow):
    """A variant against the original at a depth; no number (NaN) where a net failed."""

    depth: int
    effect: float = _difference()
    low: float = _difference()
    high: float = _difference()
    error: float = _share()
    original: float = _share()
    n: int
    failed: bool
    holm_p: float = math.nan
    state: str

    @property
    def lost(self) -> bool:
        return self.failed


@dataclass(frozen=True, kw_only=True)
class TransferRow(Row):
    """A depth at a learning rate against its own best one; no number (NaN) where a net of either diverged."""

    lr: float
    depth: int
    best_lr: float
    effect: float = _difference()
    low: float = _difference()
    high: float = _difference()
    n: int
    diverged: int

    @property
    def lost(self) -> bool:
        return self.diverged > 0


@dataclass(frozen=True, kw_only=True)
class TwinRow(ArmRow):
    """Mean error of one of two twins at a depth; NaN where a seed failed."""

    depth: int
    error: float = _share()


@dataclass(frozen=True, kw_only=True)
class FittingRow(Row):
    """Steps that each seed took to fit random labels; None where it never did."""

    depth: int
    steps: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True)
class GrowthRow(Row):
    """A step of growth: how much the outputs changed, and the grown net's error above the ungrown one's."""

    depth: int
    change: float
    effect: float = _difference()
    low: float = _difference()
    high: float = _difference()
    n: int
    diverged: int
    ungrown_diverged: int

    @property
    def lost(self) -> bool:
        return bool(self.diverged or self.ungrown_diverged)


@dataclass(frozen=True, kw_only=True)
class LesionRow(Row):
    """What lesions of the nets of a depth show: layers that count, and how much the error rises by one block."""

    depth: int
    effective_depth: float
    effective_depth_as_trained: float
    rise: float = _share()
    n: int


@dataclass(frozen=True, kw_only=True)
class CostRow(Row):
    """A cost at a depth."""

    depth: int
    value: float = _cost()


@dataclass(frozen=True, kw_only=True)
class FitRow(Row):
    """A straight line through the costs, or through their logarithms, which have no unit."""

    fit: str
    a: float = _cost()
    b: float = _cost("{} per layer")
    r2: float

    def costs(self) -> dict[str, str]:
        """Its columns in units of the cost."""
        return {} if self.fit == LOGARITHMS else super().costs()


@dataclass(frozen=True)
class Finding:
    """One verdict with its numbers.

    Attributes:
        claim: A key of `claims.CLAIMS`.
        subject: What was judged: an architecture's name, or a phrase such as "plain, clipped at 1".
        measure: A key of `results.metrics.METRICS`, or the name of a probe's number.
        verdict: The answer.
        reason: One sentence that says why.
        effect: The number that decided, in `unit`; None where there is none.
        low, high: Its interval; None at a side that is not bounded or not estimable.
        unit: "1" for differences of errors (fractions in 0..1), "%" for an error itself (in percent), else as it
            says.
        n: Seeds (for costs: depths) that it rests on.
        steps: Training steps of the deepest cell judged; None where nothing was trained.
        study: Name of the study whose records were judged; empty when there are none.
        setting: What these records share that others of the claim do not, such as "lr 0.05"; often empty.
        failures: How many seeds failed where most did, and the failure rate that this leaves open; empty for costs.
        more_seeds: Whether it is open for want of seeds: more of them may decide it.
        beside: A second line that was not judged, such as the losses where all errors are at the floor; often empty.
        details: A row per depth, seed or step judged, in order: what the figure draws.
        trials: Digests of the trials that were looked at.
    """

    claim: str
    subject: str
    measure: str
    verdict: Verdict
    reason: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = "1"
    n: int = 0
    steps: int | None = None
    study: str = ""
    setting: str = ""
    failures: str = ""
    more_seeds: bool = False
    beside: str = ""
    details: tuple[Row, ...] = ()
    trials: tuple[str, ...] = ()

    def but(self, **changes: Any) -> "Finding":
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def measured(self, found: Estimate) -> "Finding":
        """With this estimate and its interval; none where there is none."""
        return self.but(effect=known(found.value), low=known(found.low), high=known(found.high))

    def unclear(self, reason: str) -> "Finding":
        """Inconclusive, since its interval reaches over a threshold: more seeds may decide it."""
        return self.but(verdict=Verdict.INCONCLUSIVE, reason=reason, more_seeds=True)


def known(value: float) -> float | None:
    """A number as a finding holds it: none where it could not be estimated."""
    return value if math.isfinite(value) else None


def shown(found: Difference, lost: bool) -> tuple[float, float, float]:
    """A difference and its bounds as rows hold them: NaN where a net was lost, whose worst rank is no number."""
    return (math.nan,) * 3 if lost else (found.value, found.low, found.high)


def points(fraction: float) -> str:
    """A difference of errors in percentage points, for reasons."""
    return f"{100 * fraction:.1f} points"


def apart(effect: float, low: float, high: float, what: str) -> str:
    """How far above or below `what`, with bounds where they are known; no size is told as a negative number."""
    told = f"{points(abs(effect))} {'above' if effect >= 0 else 'below'} {what}"
    if not math.isfinite(low + high):
        return told
    if low < 0 < high:
        return f"{told} (between {points(-low)} below and {points(high)} above)"
    least, most = sorted((abs(low), abs(high)))
    return f"{told} (at least {points(least)}, at most {points(most)})"


def counted(number: int, what: str) -> str:
    """ "1 trial has" or "2 trials have"."""
    return f"{words.counted(number, what)} {'has' if number == 1 else 'have'}"


def percent(fraction: float) -> str:
    """An error in percent, for reasons."""
    return f"{100 * fraction:.1f} %"
