"""Findings as the page shows them: cards, tables of what was judged, and the figure of the judged numbers.

Own file beside `context` since it knows claims and findings only. It judges nothing.
"""

import itertools
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from bench.plan.study import Study
from reports.claims import CLAIMS, Claim, Finding, Verdict
from reports.finding import ArmRow, DepthRow, GrowthRow, LesionRow, PlacementRow, Row, SeedRow, percent, points
from reports.page.views import Elsewhere, Table, View
from reports.page.words import Word, effect, number, sentence
from reports.protocol import MARGIN, NOT_TRAINED, TRAINED
from results import stats
from results.figures import judged as judged_figures
from results.figures.panels import short
from results.metrics import METRICS
from results.tables import Frames

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_MARKS = 3
# So many seeds decide something: the first look.
LEAST_SEEDS = min(stats.LOOKS)

SYMBOLS = {Verdict.SUPPORTED: "✓", Verdict.REFUTED: "✗", Verdict.INCONCLUSIVE: "?"}


def finding_view(finding: Finding, labels: dict[str, str], study: str = "") -> View:
    """One verdict as the page of this study shows it."""
    metric = METRICS.get(finding.measure)
    counted = []
    if finding.n:
        of = "depths" if metric is not None and metric.frame == "cost" else "seeds"
        counted.append(f"n = {finding.n} {of if finding.n != 1 else of[:-1]}")
    if finding.steps is not None:
        counted.append(f"at {finding.steps:,} steps".replace(",", " "))
    if finding.failures:
        counted.append(finding.failures)
    return View(
        subject=subject(finding.subject, labels),
        measure=metric.label if metric else finding.measure.replace("_", " "),
        verdict=str(finding.verdict),
        symbol=SYMBOLS[finding.verdict],
        effect=effect(finding),
        basis=", ".join(counted),
        reason=sentence(named(finding.reason, labels)),
        beside=sentence(named(finding.beside, labels)),
        study=finding.study if finding.study != study else "",
        where=", ".join(word for word in (finding.study, finding.setting) if word not in ("", study)),
        details=details(finding.details, labels, metric.unit if metric else ""),
        trials=list(finding.trials),
    )


def named(text: str, labels: dict[str, str]) -> str:
    """A judge's sentence with networks as the page calls them: "the post-activation net" for "resnet"."""
    for name, label in labels.items():
        called = short(label)
        if called != name and called != label:
            text = re.sub(rf"(?<![\w`=/.-])'?{re.escape(name)}'?(?![\w`=-])", f"the {called} net", text)
    return text


def subject(name: str, labels: dict[str, str]) -> Word:
    """What a finding is about: the network as the page calls it, and what the judge added to its name."""
    network, comma, more = name.partition(", ")
    return Word(f"{short(labels.get(network, network))}{comma}{worded(more, labels)}", name)


def worded(text: str, labels: dict[str, str]) -> Word:
    """A few words with networks as the page calls them: "search of post-activation" for "search of resnet"."""
    said = text
    for key, label in labels.items():
        said = re.sub(rf"(?<![\w`=/.-]){re.escape(key)}(?![\w`=-])", short(label), said)
    return Word(said, text)


# Columns whose name alone does not say what they are.
_HEADS = {
    "subject": "network",
    "holm_p": "p, Holm-corrected",
    "lr": "learning rate",
    "best_lr": "best learning rate",
    "tried": "rates tried",
    "search_seconds": "search (s)",
    "chosen_seconds": "search at the best rate (s)",
    "broken": "failed, not diverged",
    "n": "seeds",
    "r2": "R²",
}


def details(rows: Iterable[Row], labels: dict[str, str], unit: str = "") -> list[Table]:
    """The rows that a judge looked at, as tables: a table for each lot of rows with the same columns.

    Args:
        rows: Of `Finding.details`.
        labels: By architecture's name, its label.
        unit: Of a cost that they are about.
    """
    lots = itertools.groupby(rows, key=lambda row: (type(row), tuple(row.columns()), row.costs()))
    return [_table(list(lot), labels, unit) for _, lot in lots]


def _table(rows: list[Row], labels: dict[str, str], unit: str) -> Table:
    units, costs = rows[0].units(), rows[0].costs()
    # Bytes are for programs.
    factor, unit = (2.0**-20, "MiB") if unit == "B" else (1.0, unit)

    def head(name: str) -> str:
        said = units.get(name) or (unit and costs.get(name, "").format(unit))
        return _HEADS.get(name, name.replace("_", " ")) + (f" ({said})" if said else "")

    def cell(name: str, value: Any) -> str:
        if name == "subject":
            return subject(str(value), labels)
        return _cell(factor * value if name in costs else value, name in units)

    cells = [[cell(name, value) for name, value in row.columns().items()] for row in rows]
    return Table([head(name) for name in rows[0].columns()], cells)


def _cell(value: object, fraction: bool) -> str:
    """A value as the table shows it; fractions in percent."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and fraction:
        return number(100.0 * value)
    if isinstance(value, tuple):
        return str(list(value))
    return number(value, 4) if value is None or isinstance(value, int | float) else str(value)


def labels(frames: Frames) -> dict[str, str]:
    """By architecture's name, its label."""
    known = pd.concat([frames.trials[["architecture", "label"]], frames.cost[["architecture", "label"]]])
    pairs = known.drop_duplicates("architecture").itertuples(index=False)
    return {str(name): str(label) or str(name) for name, label in pairs}


