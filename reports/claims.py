"""The document's claims, each with its source, its rule and its judge.

The table is read top to bottom; the judges are in the modules beside this one. A claim is judged on the nets
that the studies trained, never on fresh ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

from reports.finding import Finding, Verdict
from results.tables import Frames

__all__ = ["CLAIMS", "Claim", "Finding", "Verdict", "judge"]


@dataclass(frozen=True)
class Claim:
    """A row of `CLAIMS`.

    Attributes:
        id: As in the document's list.
        title: A few words for a card's head.
        sentence: What the document says, in our words.
        source: Where it says so, and who said it first.
        rule: The thresholds in words: what would support and what would refute it.
        studies: Built-in studies that decide it, the most decisive first; the last is the one to send a reader to.
        judge: From all frames to findings; the first one is the headline (the document's block, training error).
    """

    id: str
    title: str
    sentence: str
    source: str
    rule: str
    studies: tuple[str, ...]
    judge: Callable[[Frames], list[Finding]]

    @property
    def study(self) -> str:
        """The study to run for an answer."""
        return self.studies[-1]


def _not_yet(claim: str, study: str) -> Callable[[Frames], list[Finding]]:
    def judge(frames: Frames) -> list[Finding]:
        return [Finding(claim, "resnet", "train_error", Verdict.INCONCLUSIVE, f"no records yet: run study {study}")]

    return judge


CLAIMS: dict[str, Claim] = {
    row.id: row
    for row in (
        Claim(
            "residual-no-harm",
            "More residual layers do no harm",
            "Adding layers must at least not make the model worse; the residual block achieves it.",
            "the document; He et al. 2015, section 4.2",
            "…",
            ("digits-long", "digits"),
            _not_yet("residual-no-harm", "digits"),
        ),
    )
}


def judge(frames: Frames, only: tuple[str, ...] = ()) -> dict[str, list[Finding]]:
    """Every claim's findings, in the order of `CLAIMS`.

    Args:
        frames: All tables of a study.
        only: Ids of the claims to judge; empty means all.
    """
    return {name: claim.judge(frames) for name, claim in CLAIMS.items() if not only or name in only}
