"""Two folders of records side by side as data: a row per number that is compared, for CSV, JSON and notebooks.

Own file beside `against`, as `data` is beside the page. Judges nothing.
"""

import json
import math
from typing import Any

import pandas as pd

from reports.page import against, context
from reports.page.against import Against, VerdictPair
from results import against as pairing
from results.against import CostPair, ErrorPair
from results.stats import Estimate

_TEXT = ("part", "claim", "network", "study", "setting", "measure", "unit", "state", "a_said", "b_said")
_COUNTS = ("depth", "a_n", "b_n", "pairs")
_NUMBERS = ("a", "a_low", "a_high", "b", "b_low", "b_high", "difference", "low", "high", "ratio")
COLUMNS = (*_TEXT, *_COUNTS, *_NUMBERS)


def rows(pair: Against) -> list[dict[str, Any]]:
    """Everything that is compared, a row each, of one form; None where there is nothing to say."""
    different, equal = against.environment(pair)
    found: list[dict[str, Any]] = [
        {"part": "environment", "measure": label, "a_said": one, "b_said": other, "state": "differs"}
        for label, one, other in different
    ]
    found += [{"part": "environment", "measure": n, "a_said": v, "b_said": v, "state": against.SAME} for n, v in equal]
    for part, pairs in (("verdict", pair.verdicts), ("finding", pair.findings)):
        found += [_verdict_row(part, each) for each in pairs]
    words = pairing.setting_words([p.recipe for p in pair.errors])
    found += [_error_row(p, said) for p, said in zip(pair.errors, words, strict=True)]
    for cost, said in zip(pair.costs, pairing.setting_words([p.setting for p in pair.costs]), strict=True):
        found += [_cost_row(cost, said, measure) for measure in pairing.COSTS]
    for law in pair.laws:
        net = {"network": law.setting["architecture"], "study": law.setting["study"], "pairs": len(law.depths)}
        told = f"batch {law.setting['batch_size']}, {law.setting['precision']}"
        row = {"part": "law", **net, "setting": told, "measure": "step_time_s", "unit": "s/layer", "ratio": law.ratio}
        found.append({**row, **_estimate("a", law.a), **_estimate("b", law.b)})
    return [{name: row.get(name) for name in COLUMNS} for row in found]


def _estimate(side: str, of: Estimate) -> dict[str, Any]:
    return {side: of.value, f"{side}_low": of.low, f"{side}_high": of.high, f"{side}_n": of.n}


def _verdict_row(part: str, pair: VerdictPair) -> dict[str, Any]:
    told = pair.a or pair.b
    assert told is not None  # a pair has a side
    row: dict[str, Any] = {"part": part, "claim": pair.claim.id, "network": pair.subject, "state": pair.state}
    row |= {"measure": told.measure, "unit": told.unit, "study": told.study}
    # Of one network, the sides may be judged in two settings.
    row["setting"] = " | ".join(dict.fromkeys(f.setting for f in (pair.a, pair.b) if f is not None))
    for side, f in (("a", pair.a), ("b", pair.b)):
        if f is not None:
            row |= {f"{side}_said": str(f.verdict), side: f.effect, f"{side}_n": f.n}
            row |= {f"{side}_low": f.low, f"{side}_high": f.high}
    return row


def _error_row(pair: ErrorPair, said: str) -> dict[str, Any]:
    of = pair.recipe
    row = {"part": "error", "network": of["architecture"], "depth": of["depth"], "study": of["study"], "setting": said}
    row |= {"measure": pair.measure, "unit": "1", "pairs": pair.pairs, "difference": pair.apart.value}
    row |= {"low": pair.apart.low, "high": pair.apart.high}
    row["state"] = against.only(pair.a, pair.b) or ("differs" if pair.differs else pair.apart.reason)
    for side, mean in (("a", pair.a), ("b", pair.b)):
        if mean is not None:
            failed = mean.seeds - mean.ended
            row |= {side: mean.value, f"{side}_n": mean.ended, f"{side}_said": f"{failed} failed" if failed else ""}
    return row


def _cost_row(pair: CostPair, said: str, measure: str) -> dict[str, Any]:
    of = pair.setting
    row = {"part": "cost", "network": of["architecture"], "depth": of["depth"], "study": of["study"], "setting": said}
    row |= {"measure": measure, "unit": "s" if measure == "step_time_s" else "B", "ratio": pair.ratio(measure)}
    row["state"] = against.only(pair.a, pair.b)
    for side, taken in (("a", pair.a), ("b", pair.b)):
        if taken is not None:
            row |= {side: taken.values[measure], f"{side}_said": taken.disturbed or taken.status}
    return row


def table(pair: Against) -> pd.DataFrame:
    """The rows as a table."""
    found = pd.DataFrame(rows(pair), columns=list(COLUMNS))
    found[list(_TEXT)] = found[list(_TEXT)].fillna("")
    kinds = {**dict.fromkeys(_TEXT, "str"), **dict.fromkeys(_NUMBERS, "float64"), **dict.fromkeys(_COUNTS, "Int64")}
    return found.astype(kinds)


def as_json(pair: Against) -> str:
    """Both sides and all rows as strict JSON."""

    def strict(value: Any) -> Any:
        return None if isinstance(value, float) and not math.isfinite(value) else value

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
        "rows": [{name: strict(value) for name, value in row.items()} for row in rows(pair)],
    }
    return json.dumps(content, indent=1, allow_nan=False)
