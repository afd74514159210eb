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
from reports.protocol import MARGIN
from results import survival
from results.convergence import NOT_CONVERGED
from results.figures.panels import short
from results.survival import Design

ORIGINAL = "resnet"
# In the table for comparison, and no designs of a residual net.
CONTROLS = tuple(name for name, row in ARCHITECTURES.items() if not row.residual)
NEAR = f"within {100 * MARGIN:g} points"
WORDS = {
    Verdict.SUPPORTED: NEAR,
    Verdict.REFUTED: "worse",
    Verdict.INCONCLUSIVE: "open",
}


def table(source: Source, judged: list[tuple[Claim, list[Finding]]]) -> Survival:
    """The best design at the deepest common depth first; no rows where the claim is not judged."""
    claim, findings = next(((c, f) for c, f in judged if c.glance == "table"), (None, []))
    study = next((f.study for f in findings if f.study), "")
    designs = survival.designs(source.frames, study) if study else []
    if claim is None or not designs:
        return Survival()
    cells = source.frames.cells[source.frames.cells["study"] == study]
    labels = verdicts.labels(source.frames)
    depths = sorted(cells["depth"].unique())
    rows = [
        DesignRow(
            label=short(row.label) + row.connected,
            errors=[_error(cells, row, depth) for depth in depths],
            verdict=_verdict(row, findings, labels),
            instead=_instead(row),
            steps=_steps(row, cells),
            exponent=f"{round(row.exponent, 1) + 0.0:.1f}" if math.isfinite(row.exponent) else NOTHING,
            rates=" + ".join(map(str, row.rates)) or NOTHING,
            ms=number(row.ms_per_layer, 2),
            mib=number(row.mib_per_layer, 2),
        )
        for row in survival.ranked(designs, cells)
    ]
    learning, at = _learning(cells), designs[0].depth
    return Survival(rows, depths, claim, at, survival.REACHED, learning, _key(), _against(designs))


def _against(designs: list[Design]) -> str:
    """What each design is held against, where the study has the original in several forms; ends with a blank."""
    if not any(row.connected for row in designs if row.architecture == ORIGINAL):
        return ""
    return (
        "Fully connected designs are held against the fully connected post-activation net, all others against the"
        " convolutional one. "
    )


def _key() -> list[Pill]:
    return [Pill(word, verdicts.SYMBOLS[verdict], str(verdict), "") for verdict, word in WORDS.items()]


def _learning(cells: pd.DataFrame) -> str:
    """How many nets had not converged; ends with a blank. Empty where all had."""
    slow, steps = int((cells["convergence"] == NOT_CONVERGED).sum()), cells["steps"].max()
    if not slow:
        return ""
    said = f"errors of {slow} of {len(cells)} pairs of design and depth were still falling"
    return f"After {steps:.0f} steps the {said}: a high error may mean slow. "


def _instead(row: Design) -> str:
    """What stands in the place of a verdict."""
    if row.architecture == ORIGINAL:
        return "itself"
    return "control" if row.architecture in CONTROLS else ""


def _error(cells: pd.DataFrame, row: Design, depth: int) -> ErrorCell:
    found = survival.cells_of(cells[cells["depth"] == depth], row)
    if found.empty:
        return ErrorCell("not run")
    cell = found.iloc[0]
    if cell["n_failed"]:
        how = "diverged" if cell["n_diverged"] == cell["n_failed"] else "failed"
        return ErrorCell(f"{how} {cell['n_failed']} of {cell['n']}", lost=True)
    return ErrorCell(f"{100 * cell['train_error_mean']:.1f}")


def _steps(row: Design, cells: pd.DataFrame) -> str:
    if math.isfinite(row.steps):
        return number(row.steps)
    return f"not in {cells['steps'].max():.0f}" if row.steps == math.inf else NOTHING


def _verdict(row: Design, findings: list[Finding], labels: dict[str, str]) -> Pill | None:
    # Not all of its trials: a verdict may have been reached with fewer seeds.
    own = (f for f in findings if f.subject == row.architecture and not row.trials.isdisjoint(f.trials))
    finding = next(own, None)
    if finding is None:
        return None
    reason = sentence(verdicts.named(finding.reason, labels))
    return Pill(
        WORDS[finding.verdict].removesuffix(" points"), verdicts.SYMBOLS[finding.verdict], str(finding.verdict), reason
    )


def _deepest(finding: Finding) -> int:
    return max(int(row.depth) for row in finding.details if hasattr(row, "depth"))


def message(findings: list[Finding]) -> str:
    """What the table says in a sentence; empty where nothing is decided."""
    known = [f for f in findings if f.details]
    depths = [_deepest(f) for f in known if f.verdict == Verdict.SUPPORTED]
    good = len(depths)
    bad = sum(f.verdict == Verdict.REFUTED for f in known)
    if not good and not bad:
        return ""
    all_to = min(depths, default=max(map(_deepest, known)))
    stay = f"{good} of {len(known)} designs stay {NEAR} of the post-activation net's training error"
    stay += f", up to {all_to} layers"
    if more := sum(depth > all_to for depth in depths):
        stay += f" ({more} of them up to {max(depths)})"
    parts = [stay]
    parts += [f"{bad} do{'es' * (bad == 1)} worse"] if bad else []
    rest = len(known) - good - bad
    parts += [f"{rest} {'is' if rest == 1 else 'are'} open"] if rest else []
    return "; ".join(parts)
