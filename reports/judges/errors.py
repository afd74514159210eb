"""Judges that compare errors over depth: they cut ladders out of the frames and apply `rules`.

Which of a study's records a claim may be judged on is decided here; which studies', in `claims`; by which thresholds,
in `rules`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from models.layouts import CONVOLUTIONAL
from reports.finding import ArmRow, Finding, Row, Searched, TrainedRow, Verdict
from reports.judges import beside, rules
from reports.judges import thousand as thousand_layers
from reports.judges.ladders import LEAST_SEARCHED, Choice, Ladder, ladders, tuned
from reports.judges.pairs import at_its_rate
from results.tables import Frames, with_random_labels

MEASURES = ("train_error", "test_error")

# The document's block first, pre-activation beside it; then what a user brings along.
RESIDUAL = ("resnet", "preact", "document")

Rule = Callable[[str, str, Ladder], Finding]


@dataclass(frozen=True)
class Deciding:
    """The studies whose records a claim is judged on, out of its row in `claims.CLAIMS`.

    Attributes:
        studies: Those that decide it, the most decisive first; the last is the one to send a reader to.
        aside: Those that decide a question beside it, where it has one.
        every: Those that were built to decide any claim; on any other claim they do not speak.
    """

    studies: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    every: frozenset[str] = frozenset()

    @property
    def study(self) -> str:
        """The study to run for an answer; empty where none is named."""
        return self.studies[-1] if self.studies else ""

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of the studies that decide the claim; when there are none, those of studies that decide no other.

        So a user's own study, or one on another data set, gives an answer to every claim that its records can feed.
        """
        return self._of(frame, self.studies)

    def rows_aside(self, frame: pd.DataFrame) -> pd.DataFrame:
        """As `rows`, for the question beside the claim."""
        return self._of(frame, self.aside)

    def _of(self, frame: pd.DataFrame, studies: tuple[str, ...]) -> pd.DataFrame:
        named = frame["study"].isin(studies)
        return frame[named] if named.any() else frame[~frame["study"].isin(self.every)]


