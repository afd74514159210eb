"""The table of docs/what-was-found.md: each claim and network with the study that judged it, steps, rates and verdict.

Made from the published records, so that no verdict is copied by hand. It judges nothing.
"""

from collections.abc import Iterable

from reports.claims import CLAIMS
from reports.finding import Finding
from reports.page import first, verdicts
from reports.page.context import Source
from reports.page.words import NOTHING, effect

# The table stands between these lines of the page.
BEGIN, END = "<!-- table: python -m reports --published -->", "<!-- end of table -->"


def table(published: Iterable[tuple[Source, str]]) -> str:
    """Markdown, a row for each claim, network and published study, in the order of the claims.

    Args:
        published: What a page was made from, and the page's file name.
    """
    order, rows = list(CLAIMS), []
    for source, page in published:
        names = verdicts.labels(source.frames)
        for claim, findings in verdicts.judged_here(source.study, source.findings):
            told = first.told(findings, names)
            rows += [(order.index(claim.id), _row(source, page, finding, names)) for finding in told]
    columns = ("claim", "about", "study", "steps", "seeds", "rates", "verdict")
    head = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    return "\n".join([*head, *(row for _, row in sorted(rows, key=lambda row: row[0]))])


def _row(source: Source, page: str, finding: Finding, names: dict[str, str]) -> str:
    said = " ".join(filter(None, (verdicts.SYMBOLS[finding.verdict], effect(finding))))
    link = f"[{source.study.name}](../reports/published/{page})"
    seeds = str(finding.n) if finding.steps else NOTHING
    about, steps = str(verdicts.subject(finding.subject, names)), str(finding.steps or NOTHING)
    return f"| {' | '.join((finding.claim, about, link, steps, seeds, _rates(source, finding), said))} |"


def _rates(source: Source, finding: Finding) -> str:
    """Where the learning rates of the nets judged are from."""
    search, trials = source.frames.search, source.frames.trials
    if search["digest"].isin(finding.trials).any():
        return "the search itself"
    judged = trials[trials["digest"].isin(finding.trials)]
    if judged.empty:
        return NOTHING
    if (judged["lr_from"] != "study").any():
        return "a search on other seeds"
    every = trials[trials["study"].isin(judged["study"])]
    return "the best of a grid" if every["lr"].nunique() > 1 else f"one: {every['lr'].iloc[0]:g}"


def inserted(page: str, made: str) -> str:
    """The page with this table between its two lines.

    Raises:
        ValueError: It lacks them.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no place for the table: {BEGIN} and {END} are not in the page")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"
