"""Findings as the page shows them: cards, tables of what was judged, and the figure of the judged numbers.

Own file beside `context` since it knows claims and findings only. It judges nothing.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.plan.study import Study
from reports.claims import CLAIMS, Claim, Finding, Verdict
from reports.page.words import effect, number, sentence
from reports.protocol import MARGIN, NOT_TRAINED, TRAINED
from results.figures import judged as judged_figures
from results.metrics import METRICS
from results.tables import Frames

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SYMBOLS = {Verdict.SUPPORTED: "✓", Verdict.REFUTED: "✗", Verdict.INCONCLUSIVE: "?"}


def finding_view(finding: Finding, labels: dict[str, str], study: str = "") -> dict[str, Any]:
    """One verdict as the page of this study shows it."""
    metric = METRICS.get(finding.measure)
    counted = []
    if finding.n:
        of = "depths" if metric is not None and metric.frame == "cost" else "seeds"
        counted.append(f"n = {finding.n} {of if finding.n != 1 else of[:-1]}")
    if finding.steps is not None:
        counted.append(f"at {finding.steps:,} steps".replace(",", " "))
    return {
        "subject": subject(finding.subject, labels),
        "measure": metric.label if metric else finding.measure.replace("_", " "),
        "verdict": str(finding.verdict),
        "symbol": SYMBOLS[finding.verdict],
        "effect": effect(finding),
        "basis": ", ".join(counted),
        "reason": sentence(finding.reason),
        "where": ", ".join(word for word in (finding.study, finding.setting) if word not in ("", study)),
        "details": details(finding.details, finding.unit == "1"),
        "trials": list(finding.trials),
    }


def subject(name: str, labels: dict[str, str]) -> str:
    """What a finding is about: the network's label, and what the judge added to its name."""
    network, comma, more = name.partition(", ")
    return f"{labels.get(network, network)}{comma}{more}"


# Columns of the judges' rows that are shares of images, shown in percent.
_SHARES = ("error", "original", "rise", "grown", "ungrown")


def details(rows: Iterable[dict[str, Any]], points: bool = True) -> list[dict[str, Any]]:
    """The rows that a judge looked at, as tables: a table for each lot of rows with the same keys.

    Args:
        rows: Of `Finding.details`.
        points: Whether effect, low and high are fractions, to be shown in points.
    """
    lots = itertools.groupby(rows, key=_keys)
    return [_table(keys, list(lot), points) for keys, lot in lots]


def _keys(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row)


def _table(keys: tuple[str, ...], rows: list[dict[str, Any]], points: bool) -> dict[str, Any]:
    scale = {key: 100.0 for key in keys if key in _SHARES or (points and key in ("effect", "low", "high"))}
    unit = {key: " (%)" if key in _SHARES else " (points)" for key in scale}

    def cell(key: str) -> Callable[[Any], str]:
        def text(value: Any) -> str:
            if isinstance(value, bool):
                return "yes" if value else "no"
            if isinstance(value, int | float) and key in scale:
                return number(scale[key] * value)
            return number(value, 4) if value is None or isinstance(value, int | float) else str(value)

        return text

    return {
        "heads": [key.replace("_", " ") + unit.get(key, "") for key in keys],
        "rows": [[cell(key)(row[key]) for key in keys] for row in rows],
    }


def labels(frames: Frames) -> dict[str, str]:
    """By architecture's name, its label."""
    known = pd.concat([frames.trials[["architecture", "label"]], frames.cost[["architecture", "label"]]])
    pairs = known.drop_duplicates("architecture").itertuples(index=False)
    return {str(name): str(label) or str(name) for name, label in pairs}


