"""Made-up studies whose answer is known, for every judge: what `planted` draws thousands of times each."""

from dataclasses import dataclass

from reports.finding import Verdict
from reports.judges.draws import (
    DEPTHS,
    NOISY,
    QUIET,
    SEEDS,
    Draw,
    alike,
    at_looks,
    benefit,
    better,
    cost,
    decay,
    degrades,
    designs,
    fitting,
    gap_at_a_quarter,
    grown,
    grown_at_the_floor,
    harm,
    means,
    no_harm,
    no_harm_by_curve,
    no_harm_in_doubt,
    rarely_fails,
    short,
    skewed,
    small,
    thousand_train,
    trains,
    tried,
    uneven,
)
from reports.judges.rates_truths import guessing, searched
from reports.protocol import MARGIN, NOT_TRAINED, SMALL, TRAINED


@dataclass(frozen=True)
class Truth:
    """A made-up world.

    Attributes:
        claim: Whose rule judges it.
        words: What is true in it.
        answer: The verdict that must come in `least` of the draws; None where the truth lies on the threshold, or
            against the claim, and the false verdict may come in `MOST_FALSE` of the draws only.
        draw: Makes one study and judges it.
        false: That verdict.
        least: Share of the draws, in 0..1.
    """

    claim: str
    words: str
    answer: Verdict | None
    draw: Draw
    false: Verdict = Verdict.SUPPORTED
    least: float = 0.9


# Around the depth at which trainability ends.
FINE = (18, 26, 34, 42, 50, 66, 130, 258, 1002)
_CLIFF = [0.02, 0.05, 0.10, 0.3, 0.5, 0.8, 0.9, 0.9, 0.9]
_CREEP = [0.05 + 0.1 * MARGIN * i for i in range(len(DEPTHS))]
_UNEVEN = (0.002, 0.0, 0.005, 0.01, 0.02, 0.05, 0.10)
_ONE_BIG = (0.002,) * 6 + (0.10,)
# What all depths are held against has its luck in all of the differences.
_ONLY_FIRST = (0.01,) + (0.0005,) * 6
_SMALL_UNEVEN = (0.0005, 0.0, 0.001, 0.002, 0.003, 0.005, 0.01)
# Plain nets whose error stands up to 130 layers, and jumps at 258.
_TO_258 = DEPTHS[:5]
_STEP = [0.05] * 4 + [0.35]
_CLIMB = [0.05] + [0.35] * (len(DEPTHS) - 1)
_UP = [0.05, 0.06, 0.08, 0.10, 0.12, 0.14]
S, R, I = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE  # noqa: E741

# Training errors by depth and rate.
_TWO_RATES = [[0.5, 0.05 + MARGIN, 0.05, 0.5], [0.5, 0.05, 0.05, 0.5], [0.5, 0.05, 0.05 + MARGIN, 0.5]]
_ONE_BEST = [[0.5, 0.15, 0.05, 0.5]] * 3
_LOW, _ONE_ENDS, _MOST_END = (1e-5, 1e-4, 1e-3, 0.01, 0.1), (False, False, True, False, False), (True,) * 4 + (False,)
_FALLING = [[0.5, 0.15, 0.05, 0.5], [0.5, 0.10, 0.10, 0.5], [0.5, 0.05, 0.15, 0.5]]

