"""How made-up studies are drawn and judged: a function for each kind of truth, with its size and its noise."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports.finding import Finding, Verdict
from reports.judges import beside, compare, costs, growth, inside, labels, rules, thousand
from reports.judges.ladders import Ladder, Tried
from results.convergence import CONVERGED, convergence, ending
from results.stats import LOOKS

Draw = Callable[[np.random.Generator], Finding]

DEPTHS = (18, 34, 66, 130, 258, 514, 1002)
SEEDS, EPOCHS = 3, 10
# Between seeds, as fractions: the published 0.2 points of a CIFAR ResNet, and the 0.5 points of short runs.
QUIET, NOISY = 0.002, 0.005


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


def noisy(
    rng: np.random.Generator, means: Sequence[float], spread: float | Sequence[float], seeds: int = SEEDS
) -> NDArray[np.float64]:
    """Errors of seeds around these means, a column each; one spread for all, or one each."""
    return np.clip(rng.normal(means, spread, (seeds, len(means))), 0.0, 1.0)


def means(base: float, last: float) -> list[float]:
    return [base] * (len(DEPTHS) - 1) + [last]


def no_harm(last: float, spread: float, images: int = 0, base: float = 0.05) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        errors = noisy(rng, means(base, last), spread)
        if images:
            errors = rng.binomial(images, errors) / images
        one = ladder(errors, images=images if images else float("nan"))
        return rules.no_harm("residual-no-harm", "test_error" if images else "train_error", one)

    return draw


def no_harm_in_doubt(doubt: Callable[[Ladder], Ladder]) -> Draw:
    """The deepest is 10 points worse, and something speaks against that."""

    def draw(rng: np.random.Generator) -> Finding:
        one = ladder(noisy(rng, means(0.05, 0.15), NOISY))
        return rules.no_harm("residual-no-harm", "train_error", doubt(one))

    return draw


def tried(**tried: Any) -> Callable[[Ladder], Ladder]:
    return lambda one: replace(one, tried=(Tried(**tried),) * len(one.depths))


def short(one: Ladder) -> Ladder:
    return replace(one, shorter=())


def gap_at_a_quarter(gap: float) -> Draw:
    """The deepest ends 10 points worse, and stood this far off at half and at a quarter of the steps."""

    def draw(rng: np.random.Generator) -> Finding:
        one, half, quarter = (ladder(noisy(rng, means(0.05, 0.05 + g), NOISY)) for g in (0.1, gap, gap))
        shorter = (replace(half, steps=200, epochs=10), replace(quarter, steps=100, epochs=5))
        return rules.no_harm("residual-no-harm", "train_error", replace(one, shorter=shorter))

    return draw


def uneven(rise: float, deviations: Sequence[float]) -> Draw:
    """Every depth rises by so much over 18 layers, and each spreads between seeds in its own way."""

    def draw(rng: np.random.Generator) -> Finding:
        means = np.array([0.3] + [0.3 + rise] * (len(DEPTHS) - 1))
        errors = np.clip(rng.normal(means, np.array(deviations), (SEEDS, len(DEPTHS))), 0.0, 0.999)
        return rules.no_harm("residual-no-harm", "train_error", ladder(errors))

    return draw


def skewed(rise: float) -> Draw:
    """The deepest rises; errors of seeds have a long upper tail, of half a point's deviation."""

    def draw(rng: np.random.Generator) -> Finding:
        tails = rng.gamma(1.0, NOISY, (SEEDS, len(DEPTHS)))
        return rules.no_harm("residual-no-harm", "train_error", ladder(np.array(means(0.05, 0.05 + rise)) + tails))

    return draw


def rarely_fails(rate: float) -> Draw:
    """All depths are equal, but a seed of the deepest diverges at this rate."""

    def draw(rng: np.random.Generator) -> Finding:
        errors = noisy(rng, means(0.05, 0.05), QUIET)
        errors[rng.random(SEEDS) < rate, -1] = 1.0
        return rules.no_harm("residual-no-harm", "train_error", ladder(errors))

    return draw


def no_harm_by_curve(fall: float, above: float = 0.0) -> Draw:
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


def at_looks(
    means: Sequence[float], spread: float | Sequence[float], judge: Callable[[NDArray[np.float64]], Finding]
) -> Draw:
    """Errors of as many seeds as the last look has, a column each, judged at the looks in turn until one decides."""

    def draw(rng: np.random.Generator) -> Finding:
        errors = noisy(rng, means, spread, max(LOOKS))
        found = (judge(errors[:seeds]) for seeds in LOOKS)
        return next((one for one in found if one.verdict is not Verdict.INCONCLUSIVE), judge(errors))

    return draw