def what_would_change(claim: Claim, findings: list[Finding]) -> tuple[str, str]:
    """What evidence could turn the headline verdict, and the study made to give it; empty where this was it."""
    head = findings[0]
    # The most decisive study comes first: only one before the judged one says more.
    better = claim.studies[: claim.studies.index(head.study)] if head.study in claim.studies else claim.studies
    words = {
        Verdict.SUPPORTED: "One finding on the rule's other side, at more seeds, more steps or another depth.",
        Verdict.REFUTED: "A recipe under which the same networks pass the rule: more steps, another learning rate.",
        Verdict.INCONCLUSIVE: "What the reason names as missing: depths, seeds or steps.",
    }
    return words[head.verdict], better[0] if better else ""


def judged_here(study: Study, findings: dict[str, list[Finding]]) -> list[tuple[Claim, list[Finding]]]:
    """Claims that this study is meant to decide; where it names none, every claim that its records feed."""
    # A network that the study has is the headline before one that it has not (a user's own block, say).
    chosen = [(c, sorted(findings.get(c.id, []), key=lambda finding: not fed([finding]))) for c in CLAIMS.values()]
    if study.claims:
        return [(claim, found) for claim, found in chosen if found and claim.id in study.claims]
    return [(claim, found) for claim, found in chosen if fed(found)]


def fed(findings: list[Finding]) -> bool:
    """Whether any record had something to say of the claim."""
    return any(f.n or f.details or f.study for f in findings)


def elsewhere(study: Study, findings: dict[str, list[Finding]], names: dict[str, str]) -> list[dict[str, Any]]:
    """The other claims: the study that decides each, and what these records alone say, where they say anything."""
    here = {claim.id for claim, _ in judged_here(study, findings)}
    others = []
    for claim in CLAIMS.values():
        if claim.id not in here:
            found = findings.get(claim.id, [])
            view = finding_view(found[0], names, study.name) if fed(found) else None
            others.append({"claim": claim, "view": view})
    return others


def tally(cards: list[dict[str, Any]]) -> str:
    """The verdicts in one line."""
    words = [card["head"]["verdict"] for card in cards]
    parts = [f"{words.count(word)} {word}" for word in map(str, Verdict) if word in words]
    return f"Of {len(words)} claim{'s' * (len(words) != 1)} judged here: {', '.join(parts)}." if words else ""


def drawn(findings: list[Finding]) -> list[Finding]:
    """Those that a figure of judged numbers shows: with numbers, of the headline's measure, the first of each kind."""
    kinds: dict[str, Finding] = {}
    for finding in findings:
        if finding.measure == findings[0].measure and finding.details:
            kinds.setdefault(finding.subject, finding)
    return list(kinds.values())


def rows_of(findings: list[Finding], names: dict[str, str]) -> list[dict[str, Any]]:
    """The judged rows of the findings drawn, each with the kind of net that it is about."""
    rows = []
    for finding in drawn(findings):
        for row in finding.details:
            arm = str(row.get("subject") or finding.subject)
            rows.append({**row, "architecture": arm, "label": names.get(arm, arm), "failed": _failed(row)})
    return rows


def _failed(row: dict[str, Any]) -> bool:
    """Whether a row stands for nets without a number: judges rank a failed trial worst, as an error of 1."""
    if "failed" in row:
        return bool(row["failed"])
    if "error" in row and "seed" in row:
        error = row["error"]
        return error is None or not math.isfinite(error) or error >= 1.0
    return bool(row.get("diverged") or row.get("ungrown_diverged") or row.get("broken"))


def picture(findings: list[Finding], names: dict[str, str], small: bool = False) -> "Figure | None":
    """What the judge looked at: the interval drawn is the interval judged. None where a table says it all."""
    rows = rows_of(findings, names)
    if any("effective_depth" in row for row in rows):
        return judged_figures.effective_depth(rows, small)
    if any("effect" in row and "depth" in row for row in rows) and findings[0].unit == "1":
        return judged_figures.effects(rows, MARGIN, small)
    if rows and not small and all("error" in row and "seed" in row for row in rows):
        bounds = {"trained: at or under this": TRAINED, "not trained: above this": NOT_TRAINED}
        return judged_figures.levels(rows, bounds)
    return None
