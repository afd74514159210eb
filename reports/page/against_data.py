"""Two folders of records side by side as data: a row per number that is compared, for CSV, JSON and notebooks.

Own file beside `against`, as `data` is beside the page. Judges nothing.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from reports.page import against, context
from reports.page.against import Against, VerdictPair
from results import against as pairing
from results.against import CostPair, ErrorPair, Mean
from results.files import strict
from results.stats import Estimate

_TEXT = ("part", "claim", "network", "study", "setting", "measure", "unit", "state", "a_said", "b_said")
_COUNTS = ("depth", "a_n", "b_n", "pairs")
_NUMBERS = ("a", "a_low", "a_high", "b", "b_low", "b_high", "difference", "low", "high", "ratio")
COLUMNS = (*_TEXT, *_COUNTS, *_NUMBERS)


class Side(NamedTuple):
    """What one side says: in words, as a number with its ends, and of how many."""

    said: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing that is compared; None where there is nothing to say. Its fields are columns, but for the sides'."""

    part: str
    measure: str
    state: str | None = None
    claim: str | None = None
    network: str | None = None
    study: str | None = None
    setting: str | None = None
    unit: str | None = None
    depth: int | None = None
    pairs: int | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    ratio: float | None = None
    a: Side
    b: Side

    def columns(self) -> dict[str, object]:
        """Its values by column."""
        own: dict[str, object] = dict(vars(self))
        for name, side in (("a", self.a), ("b", self.b)):
            own |= {name: side.value, f"{name}_said": side.said, f"{name}_n": side.n}
            own |= {f"{name}_low": side.low, f"{name}_high": side.high}
        return {name: own[name] for name in COLUMNS}


def rows(pair: Against) -> list[dict[str, object]]:
    """Everything that is compared, a row each, of one form; None where there is nothing to say."""
    return [line.columns() for line in lines(pair)]


def lines(pair: Against) -> Iterator[Line]:
    """Everything that is compared."""
    different, equal = against.environment(pair)
    for label, one, other in different:
        yield Line(part="environment", measure=label, state="differs", a=Side(one), b=Side(other))
    for label, value in equal:
        yield Line(part="environment", measure=label, state=against.SAME, a=Side(value), b=Side(value))
    for part, pairs in (("verdict", pair.verdicts), ("finding", pair.findings)):
        yield from (_verdict(part, each) for each in pairs)
    words = pairing.setting_words([p.recipe for p in pair.errors])
    yield from (_error(p, said) for p, said in zip(pair.errors, words, strict=True))
    for cost, said in zip(pair.costs, pairing.setting_words([p.setting for p in pair.costs]), strict=True):
        yield from (_cost(cost, said, measure) for measure in pairing.COSTS)
    for law in pair.laws:
        of = law.setting
        told = f"batch {of.fields['batch_size']}, {of.fields['precision']}"
        yield Line(
            part="law", network=of.architecture, study=of.study, pairs=len(law.depths), setting=told,
            measure="step_time_s", unit="s/layer", ratio=law.ratio, a=_estimate(law.a), b=_estimate(law.b),
        )  # fmt: skip


def _estimate(of: Estimate) -> Side:
    return Side(None, of.value, of.low, of.high, of.n)


def _verdict(part: str, pair: VerdictPair) -> Line:
    told = pair.a or pair.b
    assert told is not None  # a pair has a side
    a, b = (Side(str(f.verdict), f.effect, f.low, f.high, f.n) if f is not None else Side() for f in (pair.a, pair.b))
    # Of one network, the sides may be judged in two settings.
    setting = " | ".join(dict.fromkeys(f.setting for f in (pair.a, pair.b) if f is not None))
    return Line(
        part=part, claim=pair.claim.id, network=pair.subject, state=pair.state, measure=told.measure, unit=told.unit,
        study=told.study, setting=setting, a=a, b=b,
    )  # fmt: skip


def _error(pair: ErrorPair, said: str) -> Line:
    of = pair.recipe
    state = against.only(pair.a, pair.b) or ("differs" if pair.differs else pair.apart.reason)
    return Line(
        part="error", network=of.architecture, depth=of.depth, study=of.study, setting=said, measure=pair.measure,
        unit="1", pairs=pair.pairs, difference=pair.apart.value, low=pair.apart.low, high=pair.apart.high, state=state,
        a=_mean(pair.a), b=_mean(pair.b),
    )  # fmt: skip


def _mean(of: Mean | None) -> Side:
    if of is None:
        return Side()
    failed = of.seeds - of.ended
    return Side(f"{failed} failed" if failed else "", of.value, n=of.ended)


def _cost(pair: CostPair, said: str, measure: str) -> Line:
    of = pair.setting
    a, b = (Side(t.disturbed or t.status, t.values[measure]) if t is not None else Side() for t in (pair.a, pair.b))
    return Line(
        part="cost", network=of.architecture, depth=of.depth, study=of.study, setting=said, measure=measure,
        unit="s" if measure == "step_time_s" else "B", ratio=pair.ratio(measure),
        state=against.only(pair.a, pair.b), a=a, b=b,
    )  # fmt: skip


def table(pair: Against) -> pd.DataFrame:
    """The rows as a table."""
    found = pd.DataFrame(rows(pair), columns=list(COLUMNS))
    found[list(_TEXT)] = found[list(_TEXT)].fillna("")
    kinds = {**dict.fromkeys(_TEXT, "str"), **dict.fromkeys(_NUMBERS, "float64"), **dict.fromkeys(_COUNTS, "Int64")}
    return found.astype(kinds)


def as_json(pair: Against) -> str:
    """Both sides and all rows as strict JSON."""

    sides = {
        name: {"records": folder, "machine": context.machine(source.frames)}
        for name, folder, source in zip("ab", pair.folders, pair.sides, strict=True)
    }
    content = {
        "study": pair.a.study.name,
        **sides,
        "flips": len(against.flips(pair.verdicts)),
        "decided_on_both": sum(p.decided for p in pair.verdicts),
        "other_recipes": against.recipes(pair),
        "rows": [strict(row) for row in rows(pair)],
    }
    return json.dumps(content, indent=1, allow_nan=False)
