"""What a judge says: one verdict with its numbers, as frozen data.

Thresholds are in `protocol`, the rules that turn ladders into findings in `rules`.
"""

import dataclasses
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """The three answers that a claim can get."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"


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
        details: A row per depth or step judged, in order, numbers as plain floats: what the figure draws.
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
    details: tuple[dict[str, Any], ...] = ()
    trials: tuple[str, ...] = ()

    def but(self, **changes: Any) -> "Finding":
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


def known(value: float) -> float | None:
    """A number as a finding holds it: none where it could not be estimated."""
    return value if math.isfinite(value) else None


def points(fraction: float) -> str:
    """A difference of errors in percentage points, for reasons."""
    return f"{100 * fraction:.1f} points"


def percent(fraction: float) -> str:
    """An error in percent, for reasons."""
    return f"{100 * fraction:.1f} %"
