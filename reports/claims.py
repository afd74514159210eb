"""The document's claims, and two questions of the suite's own, each with its source, its rule and its judge.

The table is read top to bottom; the judges are in `judges/`, their numbers in `protocol`. A claim
is judged on the nets that the studies trained, never on fresh ones.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from bench.plan.rates import LEAST
from reports.finding import Finding, GrowthRow, Verdict, percent, points
from reports.judges import compare, costs, designs, errors, growth, inside, labels, looks, overflow, transfers
from reports.judges.errors import Deciding
from reports.protocol import DEEP, FITTED, FLAT, LASTS, MARGIN, NOT_TRAINED, SAME_FUNCTION, SMALL, TRAINED
from results import stats
from results.convergence import LEAST_RATE, LEVEL, MOST_ABOVE_BEST
from results.tables import Frames

__all__ = ["CLAIMS", "Claim", "Finding", "Verdict", "judge"]


@dataclass(frozen=True)
class Claim:
    """A row of `CLAIMS`.

    Attributes:
        id: As in the document's list, or the suite's own.
        title: A few words for a card's head.
        sentence: What the document says, in our words.
        source: Where it says so, and who said it first.
        rule: The thresholds in words: what would support and what would refute it.
        studies: Built-in studies that decide it, the most decisive first; the last is the one to send a reader to.
        judge: From all frames, and the studies to look at, to findings; the first one is the headline (the document's
            block, training error).
        aside: Built-in studies that decide a question beside it.
        figures: Keys of `results.figures.table.FIGURES` that it is read from, beside the figure of its judged numbers.
        glance: What its card's small figure draws: the numbers judged, or the errors or costs themselves; of a "table",
            which stands on the first screen with its figure, nothing.
        arms: Architectures in that figure, where it draws errors.
        by_name: Judged on the page of a study that names it only; others answer nearly the same by another claim.
    """

    id: str
    title: str
    sentence: str
    source: str
    rule: str
    studies: tuple[str, ...]
    judge: Callable[[Frames, Deciding], list[Finding]]
    aside: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    glance: Literal["judged", "errors", "costs", "table"] = "judged"
    arms: tuple[str, ...] = ()
    by_name: bool = False

    @property
    def study(self) -> str:
        """The study to run for an answer."""
        return self.studies[-1]


# The source of a question that is none of the document's claims.
OWN_QUESTION = "a question of the suite's own"

_TRIED = f"Never tried at {DEEP} layers or more: inconclusive."
_ONE_RATE = "A ladder tried at one learning rate refutes nothing: inconclusive."
_BADLY = (
    "A net counts as bad only if three things hold. (1) Its best learning rate lies inside the range tried. If it "
    'is still at chance at the rate with the lowest loss, no best rate was found. "No rate trains it" needs a search '
    f"that went down to its last rate above {LEAST:.5f}, where the net guesses without diverging. (2) It has "
    f"converged: its mean running error fell by less than {points(LEVEL)} in the last epoch, and in the last "
    f"epoch that ends at {100 * LEAST_RATE:.0f} % of the peak rate or more. It is unstable if a seed ends more than "
    f"{points(MOST_ABOVE_BEST)} above its best epoch. (3) The gap lasts: it was measured after N, 2N and 4N steps, its "
    f"lower bound at 4N is above {points(MARGIN)}, and it is at least {100 * LASTS:.0f} % of the gap at N. Otherwise: "
    "inconclusive. A net that diverges at every rate counts as bad at once, if the search went that low, or down "
    "to a rate at which even the shallowest net does not train. So one number of steps is enough to show that nets do "
    "well. To show that they do badly, three are needed."
)
_FAILS = f"do not train (above {percent(NOT_TRAINED)} on average, or a seed diverged or failed)"
_NO_REFERENCE = f"If even 18 layers {_FAILS}: inconclusive."
_BOUND = (
    "one-sided bound, seeds paired, at the level for this number of seeds; for test errors it includes the sampling of "
    "the test set"
)

# Seeds and levels of the looks, for readers.
LOOKED = (
    f"Looks at {', '.join(map(str, stats.LOOKS))} seeds, at one-sided levels of "
    f"{', '.join(f'{100 * level:.3g}' for level in stats.LOOKS.values())} % ({100 * stats.ALPHA:.0f} % in all): "
    "the first that decides stands."
)


def _deeper(frames: Frames, deciding: Deciding) -> list[Finding]:
    return [*errors.better(frames, deciding), *labels.random_labels(frames, deciding)]


CLAIMS: dict[str, Claim] = {
    row.id: row
    for row in (
        Claim(
            "residual-no-harm",
            "More residual layers do no harm",
            "Adding layers must at least not make the model worse; the residual block achieves it.",
            "the document; He et al. 2015, section 4.2",
            "Supported: at every deeper depth, the upper bound of the error above 18 layers' is under "
            f"{points(MARGIN)} ({_BOUND}). Refuted: at some depth the error is more than this margin above "
            f"theirs (Holm over depths), or most seeds diverged. {_BADLY} {_ONE_RATE} {_NO_REFERENCE} {_TRIED} Where "
            f"all errors are under {points(MARGIN)}, support also needs another net of the study that fails this test "
            "after as many steps or more: then the test could have failed.",
            ("digits-long", "digits-lr", "digits"),
            errors.no_harm,
            figures=("train-error-by-depth", "test-error-by-depth"),
            glance="errors",
            arms=("resnet", "preact"),
        ),
        Claim(
            "plain-degrades",
            "Plain nets degrade with depth",
            "As a network gets deeper, training can go astray: performance may not rise.",
            "the document; He et al. 2015, figure 1",
            "Supported: the trend test of E. B. Page over depth gives p under 0.05 (exact, seeds as blocks, errors "
            f"within {points(MARGIN)} of each other tied, failures tied at the worst rank), and the deepest is more "
            f"than {points(MARGIN)} worse than 18 layers ({_BOUND}) or mostly diverged. Refuted: no depth is that much "
            "worse, by the upper bound, and 18 layers are at their best rate where they err by more. Where rates were "
            "searched, each depth stands at its own best. "
            f"{_BADLY} {_ONE_RATE} If even 18 layers {_FAILS}, or never tried at {DEEP} layers or more: never refuted.",
            ("digits-plain", "digits-long", "digits-lr", "digits"),
            errors.degrades,
            figures=("train-error-by-depth", "learning-rates", "gradient-norms"),
            glance="errors",
            arms=("plain",),
        ),
        Claim(
            "thousand-layers",
            "A thousand layers train",
            "Residual blocks make very deep networks easy to train, even a thousand layers.",
            "the document; He et al. 2015, section 4.2; He et al. 2016",
            f"Supported: at about 1000 layers the training error is at most {percent(TRAINED)} in all seeds, and so "
            f"is the upper bound of its mean; the plain twin, of the same recipe, stays above {percent(NOT_TRAINED)} "
            f"in all. Refuted: most seeds, and the mean by its bound, stay above {percent(TRAINED)}, or "
            "the plain twin trains as well. "
            f"{_BADLY} {_ONE_RATE}",
            ("digits-long", "digits"),
            errors.thousand,
            figures=("train-error-by-depth", "loss-curves"),
            glance="errors",
            arms=("plain", "resnet", "preact"),
        ),
        Claim(
            "cost-grows",
            "Cost grows with depth",
            "The overhead grows with depth.",
            "the document",
            "Supported: cost is a + b x depth, fitted on relative errors, with the 95 % interval of b above zero, and "
            f"its log-log slope above {FLAT}. Refuted: the slope is under it. {_TRIED}",
            ("digits",),
            costs.judge,
            figures=("step-time", "peak-memory", "energy", "accuracy-price"),
            glance="costs",
        ),
        Claim(
            "identity-growth",
            "A grown net starts as the same function",
            "If the new layer learns nothing, x still passes on: f(x) = x + g(x) enlarges the function class.",
            "the document; d2l.ai, section 8.6.1",
            f"Supported: blocks whose g is zero change no output by more than {SAME_FUNCTION:g} of the largest, and "
            f"after training on, the grown net's error is less than {points(MARGIN)} above the ungrown one's at each "
            f"step ({_BOUND}). Refuted: outputs change. A grown net that ends worse, or diverges, refutes nothing, "
            "since all are trained at one learning rate. Errors that are all at the floor support it where another "
            "net's growth fails the same test. Steps are judged up to the first grown net that ends above "
            f"{percent(TRAINED)}. Inconclusive where the first net does; and, if outputs do not change, where an "
            f"ungrown net fails or does, where all errors are equal or at the floor, or where no step reaches {DEEP} "
            "layers.",
            ("digits-growth",),
            growth.identity_growth,
        ),
        Claim(
            "small-net-first",
            "It fits a small net first",
            "Seen another way, the residual lets the model fit a small network first.",
            "the document; Veit et al. 2016",
            "Four parts, each with a verdict of its own by bounds over seeds; supported if all are, refuted if two "
            f"are. Single blocks: deleting one raises the error by less than {points(MARGIN)} on average, each block "
            f"counted by its share. Prefix nets: the effective depth is under {percent(SMALL)} of the depth. Path "
            f"length: paths of up to {percent(SMALL)} of the blocks bring 95 % of the gradient. Growth: the "
            "effective depth rises over epochs, from the first that all seeds have to the end. In nets of "
            f"{DEEP} layers or more, statistics re-estimated, that trained in all seeds to {percent(TRAINED)} test "
            "error (paths: training error); where none did: inconclusive. Plain nets are looked at in the deepest "
            "that did.",
            ("digits-long", "digits"),
            inside.small_net_first,
            figures=("lesions", "branch-ratio", "gradient-norms"),
        ),
        Claim(
            "shortcut-anywhere",
            "The shortcut can go anywhere",
            "The shortcut can be put anywhere, after a ReLU or after a convolution.",
            "the document; He et al. 2016, figure 4",
            f"Supported: at every depth, shallow and deep, each placement ends within {points(MARGIN)} of the "
            f"original ({_BOUND}). Refuted: at some depth one differs by more (Holm over placements and "
            "depths), or one of the two mostly diverges. What stands on the shortcut is judged in the same way, "
            f"apart. {_BADLY} {_ONE_RATE} {_TRIED}",
            ("digits-placements",),
            compare.anywhere,
            figures=("placements", "train-error-by-depth"),
        ),
        Claim(
            "conv-and-dense",
            "Convolutional and fully connected alike",
            "Residual networks shaped what came after, convolutional and fully connected alike.",
            "the document",
            f"Supported: fully connected residual nets of {DEEP} layers or more train to {percent(TRAINED)}, and the "
            f"plain twin is more than {points(MARGIN)} worse. Refuted: they end above that in most seeds, or the "
            f"plain twin is no worse than such a net at its best rate. {_BADLY} {_ONE_RATE} No harm, and "
            "degradation, of fully connected nets: by the first two rules.",
            ("digits-dense",),
            compare.conv_and_dense,
            figures=("other-settings",),
        ),
        Claim(
            "deeper-is-better",
            "Deeper is better",
            "Is a network better the deeper it is, and does a deeper one fit more complex problems?",
            "the document, as a question",
            f"Supported: the deepest net is better than 18 layers by more than {points(MARGIN)} ({_BOUND}). Refuted: "
            f"it is not, by the upper bound, or mostly diverges. {_BADLY} {_ONE_RATE} {_NO_REFERENCE} {_TRIED} Where "
            f"18 layers err by less than {points(MARGIN)} for sure, there is nothing to gain: inconclusive, unless "
            "the deepest is worse. Random labels are judged at whatever depths they were tried, to fewer layers "
            f"too: steps to fit {percent(1 - FITTED)} of them fall with depth (supported) by Page's test (p under "
            "the level for its number of seeds, nets that never fit ranked last); that they rise decides nothing at "
            "one rate.",
            ("digits-long", "digits"),
            _deeper,
            figures=("test-error-by-depth", "steps-to-fit"),
            glance="errors",
            arms=("plain", "resnet", "preact"),
            aside=("digits-random-labels",),
        ),
        Claim(
            transfers.CLAIM,
            "One learning rate serves every depth",
            "Is there a learning rate at which nets of every depth do as well as at their own best?",
            OWN_QUESTION,
            "Supported: at one of the rates tried, every depth's training error is less than "
            f"{points(MARGIN)} above that at each other rate (upper bounds, Bonferroni over rates), and some rate errs "
            "by as much somewhere, since else there is nothing to tell apart. Refuted: each "
            "rate leaves some depth more than that above (lower bounds, Bonferroni over depths), or most of its seeds "
            "diverged; a rate not tried at a depth counts as the next one towards that depth's best. The best rate "
            "tried has the lowest training loss. Judged on the search's seeds, where there is a search. A best rate "
            f"that may lie beyond what was tried, or fewer than two depths that train: inconclusive. {_TRIED}",
            ("digits-lr", "digits"),
            transfers.lr_transfers,
            figures=("best-rates", "learning-rates"),
        ),
        Claim(
            designs.CLAIM,
            "This design survives depth",
            "Which designs of a residual net keep the training error of the document's block at every depth tried?",
            OWN_QUESTION,
            "Each design beside the document's block, at equal depth, seeds paired; a fully connected one beside the "
            "fully connected block, where the study has it. Supported: at every depth tried with both, its training "
            f"error is less than {points(MARGIN)} above that of the block ({_BOUND}). Refuted: at some depth it is "
            "more than that above (Holm over all designs and depths of the table), or only this design mostly diverges."
            f" Where the block itself does not train, only a design that trains to {percent(TRAINED)} is no worse. "
            f"{_BADLY} {_ONE_RATE} {_TRIED}",
            ("designs",),
            designs.survive,
            figures=("best-rates", "train-error-by-depth"),
            glance="table",
            by_name=True,
        ),
    )
}


def judge(frames: Frames, only: tuple[str, ...] = ()) -> dict[str, list[Finding]]:
    """Every claim's findings, in the order of `CLAIMS`.

    Args:
        frames: All tables of a study.
        only: Ids of the claims to judge; empty means all.
    """
    by_look = looks.looks(frames)
    every = frozenset(study for claim in CLAIMS.values() for study in (*claim.studies, *claim.aside))
    return {
        name: [_told(finding, frames) for finding in _settled(claim, every, by_look)]
        for name, claim in CLAIMS.items()
        if not only or name in only
    }


def _settled(claim: Claim, every: frozenset[str], by_look: list[looks.Look]) -> list[Finding]:
    deciding = Deciding(claim.studies, claim.aside, every)
    return looks.settled(by_look, lambda frames: claim.judge(frames, deciding))


def _told(finding: Finding, frames: Frames) -> Finding:
    """A finding with what is said beside it, and judged by nobody."""
    beside = "; ".join(filter(None, (finding.beside, overflow.told(finding, frames))))
    return finding.but(failures=_failures(finding, frames), beside=beside)


def _failures(finding: Finding, frames: Frames) -> str:
    """How many seeds failed in the setting where most did, of the finding's own nets where it names them."""
    if any(isinstance(row, GrowthRow) for row in finding.details):
        return ""  # its trials are the nets to be grown: what became of the grown ones is told by the rows
    rows = frames.trials[frames.trials["digest"].isin(finding.trials)]
    own = rows[rows["architecture"] == finding.subject.partition(", ")[0]]
    rows = rows if own.empty else own
    if rows.empty:
        return ""
    # A setting for itself: trials at several rates are not several seeds.
    setting = ["architecture", "depth", "lr", "epochs"]
    cells = rows.assign(failed=rows["status"] != "ok").groupby(setting)["failed"].agg(["sum", "count"])
    failed, n = max(zip(cells["sum"], cells["count"], strict=True), key=lambda cell: (cell[0] / cell[1], -cell[1]))
    if failed == n:
        least = 1 - stats.most_failing(0, n)
        return f"in the worst setting {failed} of {n} seeds failed: the failure rate is at least {100 * least:.0f} %"
    most = stats.most_failing(int(failed), int(n))
    if not failed:
        seeds = f"{n} seeds" if n > 1 else "one seed"
        return f"no seed failed; with {seeds} the failure rate may still be up to {100 * most:.0f} %"
    return f"in the worst setting {failed} of {n} seeds failed: the failure rate may be up to {100 * most:.0f} %"
