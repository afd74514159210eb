"""Made-up studies whose answer is known, for every judge: what `planted` draws thousands of times each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.finding import Finding, Verdict
from reports.judges import compare, costs, growth, inside, labels, rules, thousand
from reports.judges.ladders import Ladder, Tried
from reports.judges.rates_truths import searched
from reports.protocol import MARGIN, NOT_TRAINED, SMALL, TRAINED
from results.convergence import CONVERGED, convergence, ending
from results.stats import LOOKS

Draw = Callable[[np.random.Generator], Finding]

DEPTHS = (18, 34, 66, 130, 258, 514, 1002)
SEEDS, EPOCHS = 3, 10
# Between seeds, as fractions: the published 0.2 points of a CIFAR ResNet, and the 0.5 points of short runs.
QUIET, NOISY = 0.002, 0.005


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


def ladder(errors: NDArray[np.float64], subject: str = "resnet", depths: Sequence[int] = DEPTHS, **more: Any) -> Ladder:
    """A ladder of these errors, shape (seeds, depths), of which nothing is in doubt; an error of 1.0 is divergence.

    Converged, at the best of five rates, and the same after half and a quarter of the steps.
    """
    errors = np.clip(errors, 0.0, 1.0)
    count = len(depths)
    diverged = (errors == 1.0).sum(axis=0)
    tried = [Tried(5, inside=True, hopeless=bool(2 * n > len(errors))) for n in diverged]
    made = Ladder(
        subject=subject,
        depths=tuple(depths),
        seeds=tuple(range(len(errors))),
        errors=errors,
        convergence=(CONVERGED,) * count,
        diverged=tuple(map(int, diverged)),
        broken=(0,) * count,
        **{"resolution": 1 / 1437, "steps": 400, "epochs": 20, "tried": tuple(tried), **more},
    )
    return replace(made, shorter=(replace(made, steps=200, epochs=10), replace(made, steps=100, epochs=5)))


def noisy(rng: np.random.Generator, means: Sequence[float], spread: float, seeds: int = SEEDS) -> NDArray[np.float64]:
    """Errors of seeds around these means, a column each."""
    return np.clip(rng.normal(means, spread, (seeds, len(means))), 0.0, 1.0)


def _means(base: float, last: float) -> list[float]:
    return [base] * (len(DEPTHS) - 1) + [last]


def _no_harm(last: float, spread: float, images: int = 0, base: float = 0.05) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        errors = noisy(rng, _means(base, last), spread)
        if images:
            errors = rng.binomial(images, errors) / images
        one = ladder(errors, images=images if images else float("nan"))
        return rules.no_harm("residual-no-harm", "test_error" if images else "train_error", one)

    return draw


def _no_harm_in_doubt(doubt: Callable[[Ladder], Ladder]) -> Draw:
    """The deepest is 10 points worse, and something speaks against that."""

    def draw(rng: np.random.Generator) -> Finding:
        one = ladder(noisy(rng, _means(0.05, 0.15), NOISY))
        return rules.no_harm("residual-no-harm", "train_error", doubt(one))

    return draw


def _tried(**tried: Any) -> Callable[[Ladder], Ladder]:
    return lambda one: replace(one, tried=(Tried(**tried),) * len(one.depths))


def _short(one: Ladder) -> Ladder:
    return replace(one, shorter=())


def _gap_at_a_quarter(gap: float, spread: float = NOISY) -> Draw:
    """The deepest ends 10 points worse, and stood this far off at half and at a quarter of the steps."""

    def draw(rng: np.random.Generator) -> Finding:
        one, half, quarter = (ladder(noisy(rng, _means(0.05, 0.05 + g), spread)) for g in (0.1, gap, gap))
        shorter = (replace(half, steps=200, epochs=10), replace(quarter, steps=100, epochs=5))
        return rules.no_harm("residual-no-harm", "train_error", replace(one, shorter=shorter))

    return draw


def _uneven(rise: float, deviations: Sequence[float]) -> Draw:
    """Every depth rises by so much over 18 layers, and each spreads between seeds in its own way."""

    def draw(rng: np.random.Generator) -> Finding:
        means = np.array([0.3] + [0.3 + rise] * (len(DEPTHS) - 1))
        errors = np.clip(rng.normal(means, np.array(deviations), (SEEDS, len(DEPTHS))), 0.0, 0.999)
        return rules.no_harm("residual-no-harm", "train_error", ladder(errors))

    return draw


def _skewed(rise: float) -> Draw:
    """The deepest rises; errors of seeds have a long upper tail, of half a point's deviation."""

    def draw(rng: np.random.Generator) -> Finding:
        tails = rng.gamma(1.0, NOISY, (SEEDS, len(DEPTHS)))
        return rules.no_harm("residual-no-harm", "train_error", ladder(np.array(_means(0.05, 0.05 + rise)) + tails))

    return draw


