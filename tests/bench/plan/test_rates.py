"""The best learning rate, on planted truths: nets whose loss over the rate is known."""

import math
import random
from collections.abc import Callable

import pytest

from bench.plan.rates import LEAST, USUAL_STEP, Best, Tried, best, rounded
from bench.plan.search import USUAL_RATES

CHANCE = 0.9


def net(optimum: float, too_high: float = math.inf, spread: float = 0.0) -> Callable[[float], Tried]:
    """A net whose loss is a parabola in log rate around its optimum, and which diverges above a rate."""
    luck = random.Random(f"{optimum}")

    def at(lr: float) -> Tried:
        loss = 0.1 + 0.2 * math.log(lr / optimum) ** 2
        seeds = [math.inf if lr > too_high else loss + luck.gauss(0, spread) for _ in range(2)]
        return Tried(lr, tuple(seeds), tuple(min(CHANCE, 0.4 * loss) for loss in seeds))

    return at


def searched(at: Callable[[float], Tried], rates: tuple[float, ...] = USUAL_RATES) -> tuple[Best, list[float]]:
    """Searches as `make tune` does: until nothing asks for a further rate."""
    tried = [at(lr) for lr in rates]
    found = best(tried, CHANCE)
    while found.next is not None:
        tried.append(at(found.next))
        found = best(tried, CHANCE)
    return found, sorted(each.lr for each in tried)


@pytest.mark.parametrize("optimum", [0.006, 0.01, 0.02, 0.05])
def test_a_best_rate_inside_the_grid_is_found_within_its_step(optimum: float) -> None:
    found, tried = searched(net(optimum))
    assert tried == sorted(USUAL_RATES)
    assert found.state == "inside"
    assert found.lr == pytest.approx(optimum, rel=0.06), "a parabola is met, but for rounding"
    noisy, _ = searched(net(optimum, spread=0.03))
    assert abs(math.log(noisy.lr / optimum)) < math.log(USUAL_STEP)


@pytest.mark.parametrize("optimum", [1e-4, 4e-4, 0.5, 8.0])
def test_beyond_the_grid_it_is_extended_until_the_best_is_inside(optimum: float) -> None:
    first = best([net(optimum)(lr) for lr in USUAL_RATES], CHANCE)
    assert first.state == ("higher" if optimum > 0.1 else "lower")
    assert first.next == pytest.approx(0.32 if optimum > 0.1 else 0.001, rel=0.05)
    found, tried = searched(net(optimum))
    assert found.state == "inside"
    assert found.lr == pytest.approx(optimum, rel=0.1)
    assert tried[0] < found.lr < tried[-1]


def test_the_best_rate_may_stand_just_under_divergence() -> None:
    """Losses fall up to the rate above which every seed diverges: the best is inside, without a parabola."""
    found, _ = searched(net(0.5, too_high=0.05))
    assert (found.state, found.lr) == ("inside", 0.032)


def test_one_seed_that_diverges_counts_as_worst() -> None:
    tried = [Tried(0.1, (0.01, math.inf), (0.0, math.inf)), Tried(0.03, (0.5, 0.5), (0.2, 0.2)),
             Tried(0.01, (0.9, 0.9), (0.4, 0.4))]  # fmt: skip
    assert best(tried, CHANCE).lr == 0.03


def test_a_net_that_diverges_or_guesses_is_followed_down_to_a_rate_that_trains_nothing() -> None:
    def hopeless(lr: float) -> Tried:
        loss, error = (math.inf, math.inf) if lr > 1e-4 else (2.3 + 0.3 * math.log10(1e-4 / lr), 0.89)
        return Tried(lr, (loss, loss), (error, error))

    first = best([hopeless(lr) for lr in USUAL_RATES], CHANCE)
    assert (first.state, first.next) == ("lower", 0.001)
    found, tried = searched(hopeless)
    assert (found.state, found.next) == ("untrained", None)
    assert tried[0] < math.sqrt(10) * LEAST


@pytest.mark.parametrize(
    "losses",
    [
        # By falling rate from 0.032, as measured on digits at 258 layers: the shortcut halved, and dropout on it.
        (math.inf, math.inf, math.inf, math.inf, 1163.4, math.inf),
        (8.1e10, 1.6e6, 3.4e7),
        # Guesses of ordinary losses, the lowest rate clearly the worst: it may be luck, and lower ones may learn.
        (2.31, 2.30, 2.45),
    ],
)
def test_a_guess_between_other_guesses_and_divergence_is_no_best_rate(losses: tuple[float, ...]) -> None:
    tried = [
        Tried(0.032 / 10 ** (k / 2), (loss,), (0.9 if math.isfinite(loss) else math.inf,))
        for k, loss in enumerate(losses)
    ]
    found = best(tried, CHANCE)
    assert found.state == "lower", "it counts as open, not as a best rate inside the grid"
    assert found.next is not None
    assert found.next < tried[-1].lr


