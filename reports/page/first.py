"""The page's first screen: the message, made from the verdicts by rule; claims by networks; which settings to draw.

Own file because it says in a few words what the rest of the page says in full. It judges nothing: every cell is a
finding's own verdict and number.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from reports.claims import Claim, Finding, Verdict
from reports.finding import (
    OVERFLOWS,
    ArmRow,
    DepthRow,
    GrowthRow,
    HarmRow,
    LesionRow,
    SeedRow,
    TwinRow,
    points,
)
from reports.page import beside, survival, verdicts
from reports.page.context import Source, one_rate
from reports.page.views import Head, Matrix, MatrixRow, Pill
from reports.page.words import NOTHING, number, sentence, short_effect
from reports.protocol import MARGIN, NEVER, SAME_FUNCTION
from results.figures import style
from results.figures.panels import short
from results.tables import Frames, summarize, with_random_labels

Judged = list[tuple[Claim, list[Finding]]]
# Of the main figure: title, trials, cells.
Panel = tuple[str, pd.DataFrame, pd.DataFrame]

# What a decided verdict says in a headline, supported and refuted. {nets}: the networks it is about.
CLAUSES: dict[str, tuple[str, str]] = {
    "thousand-layers": ("at {depth} layers {nets} train", "at {depth} layers {nets} do not train"),
    "plain-degrades": ("{nets} get worse with depth", "{nets} do not get worse with depth"),
    "residual-no-harm": (
        f"more layers cost {{nets}} under {points(MARGIN)} of training error",
        "more layers harm {nets}",
    ),
    "deeper-is-better": ("deeper {nets} are better", "deeper {nets} are not better"),
    "designs-survive": ("{nets} survive depth", "{nets} do not survive depth"),
    "lr-transfers": ("one learning rate serves {nets} of every depth", "no learning rate serves {nets} of every depth"),
    "identity-growth": ("grown {nets} start as the same function", "grown {nets} do not start as the same function"),
    "small-net-first": ("{nets} fit a small net first", "{nets} do not fit a small net first"),
    "shortcut-anywhere": ("the shortcut can go anywhere", "the shortcut cannot go anywhere"),
    "conv-and-dense": ("fully connected {nets} train too", "fully connected {nets} do not train"),
    "cost-grows": ("the cost of {nets} grows with depth", "the cost of {nets} does not grow with depth"),
}  # fmt: skip

# A headline of more clauses is not read.
MOST_CLAUSES = 2
OPEN = "it is open"
# Of nets whose first gradient is no number.
UNSTARTABLE = "cannot start (their gradients overflow float32)"
MOST_COLUMNS = 4
LONGEST_LABEL = 24
MOST_PANELS = 2


@dataclass(frozen=True)
class Cell:
    """What is known of one claim and one network; without a finding, a number beside those of another network."""

    text: str
    finding: Finding | None = None


# ---- claims by networks -----------------------------------------------------------------------------------


def network(finding: Finding) -> str:
    """The network that a finding is about; for one about several, its own phrase."""
    return finding.subject.partition(", ")[0]


def of_network(findings: list[Finding], name: str) -> Finding | None:
    """The finding that stands for a network: of the headline's measure, the first that decides; else the first.

    Where findings that decide contradict each other, the first of all, as the judge ordered them.
    """
    alike = [f for f in findings if f.measure == findings[0].measure]
    # A network with an addition, such as "plain, random labels", counts where the headline is about such a one.
    plainly = findings[0].subject == network(findings[0])
    own = [f for f in alike if (f.subject if plainly else network(f)) == name]
    decided = [f for f in own if f.verdict != Verdict.INCONCLUSIVE]
    if decided and len({f.verdict for f in decided}) == 1:
        return decided[0]
    return own[0] if own else None


def told(findings: list[Finding], labels: dict[str, str]) -> list[Finding]:
    """What a claim is said by in short: the finding that stands for each network; the headline where there is none."""
    names = list(style.styles({network(f) for f in findings} & set(labels)))
    own = (of_network(findings, name) for name in names)
    return [finding for finding in own if finding is not None] or findings[:1]


def called(name: str, labels: dict[str, str]) -> str:
    """A network in a word or two: its short label where it has one, else its name."""
    label = short(labels.get(name, name))
    return label if len(label) <= LONGEST_LABEL and "," not in label else name


def columns(judged: Judged, labels: dict[str, str]) -> list[str]:
    """The networks that the findings are about, in the order of the figures' legends.

    The kinds of block of the default ladder and users' own; the suite's others where there are not two of these.
    """
    alike = [f for _, found in judged for f in found if f.measure == found[0].measure]
    twins = {row.subject for f in alike for row in f.details if isinstance(row, SeedRow | TwinRow)}
    named = ({network(f) for f in alike} | twins) & set(labels)
    main = [name for name in named if name in list(style.STYLES)[:3] or name not in style.STYLES]
    return list(style.styles(main if len(main) > 1 else named))[:MOST_COLUMNS]


def cell(findings: list[Finding], name: str) -> Cell | None:
    """What a claim's findings say of a network; None where they say nothing."""
    finding = of_network(findings, name)
    if finding is not None:
        alike = [f for f in findings if (f.subject, f.measure) == (finding.subject, finding.measure)]
        # Other lengths may say other things: then the cell says which it is of.
        several = finding.steps and len({f.steps for f in alike if f.steps}) > 1
        text = in_a_word(finding)
        return Cell(text if text == NOTHING or not several else f"{text}, {finding.steps} steps", finding)
    # Beside a net that was judged, its twin, which the finding rests on.
    for found in findings:
        rows = [row for row in found.details if isinstance(row, SeedRow | TwinRow) and row.subject == name]
        if rows:
            return Cell(f"({_rows(rows)})")
    return None