def _rarely_fails(rate: float) -> Draw:
    """All depths are equal, but a seed of the deepest diverges at this rate."""

    def draw(rng: np.random.Generator) -> Finding:
        errors = noisy(rng, _means(0.05, 0.05), QUIET)
        errors[rng.random(SEEDS) < rate, -1] = 1.0
        return rules.no_harm("residual-no-harm", "train_error", ladder(errors))

    return draw


def _no_harm_by_curve(fall: float, above: float = 0.0) -> Draw:
    """The deepest is 10 points worse; its running error falls so much an epoch, and a seed's last epoch is off."""

    def draw(rng: np.random.Generator) -> Finding:
        epochs = np.arange(EPOCHS - 1, -1, -1)
        curves = rng.normal(0.15 + fall * epochs, NOISY, (SEEDS, EPOCHS))
        curves[0, -1] += above
        # The cosine's rates, without a warm-up.
        rates = 0.5 * (1 + np.cos(np.pi * np.arange(1, EPOCHS + 1) / EPOCHS))
        ends = [ending(curve, rates, 1.0) for curve in curves]
        told = np.array([[end.fall_working, end.fall_last, end.above_best] for end in ends]).T
        state = convergence(np.array(["ok"] * SEEDS), *told)
        one = ladder(np.column_stack([noisy(rng, [0.05] * (len(DEPTHS) - 1), NOISY), curves[:, -1]]))
        return rules.no_harm(
            "residual-no-harm", "train_error", replace(one, convergence=(*one.convergence[:-1], state))
        )

    return draw


def _at_looks(means: Sequence[float], spread: float, judge: Callable[[NDArray[np.float64]], Finding]) -> Draw:
    """Errors of as many seeds as the last look has, a column each, judged at the looks in turn until one decides."""

    def draw(rng: np.random.Generator) -> Finding:
        errors = noisy(rng, means, spread, max(LOOKS))
        found = (judge(errors[:seeds]) for seeds in LOOKS)
        return next((one for one in found if one.verdict is not Verdict.INCONCLUSIVE), judge(errors))

    return draw


def _harm(errors: NDArray[np.float64]) -> Finding:
    return rules.no_harm("residual-no-harm", "train_error", ladder(errors))


def _decay(errors: NDArray[np.float64]) -> Finding:
    return rules.degrades("plain-degrades", "train_error", ladder(errors, "plain"))


def _thousand(errors: NDArray[np.float64]) -> Finding:
    """Columns: the residual net and its plain twin, both of 1002 layers."""
    net, twin = (ladder(np.column_stack([0.01 + 0 * one, one]), depths=(18, 1002)) for one in errors.T)
    return thousand.trains("thousand-layers", "train_error", net, replace(twin, subject="plain"))


def _degrades(means: Sequence[float], spread: float, depths: Sequence[int] = DEPTHS) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        return rules.degrades("plain-degrades", "train_error", ladder(noisy(rng, means, spread), "plain", depths))

    return draw