def test_a_net_that_diverges_at_the_lowest_rate_and_guesses_above_is_left_open() -> None:
    grid = [Tried(1e-5, (math.inf,), (math.inf,)), Tried(1e-4, (2.3,), (0.9,)), Tried(1e-3, (math.inf,), (math.inf,))]
    assert (best(grid, CHANCE).state, best(grid, CHANCE).next) == ("lower", None)


def test_a_rate_at_which_it_diverges_does_not_bound_the_best_from_below() -> None:
    grid = [Tried(0.1, (1.0,), (0.5,)), Tried(0.03, (0.3,), (0.1,)), Tried(0.01, (math.inf,), (math.inf,))]
    assert best(grid, CHANCE).state == "lower"
    assert best([*grid, Tried(0.003, (0.5,), (0.2,))], CHANCE).state == "inside"


def test_a_net_that_guesses_at_every_rate_tried_is_tried_on() -> None:
    """A grid that is too low, or too high, to train anything is no proof that nothing does."""
    for optimum, grid in ((1.0, (1e-5, 3e-6)), (1e-4, (0.1, 0.03, 0.01))):
        found, _ = searched(net(optimum), grid)
        assert found.state == "inside"
        assert found.lr == pytest.approx(optimum, rel=0.1)


def test_a_net_that_guesses_is_followed_down_past_luck_to_where_it_learns() -> None:
    """As measured: 66 plain layers guess from 0.1 to 0.003, a little better at one rate by luck, and learn at 0.001."""
    luck = {0.1: 2.28, 0.032: 2.25, 0.01: 2.26}

    def late(lr: float) -> Tried:
        loss = luck.get(lr, 2.255) if lr > 0.002 else 2.0 + 0.3 * math.log10(lr / 5e-4) ** 2
        return Tried(lr, (loss,), (0.88 if loss > 2.2 else 0.8,))

    found, _ = searched(late, (0.1, 0.032, 0.01))
    assert found.state == "inside"
    assert found.lr == pytest.approx(5e-4, rel=0.2)


def test_a_search_without_end_ends() -> None:
    def diverges(lr: float) -> Tried:
        return Tried(lr, (math.inf,), (math.inf,))

    def rises(lr: float) -> Tried:
        return Tried(lr, (1 / lr,), (0.1,))

    for at, state in ((diverges, "hopeless"), (rises, "higher")):
        found, tried = searched(at)
        assert (found.state, found.next) == (state, None)
        assert len(tried) < 20


@pytest.mark.parametrize("grid", [(0.12, 0.118), (0.12, 0.1), (1.02, 1.0), (0.0101, 0.01)])
def test_a_search_whose_rates_are_close_goes_on_and_ends(grid: tuple[float, ...]) -> None:
    for at in (lambda lr: Tried(lr, (1 / lr,), (0.1,)), lambda lr: Tried(lr, (lr,), (0.1,))):
        tried = [at(lr) for lr in grid]
        while (found := best(tried, CHANCE)).next is not None:
            assert found.next not in [each.lr for each in tried]
            tried.append(at(found.next))
            assert len(tried) < 100


def test_a_net_whose_outputs_overflow_guesses_and_did_not_diverge() -> None:
    """258 plain layers on Fashion-MNIST: each step's loss is finite, that of the finished net is not a number."""
    found, _ = searched(lambda lr: Tried(lr, (math.inf,), (0.907,)))
    assert (found.state, found.next) == ("untrained", None)
    mixed, _ = searched(lambda lr: Tried(lr, (math.inf, math.inf), (0.907, math.inf)))
    assert mixed.state == "hopeless", "one seed diverged"


def test_a_plateau_and_a_grid_of_other_steps() -> None:
    flat = [Tried(lr, (0.2,), (0.1,)) for lr in (0.1, 0.03, 0.01)]
    assert best([Tried(0.3, (0.9,), (0.4,)), *flat, Tried(0.003, (0.9,), (0.4,))], CHANCE).state == "inside"
    found, _ = searched(net(0.02), (0.1, 0.03, 0.002))
    assert found.lr == pytest.approx(0.02, rel=0.06)
    assert [rounded(lr) for lr in (0.00316, 0.0316, 1 / 3)] == [0.0032, 0.032, 0.33]