def _rows(rows: list[Any]) -> str:
    """Errors of nets of the deepest depth in a word."""
    deepest = [row for row in rows if row.depth == max(row.depth for row in rows)]
    errors = [row.error for row in deepest if not row.lost and row.error == row.error]
    return f"{number(100 * sum(errors) / len(errors), 2)} %" if errors else "diverged"


def in_a_word(finding: Finding) -> str:
    """The number that a verdict rests on, or what became of the nets, in a word; a dash where it rests on none."""
    if finding.reason.startswith(NEVER):
        return "too shallow"
    rows = finding.details
    lesions = [row for row in rows if isinstance(row, LesionRow)]
    if lesions:
        deepest = max(lesions, key=lambda row: row.depth)
        return f"{number(deepest.effective_depth)} of {deepest.depth}"
    harm = [row.high for row in rows if isinstance(row, HarmRow)]
    if finding.verdict == Verdict.SUPPORTED and harm:
        return f"at most {short_effect(finding.but(effect=max(harm)))}"  # of no one depth
    if finding.effect is not None:
        open_ends = (
            [row for row in rows if isinstance(row, DepthRow)][-1:] if finding.verdict == Verdict.INCONCLUSIVE else []
        )
        slow = not finding.more_seeds and any(row.convergence == "not converged" for row in open_ends)
        return f"{short_effect(finding)}{' error' * (finding.unit == '%')}{', still learning' * slow}"
    if any(isinstance(row, GrowthRow) and row.change > SAME_FUNCTION for row in rows):
        return "changes"
    twins = [row for row in rows if isinstance(row, TwinRow) and row.subject == network(finding)]
    if twins:
        text = _rows(twins)
        return f"{text}{' error' * text.endswith('%')}"
    deep = [row for row in rows if hasattr(row, "depth")]
    last = max(deep, key=lambda row: row.depth, default=None)
    if last is not None and last.lost and not isinstance(last, ArmRow):
        return f"{'diverges' if getattr(last, 'diverged', 0) else 'fails'} at {last.depth:g}"
    return "1\u00a0seed" if finding.n == 1 else NOTHING