def harm(errors: NDArray[np.float64]) -> Finding:
    return rules.no_harm("residual-no-harm", "train_error", ladder(errors))


def decay(errors: NDArray[np.float64]) -> Finding:
    return rules.degrades("plain-degrades", "train_error", ladder(errors, "plain"))


def thousand_train(errors: NDArray[np.float64]) -> Finding:
    """Columns: the residual net and its plain twin, both of 1002 layers."""
    net, twin = (ladder(np.column_stack([0.01 + 0 * one, one]), depths=(18, 1002)) for one in errors.T)
    return thousand.trains("thousand-layers", "train_error", net, replace(twin, subject="plain"))


def degrades(means: Sequence[float], spread: float, depths: Sequence[int] = DEPTHS) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        return rules.degrades("plain-degrades", "train_error", ladder(noisy(rng, means, spread), "plain", depths))

    return draw


def trains(deep: float, plain: float, spread: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        net, twin = (ladder(noisy(rng, [0.01, mean], spread), depths=(18, 1002)) for mean in (deep, plain))
        return thousand.trains("thousand-layers", "train_error", net, replace(twin, subject="plain"))

    return draw


def cost(slope: float, noise: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        times = (0.01 + slope * np.array(DEPTHS)) * np.exp(rng.normal(0.0, noise, len(DEPTHS)))
        return costs.line("resnet", "step_time_s", DEPTHS, times.tolist())

    return draw


def better(last: float, spread: float, base: float = 0.10) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        return rules.better("deeper-is-better", "train_error", ladder(noisy(rng, means(base, last), spread)))

    return draw


def fitting(power: float) -> Draw:
    depths = [18, 34, 66, 130]

    def draw(rng: np.random.Generator) -> Finding:
        steps = 300 * (np.array(depths) / 18) ** power * np.exp(rng.normal(0.0, 0.15, (SEEDS, len(depths))))
        return labels.fitting("deeper-is-better", "resnet", depths, np.where(steps > 900, np.inf, steps), 900)

    return draw


def grown(worse: float, change: float, spread: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        control = noisy(rng, [0.05, 0.05], spread)
        error = noisy(rng, [0.05, 0.05 + worse], spread)
        base = Finding("identity-growth", "resnet", "train_error", Verdict.INCONCLUSIVE, "")
        return growth.grown(base, [34, 258], np.full((SEEDS, 2), change), error, control, resolution=1 / 1437)

    return draw


def grown_at_the_floor(can_fail: bool) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        base = Finding("identity-growth", "resnet", "train_error", Verdict.INCONCLUSIVE, "")
        same, change = np.zeros((SEEDS, 2)), np.full((SEEDS, 2), 1e-6)
        return growth.grown(base, [34, 258], change, same, same, resolution=1 / 1437, can_fail=can_fail)

    return draw


def small(share: float = 0.2, rise: float = 0.002, path: float = 0.2, growth: float = 20.0) -> Draw:
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


def alike(furthest: float, spread: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        original = ladder(noisy(rng, [0.05, 0.05], spread), depths=(18, 258))
        others = [
            ladder(noisy(rng, [0.05, 0.05 + (furthest if i == 0 else 0.0)], spread), f"placement {i}", (18, 258))
            for i in range(4)
        ]
        return compare.alike("shortcut-anywhere", "train_error", original, others)

    return draw


def benefit(mine: float, plain: float, spread: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        net, twin = (ladder(noisy(rng, [0.01, mean], spread), depths=(18, 258)) for mean in (mine, plain))
        return compare.benefit("conv-and-dense", "train_error", net, replace(twin, subject="plain"))

    return draw


# Designs of a table, beside the document's block.
DESIGNS = 18


def designs(last: float, spread: float, every: bool = False) -> Draw:
    """A table of designs beside the block, whose errors are 5 %: one ends so at the deepest, or every one does.

    The finding is that design's; of every one, the first that is called worse, if any is.
    """

    def draw(rng: np.random.Generator) -> Finding:
        original = ladder(noisy(rng, means(0.05, 0.05), spread))
        lasts = [last] * DESIGNS if every else [last, *[0.05] * (DESIGNS - 1)]
        others = [ladder(noisy(rng, means(0.05, end), spread), f"design {i}") for i, end in enumerate(lasts)]
        found = beside.no_worse("designs-survive", "train_error", [(mine, original) for mine in others])
        worse = [finding for finding in found if finding.verdict == Verdict.REFUTED]
        return worse[0] if every and worse else found[0]

    return draw