def what_would_change(claim: Claim, findings: list[Finding], study: str) -> tuple[str, str]:
    """What evidence could turn the headline verdict, and the study made to give it; empty where that is this one."""
    head = findings[0]
    if 0 < head.n < LEAST_SEEDS and head.verdict == Verdict.INCONCLUSIVE:
        return f"More seeds of this study: {LEAST_SEEDS} are needed.", ""
    # The most decisive study comes first: only one before the judged one says more, and of its own data and nets only.
    better = claim.studies[: claim.studies.index(head.study)] if head.study in claim.studies else ()
    better = better if head.trials else claim.studies
    words = {
        Verdict.SUPPORTED: "More seeds, more steps or another depth, if the result then falls on the threshold's other "
        "side.",
        Verdict.REFUTED: "A recipe under which the same networks pass the rule: more steps, another learning rate.",
        Verdict.INCONCLUSIVE: "More seeds."
        if head.more_seeds
        else 'The depths or steps that the column "why" says are missing.',
    }
    return words[head.verdict], next((name for name in better if name != study), "")


def judged_here(study: Study, findings: dict[str, list[Finding]]) -> list[tuple[Claim, list[Finding]]]:
    """Claims that this study is meant to decide; where it names none, every claim that its records feed.

    A study of one net at one depth compares nothing.
    """
    # A network that the study has is the headline before one that it has not (a user's own block, say).
    chosen = [(c, sorted(findings.get(c.id, []), key=lambda finding: not fed([finding]))) for c in CLAIMS.values()]
    if study.claims:
        return [(claim, found) for claim, found in chosen if found and claim.id in study.claims]
    if alone(study):
        return []
    return [(claim, found) for claim, found in chosen if fed(found) and not claim.by_name]


def limits(judged: list[tuple[Claim, list[Finding]]]) -> str:
    """What "trains" and "no harm" mean, where the first screen says them; ends with a space."""
    words = {
        "thousand-layers": f"Trains: at most {percent(TRAINED)} error.",
        "residual-no-harm": f"No harm: less than {points(MARGIN)} above the shallowest net.",
    }
    said = [words[claim.id] for claim, _ in judged if claim.id in words]
    refer = "Both refer" if len(said) > 1 else "This refers"
    return f"{' '.join(said)} {refer} to training error. " if said else ""


def alone(study: Study) -> bool:
    """Whether a study is of one net at one depth."""
    return len({(trial.architecture, trial.depth) for trial in study.trials}) == 1


def fed(findings: list[Finding]) -> bool:
    """Whether any record had something to say of the claim."""
    return any(f.n or f.details or f.study for f in findings)


def elsewhere(study: Study, findings: dict[str, list[Finding]], names: dict[str, str]) -> list[Elsewhere]:
    """The other claims: the study that decides each, and what these records alone say, where they say anything."""
    here = {claim.id for claim, _ in judged_here(study, findings)}
    others = []
    for claim in CLAIMS.values():
        if claim.id not in here:
            found = findings.get(claim.id, [])
            view = finding_view(found[0], names, study.name) if fed(found) else None
            # The one to run, unless that is this one.
            decides = next((name for name in reversed(claim.studies) if name != study.name), claim.study)
            others.append(Elsewhere(claim, decides, view))
    return others


def drawn(findings: list[Finding]) -> list[Finding]:
    """Those that a figure of judged numbers shows: with numbers, of the headline's measure, the first of each subject.

    All with rows of one kind: a net against itself and a net against another do not stand in one figure.
    """
    told = [finding for finding in findings if finding.measure == findings[0].measure and finding.details]
    kinds: dict[str, Finding] = {}
    for finding in told:
        if type(finding.details[0]) is type(told[0].details[0]):
            kinds.setdefault(finding.subject, finding)
    return list(kinds.values())


def rows_of(findings: list[Finding], names: dict[str, str]) -> list[dict[str, object]]:
    """The judged rows of the findings drawn, each with the kind of net that it is about."""
    rows = []
    for finding in drawn(findings):
        for row in finding.details:
            arm = row.subject if isinstance(row, ArmRow) else finding.subject
            rows.append({**row.columns(), "architecture": arm, "label": names.get(arm, arm), "failed": row.lost})
    return rows


def picture(findings: list[Finding], names: dict[str, str], small: bool = False) -> "Figure | None":
    """What the judge looked at: the interval drawn is the interval judged. None where a table says it all."""
    looked_at = [row for finding in drawn(findings) for row in finding.details]
    rows = rows_of(findings, names)
    if any(isinstance(row, LesionRow) for row in looked_at):
        return judged_figures.effective_depth(rows, small)
    if any(isinstance(row, DepthRow | PlacementRow | GrowthRow) for row in looked_at):
        # One or two marks in a frame: the table says as much.
        if not small and sum(not row["failed"] for row in rows) < LEAST_MARKS:
            return None
        return judged_figures.effects(rows, MARGIN, small)
    if looked_at and not small and all(isinstance(row, SeedRow) for row in looked_at):
        bounds = {"trained: at or under this": TRAINED, "not trained: above this": NOT_TRAINED}
        return judged_figures.levels(rows, bounds)
    return None