def matrix(judged: Judged, labels: dict[str, str]) -> Matrix:
    """The table of the first screen: a row a claim, a column a network."""
    names = columns(judged, labels)
    rows = []
    for claim, found in judged:
        cells = [_view(cell(found, name), labels) for name in names]
        if not any(cells):
            rows.append(MatrixRow(claim, all=_view(Cell(in_a_word(found[0]), found[0]), labels)))
        else:
            rows.append(MatrixRow(claim, cells))
    heads = [Head(called(name, labels), f"var(--c{look.color[1:]})") for name, look in style.styles(names).items()]
    return Matrix(heads, rows)


def _view(shown: Cell | None, labels: dict[str, str]) -> Pill | None:
    if shown is None:
        return None
    if shown.finding is None:
        return Pill(shown.text)
    verdict, reason = shown.finding.verdict, sentence(verdicts.named(shown.finding.reason, labels))
    return Pill(shown.text, verdicts.SYMBOLS[verdict], str(verdict), reason)


# ---- the message ------------------------------------------------------------------------------------------


def headline(source: Source, judged: Judged, labels: dict[str, str]) -> str:
    """The page's message: what the first claims of `CLAUSES` that are decided say; the study's title if none is."""
    trials = source.frames.trials
    if len(trials) and not trials["status"].isin(["ok", "diverged"]).any():
        return f"Nothing can be said: all {len(trials)} trials failed"
    if not judged:
        return _beside_the_document(source) or source.study.title
    clauses: list[str] = []
    for claim, found in ranked(judged):
        if claim.glance == "table" and (said := survival.message(found)):
            return said
        said = _clause(claim, found, columns(judged, labels), labels)
        if said and not (clauses and OPEN in said):
            clauses.append(said)
        # One that says of each network what became of it needs no second one.
        if len(clauses) == MOST_CLAUSES or (said and (OPEN in said or claim.id == "thousand-layers")):
            break
    if not clauses:
        if len(judged) == 1:
            return f"Not decided here: {_lower(judged[0][0].title)}"
        seeds = trials["seed"].nunique()
        few = "One seed decides" if seeds == 1 else "Two seeds decide" if seeds == 2 else ""
        if few:
            return f"{few} none of these {len(judged)} claims: {verdicts.LEAST_SEEDS} seeds are needed"
        return f"None of these {len(judged)} claims is decided by these records"
    words = "; ".join(clauses)
    words = f"at one learning rate, {words}" if one_rate(source) else words
    return words[:1].upper() + words[1:]


def _beside_the_document(source: Source) -> str:
    """The test accuracy of the document's own network on all of its data, and the document's; else empty."""
    ours = beside.test_accuracy(source.frames, source.study.name)
    if not ours:
        return ""
    theirs = beside.DOCUMENT_TEST_ACCURACY
    return f"The document's network reaches a test accuracy of {ours}; the document says {number(theirs, 5)}"


def message_claim(judged: Judged) -> tuple[Claim, list[Finding]] | None:
    """The claim that the message is about: the first with a finding that decides, else the first."""
    order = ranked(judged)
    decided = (pair for pair in order if any(f.verdict != Verdict.INCONCLUSIVE for f in pair[1]))
    return next(decided, order[0] if order else None)


def ranked(judged: Judged) -> Judged:
    """The claims in the order in which a headline looks for one that is decided."""
    order = list(CLAUSES)
    return sorted(judged, key=lambda pair: order.index(pair[0].id) if pair[0].id in order else len(order))


