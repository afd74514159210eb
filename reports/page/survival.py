"""The survival table: a row per design, its errors by depth, how soon it learns, what it costs, and its verdict.

Own file because it joins the findings of one claim with numbers of the frames. It judges nothing.
"""

import math

import pandas as pd

from models.spec import ARCHITECTURES
from reports.claims import Claim, Finding, Verdict
from reports.page import verdicts
from reports.page.context import Source
from reports.page.views import DesignRow, ErrorCell, Pill, Survival
from reports.page.words import NOTHING, number, sentence
from results import survival
from results.convergence import NOT_CONVERGED
from results.figures.panels import short

ORIGINAL = "resnet"
# In the table for comparison, and no designs of a residual net.
CONTROLS = tuple(name for name, row in ARCHITECTURES.items() if not row.residual)


def table(source: Source, judged: list[tuple[Claim, list[Finding]]]) -> Survival:
    """The best design at the deepest common depth first; no rows where the claim is not judged."""
    claim, findings = next(((c, f) for c, f in judged if c.glance == "table"), (None, []))
    study = next((f.study for f in findings if f.study), "")
    designs = survival.designs(source.frames, study) if study else []
    if claim is None or not designs:
        return Survival()
    cells = source.frames.cells[source.frames.cells["study"] == study]
    labels = verdicts.labels(source.frames)
    by_name = {finding.subject: finding for finding in findings}
    depths = sorted(cells["depth"].unique())
    rows = [
        DesignRow(
            label=short(labels.get(row.architecture, row.architecture)),
            errors=[_error(cells, row.architecture, depth) for depth in depths],
            verdict=_verdict(by_name.get(row.architecture), labels),
            original=row.architecture == ORIGINAL,
            steps=number(row.steps) if math.isfinite(row.steps) else "never" if row.steps == math.inf else NOTHING,
            exponent=f"{round(row.exponent, 2) + 0.0:.2f}" if math.isfinite(row.exponent) else NOTHING,
            rates=str(row.rates or NOTHING),
            ms=number(row.ms_per_layer, 2),
            mib=number(row.mib_per_layer, 2),
        )
        for row in survival.ranked(designs, cells)
    ]
    return Survival(rows, depths, claim, designs[0].depth, survival.REACHED, _learning(cells))


def _learning(cells: pd.DataFrame) -> str:
    """How many nets had not converged; ends with a blank. Empty where all had."""
    slow, steps = int((cells["convergence"] == NOT_CONVERGED).sum()), cells["steps"].max()
    if not slow:
        return ""
    said = f"{slow} of {len(cells)} kinds of net were still learning"
    return f"After {steps:.0f} steps {said}: a high error may mean slow. "


def _error(cells: pd.DataFrame, name: str, depth: int) -> ErrorCell:
    found = cells[(cells["architecture"] == name) & (cells["depth"] == depth)]
    if found.empty:
        return ErrorCell("not run")
    cell = found.iloc[0]
    if cell["n_failed"]:
        how = "diverged" if cell["n_diverged"] == cell["n_failed"] else "failed"
        return ErrorCell(f"{how} {cell['n_failed']} of {cell['n']}", lost=True)
    return ErrorCell(f"{100 * cell['train_error_mean']:.1f}")


def _verdict(finding: Finding | None, labels: dict[str, str]) -> Pill | None:
    if finding is None:
        return None
    reason = sentence(verdicts.named(finding.reason, labels))
    words = {Verdict.SUPPORTED: "no worse", Verdict.REFUTED: "worse", Verdict.INCONCLUSIVE: "open"}[finding.verdict]
    return Pill(words, verdicts.SYMBOLS[finding.verdict], str(finding.verdict), reason)


def message(findings: list[Finding]) -> str:
    """What the table says in a sentence; empty where nothing is decided."""
    known = [f for f in findings if f.details and f.subject not in CONTROLS]
    good = sum(f.verdict == Verdict.SUPPORTED for f in known)
    bad = sum(f.verdict == Verdict.REFUTED for f in known)
    if not good and not bad:
        return ""
    depth = max(row.depth for f in known for row in f.details if hasattr(row, "depth"))
    parts = [f"{good} of {len(known)} designs do at least as well as the document's block at up to {depth} layers"]
    parts += [f"{bad} do{'es' * (bad == 1)} worse"] if bad else []
    rest = len(known) - good - bad
    parts += [f"{rest} {'is' if rest == 1 else 'are'} open"] if rest else []
    return "; ".join(parts)