TRUTHS: tuple[Truth, ...] = (
    Truth("residual-no-harm", "the deepest is worse by the margin", None, no_harm(0.05 + MARGIN, NOISY)),
    Truth("residual-no-harm", "the same, at each look", None, at_looks(means(0.05, 0.05 + MARGIN), NOISY, harm)),
    Truth("residual-no-harm", "the same, at each look", None, at_looks(means(0.05, 0.05 + MARGIN), NOISY, harm), R),
    Truth(
        "residual-no-harm",
        "all equal, 0.5 points between seeds, at each look",
        S,
        at_looks([0.05] * 7, NOISY, harm),
    ),
    Truth(
        "residual-no-harm",
        "worse by the margin, on 360 test images",
        None,
        no_harm(0.05 + MARGIN, QUIET, images=360),
    ),
    Truth("residual-no-harm", "the same, on 10,000 test images", None, no_harm(0.05 + MARGIN, QUIET, images=10_000)),
    Truth("residual-no-harm", "all depths are equal, 0.2 points between seeds", S, no_harm(0.05, QUIET)),
    Truth("residual-no-harm", "the deepest is 10 points worse", R, no_harm(0.15, NOISY)),
    Truth("residual-no-harm", "the deepest diverges", R, no_harm(1.0, 0.0)),
    Truth("residual-no-harm", "the same, and its error stands still", R, no_harm_by_curve(0.0)),
    Truth("residual-no-harm", "the same, and its error falls by 3 points an epoch", I, no_harm_by_curve(0.03)),
    Truth("residual-no-harm", "the same, and a seed ends 5 points off its best", I, no_harm_by_curve(0.0, 0.05)),
    Truth("residual-no-harm", "the same, at the only rate tried", I, no_harm_in_doubt(tried(rates=1))),
    Truth("residual-no-harm", "the same, at the edge of five rates", I, no_harm_in_doubt(tried(rates=5))),
    Truth("residual-no-harm", "the same, at one number of steps", I, no_harm_in_doubt(short)),
    Truth("residual-no-harm", "10 points worse at N, 2N and 4N steps", R, gap_at_a_quarter(0.10)),
    Truth("residual-no-harm", "10 points worse at 4N, and 20 at N steps", I, gap_at_a_quarter(0.20)),
    Truth("residual-no-harm", "each worse by the margin, spread 0 to 10 points", None, uneven(MARGIN, _UNEVEN), R),
    Truth("residual-no-harm", "each worse by the margin, one spreads 10 points", None, uneven(MARGIN, _ONE_BIG), R),
    Truth(
        "residual-no-harm",
        "each worse by the margin, only 18 layers spread, at each look",
        None,
        at_looks([0.05] + [0.05 + MARGIN] * 6, _ONLY_FIRST, harm),
    ),
    Truth(
        "residual-no-harm",
        "each worse by the margin, only 18 layers spread, at each look",
        None,
        at_looks([0.05] + [0.05 + MARGIN] * 6, _ONLY_FIRST, harm),
        R,
    ),
    Truth("residual-no-harm", "deepest worse by the margin, spread 0 to 1 point", None, uneven(MARGIN, _SMALL_UNEVEN)),
    Truth("residual-no-harm", "deepest worse by the margin, seeds skewed", None, skewed(MARGIN)),
    Truth("residual-no-harm", "all equal, but one seed in ten fails deep", None, rarely_fails(0.1), R),
    Truth("residual-no-harm", "no depth trains at all", I, no_harm(0.9, NOISY, base=0.9)),
    Truth(
        "plain-degrades", "error rises, but only by the margin", None, degrades([*_UP[:1] * 6, 0.05 + MARGIN], NOISY)
    ),
    Truth("plain-degrades", "the same, at each look", None, at_looks(means(0.05, 0.05 + MARGIN), NOISY, decay)),
    Truth("plain-degrades", "all depths are equal", None, degrades(means(0.05, 0.05), NOISY)),
    Truth("plain-degrades", "all depths are equal, 0.2 points between seeds", R, degrades(means(0.05, 0.05), QUIET)),
    Truth("plain-degrades", "error rises to 14 points", S, degrades([*_UP, 0.14], NOISY)),
    Truth("plain-degrades", "it rises by a tenth of the margin a depth", None, degrades(_CREEP, 0.0005)),
    Truth("plain-degrades", "it trains up to 34 of nine depths, and not from 66 on", S, degrades(_CLIFF, NOISY, FINE)),
    Truth(
        "plain-degrades",
        "equal up to 130 layers, 30 points worse at 258",
        S,
        degrades(_STEP, 0.003, _TO_258),
        least=0.99,
    ),
    Truth("plain-degrades", "18 layers train, and all deeper ones stand 30 points worse", S, degrades(_CLIMB, NOISY)),
    Truth("plain-degrades", "the deepest three diverge", S, degrades([0.05, 0.1, 0.3, 0.9, 1, 1, 1], 0.0)),
    Truth("thousand-layers", "mean error on the threshold", None, trains(TRAINED, 0.9, 0.02)),
    Truth("thousand-layers", "the same, at each look", None, at_looks([TRAINED, 0.9], 0.02, thousand_train)),
    Truth("thousand-layers", "the same, at each look", None, at_looks([TRAINED, 0.9], 0.02, thousand_train), R),
    Truth("thousand-layers", "the plain twin's mean on its threshold", None, trains(0.05, NOT_TRAINED, 0.02)),
    Truth("thousand-layers", "5 % against 90 %", S, trains(0.05, 0.9, 0.01)),
    Truth("thousand-layers", "does not train", R, trains(0.6, 0.9, 0.02)),
    Truth("thousand-layers", "the plain twin trains as well", R, trains(0.05, 0.05, 0.01)),
    Truth("cost-grows", "the same at every depth, 3 % noise", None, cost(0.0, 0.03)),
    Truth("cost-grows", "1 ms per layer, 5 % noise", S, cost(0.001, 0.05)),
    Truth("cost-grows", "the same at every depth", R, cost(0.0, 0.03)),
    Truth("identity-growth", "the grown net is worse by the margin", None, grown(MARGIN, 1e-6, NOISY)),
    Truth("identity-growth", "neither outputs nor errors change", S, grown(0.0, 1e-6, QUIET)),
    Truth("identity-growth", "all errors are 0, and another net's growth fails", S, grown_at_the_floor(True)),
    Truth("identity-growth", "all errors are 0, and nothing failed", I, grown_at_the_floor(False)),
    Truth("identity-growth", "outputs change", R, grown(0.0, 0.01, QUIET)),
    Truth("small-net-first", "effective depth on the threshold", None, small(share=SMALL)),
    Truth("small-net-first", "rise by a lesion on the threshold", None, small(rise=MARGIN)),
    Truth("small-net-first", "length of paths on the threshold", None, small(path=SMALL)),
    Truth("small-net-first", "the effective depth does not grow", None, small(growth=0.0)),
    Truth("small-net-first", "a fifth of the depth counts, paths are short, and it grows", S, small()),
    Truth("small-net-first", "the same, but every lesion is felt", I, small(rise=0.3)),
    Truth("small-net-first", "every lesion is felt, and nine tenths count", R, small(share=0.9, rise=0.3)),
    Truth("shortcut-anywhere", "one placement is off by the margin, deep", None, alike(MARGIN, NOISY)),
    Truth("shortcut-anywhere", "all placements are alike", S, alike(0.0, QUIET)),
    Truth("shortcut-anywhere", "one is 20 points worse, deep", R, alike(0.2, NOISY)),
    Truth("conv-and-dense", "the plain twin is worse by the margin", None, benefit(0.05, 0.05 + MARGIN, NOISY)),
    Truth("conv-and-dense", "the residual net's mean on its threshold", None, benefit(TRAINED, 0.9, 0.02)),
    Truth("conv-and-dense", "5 % against 90 %", S, benefit(0.05, 0.9, 0.01)),
    Truth("conv-and-dense", "neither trains", R, benefit(0.8, 0.9, 0.02)),
    Truth("deeper-is-better", "better by the margin", None, better(0.10 - MARGIN, NOISY)),
    Truth("deeper-is-better", "better by 6 points", S, better(0.04, NOISY)),
    Truth("deeper-is-better", "all depths are equal, 0.2 points between seeds", R, better(0.10, QUIET)),
    Truth("deeper-is-better", "18 layers leave nothing to gain", I, better(0.0, 0.001, base=0.004)),
    Truth("deeper-is-better", "the same, and the deepest is 10 points worse", R, better(0.10, QUIET, base=0.004)),
    Truth("deeper-is-better", "random labels take as long at every depth", None, fitting(0.0)),
    Truth("deeper-is-better", "random labels take half as long at twice the depth", S, fitting(-1.0)),
    Truth("lr-transfers", "at each rate one depth is worse by the margin", None, searched(_TWO_RATES, NOISY, SEEDS)),
    Truth("lr-transfers", "one rate is the best of all depths", S, searched(_ONE_BEST, QUIET, SEEDS)),
    Truth("lr-transfers", "the best rate falls tenfold, at a price of 10 points", R, searched(_FALLING, QUIET, SEEDS)),
    Truth("designs-survive", "one of 18 designs is worse by the margin", None, designs(0.05 + MARGIN, NOISY)),
    Truth("designs-survive", "each of 18 is worse by the margin", None, designs(0.05 + MARGIN, NOISY, every=True), R),
    Truth("designs-survive", "all are equal, 0.2 points between seeds", S, designs(0.05, QUIET)),
    Truth("designs-survive", "one is 20 points worse, deep", R, designs(0.25, QUIET)),
    Truth("designs-survive", "one diverges, deep", R, designs(1.0, QUIET)),
    Truth("residual-no-harm", "the deepest guesses at one of five rates, else diverges", I, guessing(_LOW, _ONE_ENDS)),
    Truth(
        "residual-no-harm", "it diverges at 0.1 and guesses below, down to 0.001", I, guessing(_LOW[2:], _MOST_END[2:])
    ),
    Truth("residual-no-harm", "it diverges at 0.1 and guesses below, down to 1e-5", R, guessing(_LOW, _MOST_END)),
)
