"""Whether one learning rate serves every depth, on planted truths."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from made_cases import study
from made_up import frames, train_record, trial

from bench.store.record import Record
from reports.claims import CLAIMS, OWN_QUESTION, judge
from reports.judges.transfers import transfers
from reports.protocol import MARGIN
from results import search
from results.search import Net

DEPTHS = (18, 66, 258, 1002)
RATES = (0.0001, 0.001, 0.01, 0.1, 1.0)

# Training error of a depth at a rate; None diverges.
Truth = Callable[[int, float], float | None]


def falls(power: float, sharp: float = 0.1) -> Truth:
    """The best rate is 0.1 at 18 layers and goes with a power of depth; a decade off costs `sharp`."""
    return lambda depth, lr: 0.05 + sharp * abs(math.log10(lr / (0.1 * (depth / 18) ** power))) ** 2


def arm(
    truth: Truth, spread: float = 0.003, seeds: int = 3, luck: int = 0, rates: Sequence[float] = RATES
) -> list[Net]:
    """Nets of each depth at each rate, seeds apart by the spread; losses go with errors."""
    rng = np.random.default_rng(luck)
    nets = []
    for depth in DEPTHS:
        means = np.array([np.inf if (e := truth(depth, lr)) is None else e for lr in rates])
        errors = np.minimum(means, 0.95) + rng.normal(0, spread, (seeds, len(rates)))
        errors = np.where(np.isinf(means), np.inf, np.clip(errors, 0, 1))
        nets.append(Net("s", "resnet", depth, (), tuple(range(100, 100 + seeds)), tuple(rates), 2.5 * errors, errors,
                        1 / 1437, 0.9, 110))  # fmt: skip
    return nets


def verdict(truth: Truth, **more: Any) -> str:
    return str(transfers(arm(truth, **more)).verdict)


def test_one_rate_that_serves_every_depth_supports():
    found = transfers(arm(falls(0.0)))
    assert found.verdict == "supported"
    assert "at 0.1 every depth from 18 to 1002 layers" in found.reason
    assert found.high is not None
    assert found.high < MARGIN


def test_best_rates_a_decade_apart_refute():
    found = transfers(arm(falls(-0.6)))
    assert found.verdict == "refuted"
    assert found.low is not None
    assert found.low > MARGIN


def test_a_rate_at_which_the_deep_nets_diverge_serves_nobody():
    def truth(depth: int, lr: float) -> float | None:
        return None if lr > 0.1 * 18 / depth else 0.05 + 0.1 * math.log10(0.1 * 18 / depth / lr) ** 2

    found = transfers(arm(truth))
    assert found.verdict == "refuted"
    assert "diverged" in found.reason or "above their own best" in found.reason


def test_a_difference_of_the_margin_decides_nothing():
    """At every rate one depth lies just at the margin above its own best."""

    def truth(depth: int, lr: float) -> float:
        best = 0.1 if depth < 258 else 0.01
        return 0.05 if lr == best else 0.05 + MARGIN if lr in (0.1, 0.01) else 0.4

    counts = Counter(verdict(truth, luck=luck) for luck in range(200))
    assert counts["supported"] <= 12, counts
    assert counts["refuted"] <= 12, counts


def test_noise_alone_is_no_optimum_of_its_own():
    """Every rate is as good at every depth; the best of each depth is luck."""
    counts = Counter(verdict(flat, spread=0.002, seeds=5, luck=luck) for luck in range(200))
    assert counts["refuted"] == 0
    assert counts["supported"] >= 180, counts


def test_where_every_rate_errs_less_than_the_margin_there_is_nothing_to_tell_apart():
    low = arm(lambda depth, lr: 0.004 if lr == 0.1 else 0.015, spread=0.0005)
    assert transfers(low).verdict == "inconclusive"
    assert "nothing to tell apart" in transfers(low).reason
    assert verdict(lambda depth, lr: 0.004 if lr == 0.1 else 0.3, spread=0.0005) == "supported"


def test_the_best_rate_of_a_few_noisy_seeds_is_not_taken_for_the_best():
    """Three seeds 15 points apart do not tell it from its neighbour."""

    def middle(depth: int, lr: float) -> float:
        return 0.4 if lr in (0.01, 0.1) else 0.9

    counts = Counter(verdict(middle, spread=0.15, rates=RATES[1:], luck=luck) for luck in range(60))
    assert counts["supported"] <= 3, counts
    assert verdict(middle, spread=0.001, rates=RATES[1:]) == "supported"


def flat(depth: int, lr: float) -> float:
    return 0.05 if lr in (0.01, 0.1) else 0.2


def hopeless(lr: float) -> float:
    """Guesses at every rate, most at the low ones."""
    return 0.86 + 0.03 * abs(math.log10(lr / 0.01))


def test_depths_that_no_rate_trains_are_left_out():
    low = (1e-5, *RATES)
    assert verdict(lambda depth, lr: falls(0.0)(depth, lr) if depth < 1002 else hopeless(lr), rates=low) == "supported"
    shallow = arm(lambda depth, lr: falls(0.0)(depth, lr) if depth == 18 else hopeless(lr), rates=low)
    assert "fewer than two depths" in transfers(shallow).reason
    # Down to the least rate that anyone tries: any rate is as good as another for a net that diverges at each.
    rates = [1e-6 * 10**k for k in range(7)]
    diverging = arm(lambda depth, lr: falls(0.0)(depth, lr) if depth == 18 else None, rates=rates)
    assert "fewer than two depths" in transfers(diverging).reason
    # One that guesses at rates that are not so low may learn at lower ones.
    open_below = arm(lambda depth, lr: falls(0.0)(depth, lr) if depth < 1002 else hopeless(lr))
    assert "the best rate of 1002 layers may be lower than those tried" in transfers(open_below).reason


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seeds": 1}, "one seed only"),
        ({"rates": (0.1, 1.0)}, "the best rate of 18 layers may be lower than those tried"),
        ({"rates": (0.001, 0.01)}, "may be higher than those tried"),
    ],
)
def test_what_was_not_tried_is_said(changes: dict[str, Any], words: str):
    found = transfers(arm(falls(0.0), **changes))
    assert (found.verdict, found.effect) == ("inconclusive", None)
    assert words in found.reason


@pytest.mark.parametrize("power", [0.0, -0.5, -1.0])
def test_the_power_of_depth_is_found(power: float):
    grid = tuple(float(f"{10 ** (k / 2):.2g}") for k in range(-9, 2))
    within = 0
    for luck in range(8):
        found = search.exponent(arm(falls(power, sharp=0.4), spread=0.01, luck=luck, rates=grid))
        assert found.value == pytest.approx(power, abs=0.05)
        within += found.low - 0.02 <= power <= found.high + 0.02  # rates are rounded to two digits
    assert within >= 7
    two = search.exponent(arm(falls(power, sharp=0.4), seeds=2, rates=grid))
    assert (two.value, two.estimable) == (pytest.approx(power, abs=0.05), False)


def searched_study(truth: Truth, name: str = "mine") -> list[Record]:
    return [
        train_record(trial("resnet", depth, seed, name, lr=lr, purpose="search"), error_of(truth(depth, lr), seed))
        for depth in DEPTHS
        for lr in RATES
        for seed in (100, 101, 102)
    ]


def error_of(error: float | None, seed: int) -> float | None:
    return None if error is None else error + (seed - 101) / 1000


def test_it_is_judged_on_the_search_and_never_on_what_the_search_chose():
    records = searched_study(falls(0.0)) + study({"resnet": dict.fromkeys(DEPTHS, 0.5)}, "mine")
    (found,) = judge(frames(records), ("lr-transfers",))["lr-transfers"]
    assert (found.verdict, found.study, found.n) == ("supported", "mine", 3)
    assert not set(found.trials) & set(frames(records).trials["digest"])
    # No other claim looks at the search.
    others = judge(frames(searched_study(falls(-0.6))))
    fed = {name for name, findings in others.items() if any(f.trials for f in findings)}
    assert fed == {"lr-transfers"}


def test_it_is_no_claim_of_the_document():
    assert [claim.id for claim in CLAIMS.values() if claim.source == OWN_QUESTION] == [
        "lr-transfers",
        "designs-survive",
    ]