def convolutional(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials with convolutions among the `usual` ones: what most claims are about."""
    known = usual(trials)
    return known[known["layout"].isin(CONVOLUTIONAL)]


def usual(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials on true labels, without controls."""
    random = with_random_labels(trials)
    return trials[~random & (trials["clip_norm"] == 0) & (trials["grow_to"] == "")]


def residual(trials: pd.DataFrame) -> list[str]:
    """Residual architectures to judge, the document's first, then every other one that was tried, a user's own too."""
    tried = set(trials.loc[trials["residual"], "architecture"])
    return [*RESIDUAL, *sorted(tried - set(RESIDUAL))]


def headline_first(claim: str, findings: list[Finding], deciding: Deciding, subject: str) -> list[Finding]:
    """Sorts by study (the most decisive first), training before test error, the most steps first, subject as given.

    Where the document's own subject was not tried, a finding says so in its place.
    """
    rank = {name: i for i, name in enumerate(deciding.studies)}
    ordered = sorted(
        findings, key=lambda f: (rank.get(f.study, len(rank)), f.measure != "train_error", -(f.steps or 0))
    )
    mine = [f for f in ordered if f.subject == subject]
    if not mine:
        return [nothing(claim, subject, deciding.study, bool(findings)), *ordered]
    return [mine[0], *(f for f in ordered if f is not mine[0])]


def nothing(claim: str, subject: str, study: str, others: bool = False, measure: str = "train_error") -> Finding:
    """No records to judge on: never a skipped line."""
    what = f"{subject!r} was not tried here" if others else "no records to judge on"
    return Finding(claim, subject, measure, Verdict.INCONCLUSIVE, f"{what}: study {study!r} decides this claim")


def apply(
    claim: str,
    rule: Rule,
    at_best: tuple[pd.DataFrame, list[Choice]],
    subjects: Sequence[str],
    one_depth: bool = False,
) -> list[Finding]:
    """A rule on every ladder of these subjects, training and test error apart.

    Args:
        at_best: What `tuned` says of the trials.
        one_depth: Whether the rule looks at one depth only; else ladders of one are left out where others have more.
    """
    best, searched = at_best
    of_measure = {measure: ladders(best, measure, subjects) for measure in MEASURES}
    found = []
    for subject in subjects:
        for measure in MEASURES:
            every = [ladder for ladder in of_measure[measure] if ladder.subject == subject]
            several = [ladder for ladder in every if one_depth or len(ladder.depths) > 1]
            for ladder in several or every:
                finding = rule(claim, measure, ladder)
                used = [one for one in searched if one.trials <= set(finding.trials)]
                own = any(one.architecture == ladder.subject for one in used)
                found.append(finding.but(setting=search_setting(ladder, own), details=_with_lr(finding, used)))
    return found


def search_setting(ladder: Ladder, searched: bool) -> str:
    """A ladder's setting, and where its learning rates are from, as findings print it."""
    rates = "each depth at its own best lr" if searched else ""
    if ladder.rates < LEAST_SEARCHED and ladder.lr_from == "study":
        rates = "one learning rate"
    return ", ".join(filter(None, (ladder.setting, rates)))


def _with_lr(finding: Finding, used: Sequence[Choice]) -> tuple[Row, ...]:
    """The rows looked at, each with the search for its own net's rate; a twin's rows name the twin."""
    rates = {(one.architecture, one.depth): one.searched for one in used}

    def searched(row: TrainedRow) -> Searched | None:
        return rates.get((row.subject if isinstance(row, ArmRow) else finding.subject, row.depth))

    return tuple(
        replace(row, searched=searched(row)) if isinstance(row, TrainedRow) else row for row in finding.details
    )


def no_harm(frames: Frames, deciding: Deciding) -> list[Finding]:
    """`residual-no-harm`: see `rules.no_harm`."""
    claim = "residual-no-harm"
    trials = deciding.rows(convolutional(frames.trials))
    at_best = tuned(trials)
    found = apply(claim, harm_beside(at_best[0]), at_best, residual(trials))
    found += _against_resnet(claim, at_best[0])
    return headline_first(claim, found, deciding, "resnet")


def harm_beside(best: pd.DataFrame) -> Rule:
    """`rules.no_harm`, which other nets among these trials may show to be a test that can fail."""
    every = ladders(best, "train_error")

    def rule(name: str, measure: str, ladder: Ladder) -> Finding:
        # Of as many steps at least: what fails after more of them fails after fewer.
        others = [
            o for o in every
            if o.study == ladder.study and o.subject != ladder.subject and (o.steps or 0) >= (ladder.steps or 0)
        ]  # fmt: skip
        return rules.no_harm(name, measure, ladder, others)

    return rule


def _against_resnet(claim: str, best: pd.DataFrame) -> list[Finding]:
    """Every other residual net beside the document's, of the same study and recipe, at equal depth; see `beside`."""
    found = []
    for measure in MEASURES:
        originals = ladders(best, measure, ["resnet"])
        for mine in ladders(best, measure, [name for name in residual(best) if name != "resnet"]):
            for original in originals:
                if (original.study, original.setting) == (mine.study, mine.setting):
                    finding = beside.no_worse(claim, measure, [(mine, original)])[0]
                    subject = f"{mine.subject}, against {original.subject}"
                    found.append(finding.but(subject=subject, setting=search_setting(mine, mine.rates > 1)))
    return found


def degrades(frames: Frames, deciding: Deciding) -> list[Finding]:
    """`plain-degrades`: see `rules.degrades`; at each depth's own best learning rate where a study tried several.

    The headline's reason names what the verdict depends on: clipping, initialisation.
    """
    claim = "plain-degrades"
    trials = deciding.rows(convolutional(frames.trials))
    found = headline_first(claim, apply(claim, rules.degrades, tuned(trials), ["plain"]), deciding, "plain")
    controls = _controls(claim, frames.trials)
    told = [f"{f.subject}: {f.verdict}" for f in controls]
    if told:
        cost = _search_cost(found[0])
        others = {f.verdict for f in controls} - {found[0].verdict}
        if found[0].verdict == Verdict.INCONCLUSIVE:
            depends = "Tried as well"  # what is open there does not show that nothing matters
        elif not others:
            depends = "The same under all else that was tried"
        elif others == {Verdict.INCONCLUSIVE}:
            depends = "Not shown under everything that was tried"
        else:
            depends = "It depends on what is tried"
        found[0] = found[0].but(reason=f"{found[0].reason}{cost}. {depends}: {'; '.join(told)}")
    return [*found, *controls]


def _search_cost(finding: Finding) -> str:
    found = [row.searched for row in finding.details if isinstance(row, TrainedRow) and row.searched]
    if not found:
        return ""
    times = sum(one.search_seconds for one in found) / max(sum(one.chosen_seconds for one in found), 1e-9)
    return f" (the search for learning rates took {times:.1f} times the training)" if times > 0 else ""


def _controls(claim: str, trials: pd.DataFrame) -> list[Finding]:
    """Plain nets with gradient clipping, and with an initialisation that keeps signals as they are."""
    usual = ~with_random_labels(trials) & trials["layout"].isin(CONVOLUTIONAL)
    found = []
    clipped = trials[usual & (trials["architecture"] == "plain") & (trials["clip_norm"] > 0)]
    for clip, rows in clipped.groupby("clip_norm"):
        name = f"plain, clipped at {clip:g}"
        found += [f.but(subject=name) for f in apply(claim, rules.degrades, tuned(rows), ["plain"])]
    for name in sorted(trials.loc[usual & ~trials["residual"], "architecture"].unique()):
        if name != "plain":
            rows = trials[usual & (trials["architecture"] == name)]
            found += apply(claim, rules.degrades, tuned(rows), [name])
    return [f for f in found if f.measure == "train_error"]


def thousand(frames: Frames, deciding: Deciding) -> list[Finding]:
    """`thousand-layers`: see `thousand.trains`; the plain twin is the one of the same study and recipe."""
    claim = "thousand-layers"
    trials = deciding.rows(convolutional(frames.trials))
    at_best = tuned(trials)
    plain = ladders(at_best[0], "train_error", ["plain"])

    def rule(name: str, measure: str, ladder: Ladder) -> Finding:
        same = [p for p in plain if (p.study, p.setting) == (ladder.study, ladder.setting)]
        found = thousand_layers.trains(name, measure, ladder, next(iter(same), None))
        return found.but(beside=at_its_rate(ladder, plain))

    found = apply(claim, rule, at_best, residual(trials), one_depth=True)
    # The claim is about training only: "easy to train".
    return headline_first(claim, [f for f in found if f.measure == "train_error"], deciding, "resnet")


def better(frames: Frames, deciding: Deciding) -> list[Finding]:
    """`deeper-is-better`: see `rules.better`, for each family; and how fast random labels are fitted."""
    claim = "deeper-is-better"
    trials = deciding.rows(convolutional(frames.trials))
    found = apply(claim, rules.better, tuned(trials), [*residual(trials), "plain"])
    return headline_first(claim, found, deciding, "resnet")