def _trains(deep: float, plain: float, spread: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        net, twin = (ladder(noisy(rng, [0.01, mean], spread), depths=(18, 1002)) for mean in (deep, plain))
        return thousand.trains("thousand-layers", "train_error", net, replace(twin, subject="plain"))

    return draw


def _cost(slope: float, noise: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        times = (0.01 + slope * np.array(DEPTHS)) * np.exp(rng.normal(0.0, noise, len(DEPTHS)))
        return costs.line("resnet", "step_time_s", DEPTHS, times.tolist())

    return draw


def _better(last: float, spread: float, base: float = 0.10) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        return rules.better("deeper-is-better", "train_error", ladder(noisy(rng, _means(base, last), spread)))

    return draw


def _fitting(power: float) -> Draw:
    depths = [18, 34, 66, 130]

    def draw(rng: np.random.Generator) -> Finding:
        steps = 300 * (np.array(depths) / 18) ** power * np.exp(rng.normal(0.0, 0.15, (SEEDS, len(depths))))
        return labels.fitting("deeper-is-better", "resnet", depths, np.where(steps > 900, np.inf, steps), 900)

    return draw


def _grown(worse: float, change: float, spread: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        control = noisy(rng, [0.05, 0.05], spread)
        error = noisy(rng, [0.05, 0.05 + worse], spread)
        base = Finding("identity-growth", "resnet", "train_error", Verdict.INCONCLUSIVE, "")
        return growth.grown(base, [34, 258], np.full((SEEDS, 2), change), error, control, resolution=1 / 1437)

    return draw


def _grown_at_the_floor(can_fail: bool) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        base = Finding("identity-growth", "resnet", "train_error", Verdict.INCONCLUSIVE, "")
        same, change = np.zeros((SEEDS, 2)), np.full((SEEDS, 2), 1e-6)
        return growth.grown(base, [34, 258], change, same, same, resolution=1 / 1437, can_fail=can_fail)

    return draw


def _small(share: float = 0.2, rise: float = 0.002, path: float = 0.2, growth: float = 20.0) -> Draw:
    """By effective depth over depth, rise by a lesion, length of paths over blocks, and layers gained over epochs."""

    def draw(rng: np.random.Generator) -> Finding:
        def base(measure: str) -> Finding:
            return Finding("small-net-first", "resnet", measure, Verdict.INCONCLUSIVE, "")

        first = rng.normal(30.0, 3.0, SEEDS)
        parts = [
            inside.single(base(inside.SINGLE), rng.normal(rise, QUIET, SEEDS)),
            inside.prefix(base(inside.PREFIX), 258, 258 * rng.normal(share, 0.03, SEEDS)),
            inside.short_paths(base(inside.PATHS), 258, 128, rng.normal(path, 0.03, SEEDS)),
            inside.grows(base(inside.GROWTH), first, first + rng.normal(growth, 3.0, SEEDS), "effective depth"),
        ]
        return inside.whole(base("small_net"), parts)

    return draw


def _alike(furthest: float, spread: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        original = ladder(noisy(rng, [0.05, 0.05], spread), depths=(18, 258))
        others = [
            ladder(noisy(rng, [0.05, 0.05 + (furthest if i == 0 else 0.0)], spread), f"placement {i}", (18, 258))
            for i in range(4)
        ]
        return compare.alike("shortcut-anywhere", "train_error", original, others)

    return draw


def _benefit(mine: float, plain: float, spread: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        net, twin = (ladder(noisy(rng, [0.01, mean], spread), depths=(18, 258)) for mean in (mine, plain))
        return compare.benefit("conv-and-dense", "train_error", net, replace(twin, subject="plain"))

    return draw


# Around the depth at which trainability ends.
FINE = (18, 26, 34, 42, 50, 66, 130, 258, 1002)
_CLIFF = [0.02, 0.05, 0.10, 0.3, 0.5, 0.8, 0.9, 0.9, 0.9]
_CREEP = [0.05 + 0.1 * MARGIN * i for i in range(len(DEPTHS))]
_UNEVEN = (0.002, 0.0, 0.005, 0.01, 0.02, 0.05, 0.10)
_ONE_BIG = (0.002,) * 6 + (0.10,)
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
_FALLING = [[0.5, 0.15, 0.05, 0.5], [0.5, 0.10, 0.10, 0.5], [0.5, 0.05, 0.15, 0.5]]

TRUTHS: tuple[Truth, ...] = (
    Truth("residual-no-harm", "the deepest is worse by the margin", None, _no_harm(0.05 + MARGIN, NOISY)),
    Truth("residual-no-harm", "the same, at each look", None, _at_looks(_means(0.05, 0.05 + MARGIN), NOISY, _harm)),
    Truth("residual-no-harm", "the same, at each look", None, _at_looks(_means(0.05, 0.05 + MARGIN), NOISY, _harm), R),
    Truth(
        "residual-no-harm",
        "all equal, 0.5 points between seeds, at each look",
        S,
        _at_looks([0.05] * 7, NOISY, _harm),
    ),
    Truth(
        "residual-no-harm",
        "worse by the margin, on 360 test images",
        None,
        _no_harm(0.05 + MARGIN, QUIET, images=360),
    ),
    Truth("residual-no-harm", "the same, on 10,000 test images", None, _no_harm(0.05 + MARGIN, QUIET, images=10_000)),
    Truth("residual-no-harm", "all depths are equal, 0.2 points between seeds", S, _no_harm(0.05, QUIET)),
    Truth("residual-no-harm", "the deepest is 10 points worse", R, _no_harm(0.15, NOISY)),
    Truth("residual-no-harm", "the deepest diverges", R, _no_harm(1.0, 0.0)),
    Truth("residual-no-harm", "the same, and its error stands still", R, _no_harm_by_curve(0.0)),
    Truth("residual-no-harm", "the same, and its error falls by 3 points an epoch", I, _no_harm_by_curve(0.03)),
    Truth("residual-no-harm", "the same, and a seed ends 5 points off its best", I, _no_harm_by_curve(0.0, 0.05)),
    Truth("residual-no-harm", "the same, at the only rate tried", I, _no_harm_in_doubt(_tried(rates=1))),
    Truth("residual-no-harm", "the same, at the edge of five rates", I, _no_harm_in_doubt(_tried(rates=5))),
    Truth("residual-no-harm", "the same, at one number of steps", I, _no_harm_in_doubt(_short)),
    Truth("residual-no-harm", "10 points worse at N, 2N and 4N steps", R, _gap_at_a_quarter(0.10)),
    Truth("residual-no-harm", "10 points worse at 4N, and 20 at N steps", I, _gap_at_a_quarter(0.20)),
    Truth("residual-no-harm", "each worse by the margin, spread 0 to 10 points", None, _uneven(MARGIN, _UNEVEN), R),
    Truth("residual-no-harm", "each worse by the margin, one spreads 10 points", None, _uneven(MARGIN, _ONE_BIG), R),
    Truth("residual-no-harm", "deepest worse by the margin, spread 0 to 1 point", None, _uneven(MARGIN, _SMALL_UNEVEN)),
    Truth("residual-no-harm", "deepest worse by the margin, seeds skewed", None, _skewed(MARGIN)),
    Truth("residual-no-harm", "all equal, but one seed in ten fails deep", None, _rarely_fails(0.1), R),
    Truth("residual-no-harm", "no depth trains at all", I, _no_harm(0.9, NOISY, base=0.9)),
    Truth(
        "plain-degrades", "error rises, but only by the margin", None, _degrades([*_UP[:1] * 6, 0.05 + MARGIN], NOISY)
    ),
    Truth("plain-degrades", "the same, at each look", None, _at_looks(_means(0.05, 0.05 + MARGIN), NOISY, _decay)),
    Truth("plain-degrades", "all depths are equal", None, _degrades(_means(0.05, 0.05), NOISY)),
    Truth("plain-degrades", "all depths are equal, 0.2 points between seeds", R, _degrades(_means(0.05, 0.05), QUIET)),
    Truth("plain-degrades", "error rises to 14 points", S, _degrades([*_UP, 0.14], NOISY)),
    Truth("plain-degrades", "it rises by a tenth of the margin a depth", None, _degrades(_CREEP, 0.0005)),
    Truth("plain-degrades", "it trains up to 34 of nine depths, and not from 66 on", S, _degrades(_CLIFF, NOISY, FINE)),
    Truth(
        "plain-degrades",
        "equal up to 130 layers, 30 points worse at 258",
        S,
        _degrades(_STEP, 0.003, _TO_258),
        least=0.99,
    ),
    Truth("plain-degrades", "18 layers train, and all deeper ones stand 30 points worse", S, _degrades(_CLIMB, NOISY)),
    Truth("plain-degrades", "the deepest three diverge", S, _degrades([0.05, 0.1, 0.3, 0.9, 1, 1, 1], 0.0)),
    Truth("thousand-layers", "mean error on the threshold", None, _trains(TRAINED, 0.9, 0.02)),
    Truth("thousand-layers", "the same, at each look", None, _at_looks([TRAINED, 0.9], 0.02, _thousand)),
    Truth("thousand-layers", "the same, at each look", None, _at_looks([TRAINED, 0.9], 0.02, _thousand), R),
    Truth("thousand-layers", "the plain twin's mean on its threshold", None, _trains(0.05, NOT_TRAINED, 0.02)),
    Truth("thousand-layers", "5 % against 90 %", S, _trains(0.05, 0.9, 0.01)),
    Truth("thousand-layers", "does not train", R, _trains(0.6, 0.9, 0.02)),
    Truth("thousand-layers", "the plain twin trains as well", R, _trains(0.05, 0.05, 0.01)),
    Truth("cost-grows", "the same at every depth, 3 % noise", None, _cost(0.0, 0.03)),
    Truth("cost-grows", "1 ms per layer, 5 % noise", S, _cost(0.001, 0.05)),
    Truth("cost-grows", "the same at every depth", R, _cost(0.0, 0.03)),
    Truth("identity-growth", "the grown net is worse by the margin", None, _grown(MARGIN, 1e-6, NOISY)),
    Truth("identity-growth", "neither outputs nor errors change", S, _grown(0.0, 1e-6, QUIET)),
    Truth("identity-growth", "all errors are 0, and another net's growth fails", S, _grown_at_the_floor(True)),
    Truth("identity-growth", "all errors are 0, and nothing failed", I, _grown_at_the_floor(False)),
    Truth("identity-growth", "outputs change", R, _grown(0.0, 0.01, QUIET)),
    Truth("small-net-first", "effective depth on the threshold", None, _small(share=SMALL)),
    Truth("small-net-first", "rise by a lesion on the threshold", None, _small(rise=MARGIN)),
    Truth("small-net-first", "length of paths on the threshold", None, _small(path=SMALL)),
    Truth("small-net-first", "the effective depth does not grow", None, _small(growth=0.0)),
    Truth("small-net-first", "a fifth of the depth counts, paths are short, and it grows", S, _small()),
    Truth("small-net-first", "the same, but every lesion is felt", I, _small(rise=0.3)),
    Truth("small-net-first", "every lesion is felt, and nine tenths count", R, _small(share=0.9, rise=0.3)),
    Truth("shortcut-anywhere", "one placement is off by the margin, deep", None, _alike(MARGIN, NOISY)),
    Truth("shortcut-anywhere", "all placements are alike", S, _alike(0.0, QUIET)),
    Truth("shortcut-anywhere", "one is 20 points worse, deep", R, _alike(0.2, NOISY)),
    Truth("conv-and-dense", "the plain twin is worse by the margin", None, _benefit(0.05, 0.05 + MARGIN, NOISY)),
    Truth("conv-and-dense", "the residual net's mean on its threshold", None, _benefit(TRAINED, 0.9, 0.02)),
    Truth("conv-and-dense", "5 % against 90 %", S, _benefit(0.05, 0.9, 0.01)),
    Truth("conv-and-dense", "neither trains", R, _benefit(0.8, 0.9, 0.02)),
    Truth("deeper-is-better", "better by the margin", None, _better(0.10 - MARGIN, NOISY)),
    Truth("deeper-is-better", "better by 6 points", S, _better(0.04, NOISY)),
    Truth("deeper-is-better", "all depths are equal, 0.2 points between seeds", R, _better(0.10, QUIET)),
    Truth("deeper-is-better", "18 layers leave nothing to gain", I, _better(0.0, 0.001, base=0.004)),
    Truth("deeper-is-better", "the same, and the deepest is 10 points worse", R, _better(0.10, QUIET, base=0.004)),
    Truth("deeper-is-better", "random labels take as long at every depth", None, _fitting(0.0)),
    Truth("deeper-is-better", "random labels take half as long at twice the depth", S, _fitting(-1.0)),
    Truth("lr-transfers", "at each rate one depth is worse by the margin", None, searched(_TWO_RATES, NOISY, SEEDS)),
    Truth("lr-transfers", "one rate is the best of all depths", S, searched(_ONE_BEST, QUIET, SEEDS)),
    Truth("lr-transfers", "the best rate falls tenfold, at a price of 10 points", R, searched(_FALLING, QUIET, SEEDS)),
)
