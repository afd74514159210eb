"""Planted truths: every judge on made-up studies whose answer is known, thousands of times each.

`python -m reports.judges.planted` (make planted) prints how often each rule says what, and keeps the table for the
page's appendix. A rule that says "supported" where the truth lies on its threshold more often than its level plus one
point, or that misses a plain effect, fails the command. Draws are made here; the rules are the very ones that
judge the records. No files are read.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from reports.finding import Finding, Verdict
from reports.judges import compare, costs, growth, inside, rules
from reports.judges.ladders import Ladder
from reports.judges.rates_truths import searched
from reports.protocol import MARGIN, NOT_TRAINED, SMALL, TRAINED
from results.stats import ALPHA

Draw = Callable[[np.random.Generator], Finding]

DEPTHS = (18, 34, 66, 130, 258, 514, 1002)
SEEDS = 3
# Between seeds, as fractions: the published 0.2 points of a CIFAR ResNet, and the 0.5 points of short runs.
QUIET, NOISY = 0.002, 0.005
# The level, and a point for what normal theory misses with bounded errors and few seeds.
MOST_FALSE = ALPHA + 0.01
LEAST_POWER = 0.9

SAVED = Path(__file__).parent / "planted.json"


@dataclass(frozen=True)
class Truth:
    """A made-up world.

    Attributes:
        claim: Whose rule judges it.
        words: What is true in it.
        answer: The verdict that must come in `LEAST_POWER` of the draws; None where the truth lies on the threshold, or
            against the claim, and "supported" may come in `MOST_FALSE` of the draws only.
        draw: Makes one study and judges it.
    """

    claim: str
    words: str
    answer: Verdict | None
    draw: Draw


def ladder(errors: NDArray[np.float64], subject: str = "resnet", depths: Sequence[int] = DEPTHS, **more: Any) -> Ladder:
    """A finished ladder of these errors, shape (seeds, depths); an error of 1.0 is a diverged trial."""
    errors = np.clip(errors, 0.0, 1.0)
    count = len(depths)
    return Ladder(
        subject=subject,
        depths=tuple(depths),
        seeds=tuple(range(len(errors))),
        errors=errors,
        settled=(True,) * count,
        diverged=tuple(int(n) for n in (errors == 1.0).sum(axis=0)),
        broken=(0,) * count,
        **{"resolution": 1 / 1437, "steps": 100, "rates": 5, **more},
    )


def noisy(rng: np.random.Generator, means: Sequence[float], spread: float, seeds: int = SEEDS) -> NDArray[np.float64]:
    """Errors of seeds around these means, a column each."""
    return np.clip(rng.normal(means, spread, (seeds, len(means))), 0.0, 1.0)


def _means(base: float, last: float) -> list[float]:
    return [base] * (len(DEPTHS) - 1) + [last]


def _no_harm(
    last: float, spread: float, images: int = 0, unfinished: bool = False, base: float = 0.05, rates: int = 5
) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        errors = noisy(rng, _means(base, last), spread)
        if images:
            errors = rng.binomial(images, errors) / images
        one = ladder(errors, images=images if images else float("nan"), rates=rates)
        if unfinished:
            one = replace(one, settled=(*one.settled[:-1], False))
        return rules.no_harm("residual-no-harm", "test_error" if images else "train_error", one)

    return draw


def _degrades(means: Sequence[float], spread: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        return rules.degrades("plain-degrades", "train_error", ladder(noisy(rng, means, spread), "plain"))

    return draw


def _trains(deep: float, plain: float, spread: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        net, twin = (ladder(noisy(rng, [0.01, mean], spread), depths=(18, 1002)) for mean in (deep, plain))
        return rules.trains("thousand-layers", "train_error", net, replace(twin, subject="plain"))

    return draw


def _cost(slope: float, noise: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        times = (0.01 + slope * np.array(DEPTHS)) * np.exp(rng.normal(0.0, noise, len(DEPTHS)))
        return costs.line("resnet", "step_time_s", DEPTHS, times.tolist())

    return draw


def _better(last: float, spread: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        return rules.better("deeper-is-better", "train_error", ladder(noisy(rng, _means(0.10, last), spread)))

    return draw


def _fitting(power: float) -> Draw:
    depths = [18, 34, 66, 130]

    def draw(rng: np.random.Generator) -> Finding:
        steps = 300 * (np.array(depths) / 18) ** power * np.exp(rng.normal(0.0, 0.15, (SEEDS, len(depths))))
        return compare.fitting("deeper-is-better", "resnet", depths, np.where(steps > 900, np.inf, steps), 900)

    return draw


def _grown(worse: float, change: float, spread: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        control = noisy(rng, [0.05, 0.05], spread)
        error = noisy(rng, [0.05, 0.05 + worse], spread)
        base = Finding("identity-growth", "resnet", "train_error", Verdict.INCONCLUSIVE, "")
        return growth.grown(base, [34, 258], np.full((SEEDS, 2), change), error, control, resolution=1 / 1437)

    return draw


def _small(share: float, rise: float) -> Draw:
    def draw(rng: np.random.Generator) -> Finding:
        base = Finding("small-net-first", "resnet", "effective_depth", Verdict.INCONCLUSIVE, "")
        effective = 258 * rng.normal(share, 0.03, SEEDS)
        return inside.small(base, 258, rng.normal(rise, QUIET, SEEDS), effective)

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


# Training errors by depth and rate.
_TWO_RATES = [[0.5, 0.05 + MARGIN, 0.05, 0.5], [0.5, 0.05, 0.05, 0.5], [0.5, 0.05, 0.05 + MARGIN, 0.5]]
_ONE_BEST = [[0.5, 0.15, 0.05, 0.5]] * 3
_FALLING = [[0.5, 0.15, 0.05, 0.5], [0.5, 0.10, 0.10, 0.5], [0.5, 0.05, 0.15, 0.5]]
_UP = [0.05, 0.06, 0.08, 0.10, 0.12, 0.14]
S, R, I = Verdict.SUPPORTED, Verdict.REFUTED, Verdict.INCONCLUSIVE  # noqa: E741

TRUTHS: tuple[Truth, ...] = (
    Truth("residual-no-harm", "the deepest is worse by the margin", None, _no_harm(0.05 + MARGIN, NOISY)),
    Truth("residual-no-harm", "the same, on 360 test images", None, _no_harm(0.05 + MARGIN, QUIET, images=360)),
    Truth("residual-no-harm", "the same, on 10,000 test images", None, _no_harm(0.05 + MARGIN, QUIET, images=10_000)),
    Truth("residual-no-harm", "all depths are equal, 0.2 points between seeds", S, _no_harm(0.05, QUIET)),
    Truth("residual-no-harm", "the deepest is 10 points worse", R, _no_harm(0.15, NOISY)),
    Truth("residual-no-harm", "the deepest diverges", R, _no_harm(1.0, 0.0)),
    Truth("residual-no-harm", "the deepest is 10 points worse, unfinished", I, _no_harm(0.15, NOISY, unfinished=True)),
    Truth(
        "residual-no-harm", "the deepest is 10 points worse, at the only rate tried", I, _no_harm(0.15, NOISY, rates=1)
    ),
    Truth("residual-no-harm", "no depth trains at all", I, _no_harm(0.9, NOISY, base=0.9)),
    Truth(
        "plain-degrades", "error rises, but only by the margin", None, _degrades([*_UP[:1] * 6, 0.05 + MARGIN], NOISY)
    ),
    Truth("plain-degrades", "all depths are equal", None, _degrades(_means(0.05, 0.05), NOISY)),
    Truth("plain-degrades", "all depths are equal, 0.2 points between seeds", R, _degrades(_means(0.05, 0.05), QUIET)),
    Truth("plain-degrades", "error rises to 14 points", S, _degrades([*_UP, 0.14], NOISY)),
    Truth("plain-degrades", "the deepest three diverge", S, _degrades([0.05, 0.1, 0.3, 0.9, 1, 1, 1], 0.0)),
    Truth("thousand-layers", "mean error on the threshold", None, _trains(TRAINED, 0.9, 0.02)),
    Truth("thousand-layers", "the plain twin's mean on its threshold", None, _trains(0.05, NOT_TRAINED, 0.02)),
    Truth("thousand-layers", "5 % against 90 %", S, _trains(0.05, 0.9, 0.01)),
    Truth("thousand-layers", "does not train", R, _trains(0.6, 0.9, 0.02)),
    Truth("thousand-layers", "the plain twin trains as well", R, _trains(0.05, 0.05, 0.01)),
    Truth("cost-grows", "the same at every depth, 3 % noise", None, _cost(0.0, 0.03)),
    Truth("cost-grows", "1 ms per layer, 5 % noise", S, _cost(0.001, 0.05)),
    Truth("cost-grows", "the same at every depth", R, _cost(0.0, 0.03)),
    Truth("identity-growth", "the grown net is worse by the margin", None, _grown(MARGIN, 1e-6, NOISY)),
    Truth("identity-growth", "neither outputs nor errors change", S, _grown(0.0, 1e-6, QUIET)),
    Truth("identity-growth", "outputs change", R, _grown(0.0, 0.01, QUIET)),
    Truth("small-net-first", "effective depth on the threshold", None, _small(SMALL, 0.002)),
    Truth("small-net-first", "rise by a lesion on the threshold", None, _small(0.2, MARGIN)),
    Truth("small-net-first", "a fifth of the depth counts", S, _small(0.2, 0.002)),
    Truth("small-net-first", "every lesion is felt", R, _small(0.9, 0.3)),
    Truth("shortcut-anywhere", "one placement is off by the margin, deep", None, _alike(MARGIN, NOISY)),
    Truth("shortcut-anywhere", "all placements are alike", S, _alike(0.0, QUIET)),
    Truth("shortcut-anywhere", "one is 10 points worse, deep", R, _alike(0.1, NOISY)),
    Truth("conv-and-dense", "the plain twin is worse by the margin", None, _benefit(0.05, 0.05 + MARGIN, NOISY)),
    Truth("conv-and-dense", "the residual net's mean on its threshold", None, _benefit(TRAINED, 0.9, 0.02)),
    Truth("conv-and-dense", "5 % against 90 %", S, _benefit(0.05, 0.9, 0.01)),
    Truth("conv-and-dense", "neither trains", R, _benefit(0.8, 0.9, 0.02)),
    Truth("deeper-is-better", "better by the margin", None, _better(0.10 - MARGIN, NOISY)),
    Truth("deeper-is-better", "better by 6 points", S, _better(0.04, NOISY)),
    Truth("deeper-is-better", "all depths are equal, 0.2 points between seeds", R, _better(0.10, QUIET)),
    Truth("deeper-is-better", "random labels take as long at every depth", None, _fitting(0.0)),
    Truth("deeper-is-better", "random labels take half as long at twice the depth", S, _fitting(-1.0)),
    Truth("lr-transfers", "at each rate one depth is worse by the margin", None, searched(_TWO_RATES, NOISY, SEEDS)),
    Truth("lr-transfers", "one rate is the best of all depths", S, searched(_ONE_BEST, QUIET, SEEDS)),
    Truth("lr-transfers", "the best rate falls tenfold, at a price of 10 points", R, searched(_FALLING, QUIET, SEEDS)),
)


def play(truth: Truth, draws: int, seed: int) -> dict[str, Any]:
    """One truth, many times.

    Returns:
        Its row: claim, words, draws, the share of each verdict, what was promised, and whether it was kept.
    """
    rng = np.random.default_rng([2026, seed])
    said = Counter(str(truth.draw(rng).verdict) for _ in range(draws))
    share = {str(v): said[str(v)] / draws for v in Verdict}
    if truth.answer is None:
        promise, kept = f"supported at most {100 * MOST_FALSE:.0f} %", share[Verdict.SUPPORTED] <= MOST_FALSE
    else:
        promise, kept = f"{truth.answer} at least {100 * LEAST_POWER:.0f} %", share[truth.answer] >= LEAST_POWER
    return {"claim": truth.claim, "truth": truth.words, "draws": draws, **share, "promise": promise, "kept": kept}


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help="Runs every judge on made-up studies of known answer.")
def planted(
    draws: Annotated[int, typer.Option(min=1, help="Made-up studies a truth.")] = 20_000,
    out: Annotated[Path, typer.Option(help="Where the table is kept.")] = SAVED,
) -> None:
    """Prints a line per truth; exit code 1 when a promise is not kept."""
    from bench.store.record import write

    rows = []
    print(f"{'claim':18} {'supported':>9} {'refuted':>9} {'inconcl.':>9}  truth ({SEEDS} seeds, {draws} draws)")
    for seed, truth in enumerate(TRUTHS):
        row = play(truth, draws, seed)
        shares = "".join(f"{100 * row[v]:8.1f} %"[:10].rjust(10) for v in ("supported", "refuted", "inconclusive"))
        broken = "" if row["kept"] else "  PROMISE BROKEN"
        print(f"{truth.claim:18}{shares}  {truth.words}: {row['promise']}{broken}", flush=True)
        rows.append(row)
    write(out, (json.dumps({"seeds": SEEDS, "rows": rows}, indent=1, ensure_ascii=False) + "\n").encode())
    if not all(row["kept"] for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    app()