def _clause(claim: Claim, found: list[Finding], names: list[str], labels: dict[str, str]) -> str:
    """What a claim's decided cells say; empty where none is decided, or it is about no one network."""
    by: dict[Verdict, list[str]] = {verdict: [] for verdict in Verdict}
    depth = ""
    for name in names:
        finding = of_network(found, name)
        if finding is not None and finding.subject == name and not finding.reason.startswith(NEVER):
            by[finding.verdict].append(name)
            depths = [row.depth for row in finding.details if isinstance(row, SeedRow)]
            depth = depth or (str(max(depths)) if depths else "")
    texts = CLAUSES.get(claim.id, ("{nets}: " + _lower(claim.title), "{nets}: refuted, " + _lower(claim.title)))
    if not any(by.values()) and found[0].verdict != Verdict.INCONCLUSIVE and "{nets}" not in texts[0]:
        return texts[found[0].verdict == Verdict.REFUTED]
    said = [
        text.format(nets=_nets(by[verdict], labels), depth=depth)
        for verdict, text in zip((Verdict.SUPPORTED, Verdict.REFUTED), texts, strict=True)
        if by[verdict]
    ]
    if not said:
        return ""
    if len(said) == 2 and "{depth}" in texts[1]:
        said[1] = said[1].partition(" layers ")[2]
    twins = [n for n in names if not any(n in group for group in by.values()) and _twin_lost(found, n)]
    said += [f"for {_nets(by[Verdict.INCONCLUSIVE], labels)} {OPEN}"] if by[Verdict.INCONCLUSIVE] else []
    how = UNSTARTABLE if any(OVERFLOWS in f.beside for f in found) else "diverge"
    said += [f"{_nets(twins, labels)} {how}"] if twins else []
    return ", ".join(said)


def _twin_lost(found: list[Finding], name: str) -> bool:
    shown = cell(found, name)
    return shown is not None and shown.finding is None and shown.text == "(diverged)"


def _nets(names: list[str], labels: dict[str, str]) -> str:
    """ "post- and pre-activation nets"; a network that is no kind of block by its own name."""
    words = [called(name, labels) for name in names]
    ends = [word.partition("-")[2] for word in words]
    if len(words) > 1 and ends[0] and len(set(ends)) == 1:
        words = [*[word.partition("-")[0] + "-" for word in words[:-1]], words[-1]]
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"{listed} nets"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


# ---- which trials the main figure shows -------------------------------------------------------------------


def panels(frames: Frames, judged: Judged, labels: dict[str, str]) -> list[Panel]:
    """The settings that the headline's claim was decided in: title, trials and cells of each, the fullest first.

    Each shows every network that a finding on training errors looked at in that setting: the study that decides,
    not the first of several. Empty where no claim about errors is judged.
    """
    names = columns(judged, labels)
    about = [(claim, found) for claim, found in ranked(judged) if claim.glance == "errors"]
    chosen: list[tuple[str, str]] = []
    for _, found in about:
        cells = [f for f in (of_network(found, name) for name in names) if f is not None and f.trials]
        cells = [f for f in cells if f.verdict != Verdict.INCONCLUSIVE] or cells
        chosen = list(dict.fromkeys((f.study, f.setting) for f in cells))[:MOST_PANELS]
        if chosen:
            break
    drawn = []
    for study, setting in chosen:
        looked = [
            f for _, found in about for f in found
            if (f.study, f.setting) == (study, setting) and f.measure == "train_error" and f.subject in names
        ]  # fmt: skip
        trials = frames.trials[frames.trials["digest"].isin({digest for f in looked for digest in f.trials})]
        # More than one rate or length a net would draw two lines as one.
        trials = trials[~with_random_labels(trials)]
        if len(trials) and not (trials.groupby(["architecture", "depth"])[["lr", "epochs"]].nunique() > 1).any(
            axis=None
        ):
            drawn.append((after(trials), trials, summarize(trials)))
    return sorted(drawn, key=lambda panel: (-len(panel[2]), float(panel[1]["steps_planned"].max())))


def after(trials: pd.DataFrame) -> str:
    """What a panel of the main figure is headed: how long its nets were trained."""
    steps = trials["steps_planned"].dropna()
    return f"After {int(steps.max()):,} steps".replace(",", " ") if len(steps) else ""
