"""Statistics against scipy, against known answers, and at their edges."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats as scipy_stats

from results import lines, stats


def test_mean_interval_is_the_t_interval_of_scipy():
    values = [0.10, 0.13, 0.11, 0.16]
    found = stats.mean_interval(values)
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_difference_is_the_paired_t_test_of_scipy():
    deep, shallow = [0.10, 0.14, 0.09], [0.05, 0.07, 0.06]
    found = stats.difference(deep, shallow)
    one_sided = scipy_stats.ttest_rel(deep, shallow, alternative="less").confidence_interval(1 - stats.LOOKS[3])
    assert found.high == pytest.approx(one_sided.high)
    margin = scipy_stats.ttest_1samp(np.subtract(deep, shallow), 0.02, alternative="greater")
    assert found.p_above(0.02) == pytest.approx(margin.pvalue)


def test_pairing_removes_what_seeds_share():
    shared = np.array([0.00, 0.20, 0.40])
    paired = stats.difference(shared + np.array([0.011, 0.010, 0.012]), shared)
    assert paired.high - paired.low < 0.01


@pytest.mark.parametrize("values", [[], [0.1], [0.2, 0.2, 0.2], [0.1, math.nan, 0.3], [0.1, math.inf]])
def test_what_cannot_be_estimated_says_so_and_is_never_zero(values):
    for found in (stats.mean_interval(values), stats.bounds(values), stats.difference(values, [0.1] * len(values))):
        assert not found.estimable
        assert found.reason
        assert math.isnan(found.low)
        assert math.isnan(found.high)


def test_seeds_that_do_not_pair_are_not_compared():
    assert not stats.difference([0.1, 0.2], [0.1, 0.2, 0.3]).estimable


def test_equal_readings_spread_as_their_rounding_does():
    found = stats.difference([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], resolution=1 / 1437)
    assert found.estimable
    assert 0 < found.high < 1.1 / 1437


def test_the_test_set_widens_the_interval_of_a_test_error():
    """360 images at 3 % error are known to 0.9 points."""
    assert math.sqrt(stats.sampling_variance(0.03, 360)) == pytest.approx(0.009, abs=0.0015)
    alone, sampled = (stats.mean_interval([0.029, 0.03, 0.031], images=n) for n in (math.nan, 360))
    assert sampled.high - sampled.low > 5 * (alone.high - alone.low)


def test_no_error_on_few_images_is_not_certainty():
    assert stats.sampling_variance(0.0, 360) > 0


def test_known_sampling_brings_freedom_with_it():
    """With next to no spread between seeds the bound is the normal one, not the t of two degrees of freedom."""
    found = stats.difference([0.03, 0.0301, 0.0299], [0.03, 0.03, 0.03], images=10_000)
    error = math.sqrt(2 * stats.sampling_variance(0.03, 10_000))
    assert found.high == pytest.approx(scipy_stats.norm.ppf(1 - stats.LOOKS[3]) * error, rel=0.02)


def test_trend_sees_a_rise_ties_failures_and_ignores_a_fall():
    rise = [[0.1, 0.2, 0.5, 1.0, 1.0]] * 3
    assert stats.rising(rise).p < 0.001
    assert stats.rising(np.flip(rise, axis=1)).p > 0.9


def test_trend_is_scipys_where_nothing_ties():
    rng = np.random.default_rng(1)
    for shape in ((2, 3), (3, 7), (5, 4)):
        blocks = rng.normal(size=shape) + 0.5 * np.arange(shape[1])
        assert stats.rising(blocks).p == pytest.approx(scipy_stats.page_trend_test(blocks).pvalue)


def test_trend_with_ties_counts_every_order():
    """Only the shallowest of three trains, in each of three seeds: one order in three, three times over."""
    assert stats.rising([[0.1, 1.0, 1.0]] * 3).p == pytest.approx(1 / 27)
    blocks = np.array([[0.1, 0.3, 0.3, 1.0], [0.2, 0.1, 1.0, 1.0]])
    weights = np.arange(1, 5)
    ranks = [scipy_stats.rankdata(row) for row in blocks]
    orders = [[np.dot(order, weights) for order in itertools.permutations(row)] for row in ranks]
    total = sum(np.dot(row, weights) for row in ranks)
    share = np.mean([a + b >= total for a in orders[0] for b in orders[1]])
    assert stats.rising(blocks).p == pytest.approx(share)


def test_trend_ties_what_is_alike_wherever_it_lies():
    """A step at the last depth above noise: the noise has no say, be it on one side of a round number or on both."""
    noise = np.array([[0.004, -0.003, 0.002, -0.001], [-0.002, 0.003, -0.004, 0.001], [0.003, -0.001, -0.002, 0.004]])
    for base in np.arange(0.02, 0.06, 0.0025):
        blocks = np.column_stack([base + noise, [0.35, 0.34, 0.36]])
        assert stats.rising(blocks, alike=0.02).p == pytest.approx(1 / 5**3)
    assert stats.rising(blocks).p > stats.ALPHA


def test_trend_counts_a_rise_that_no_two_neighbours_show():
    blocks = [[0.05, 0.065, 0.08, 0.095, 0.11]] * 3
    assert stats.rising(blocks, alike=0.02).p < 0.001
    assert stats.rising(blocks, alike=0.1).p == 1.0


def test_trend_over_ten_depths_with_ties_is_as_drawing_orders_says():
    rng = np.random.default_rng(3)
    blocks = np.rint(4 * rng.random((3, 10)) + 0.1 * np.arange(10))
    ranks, weights = scipy_stats.rankdata(blocks, axis=1), np.arange(1, 11)
    drawn = np.array([(rng.permuted(ranks, axis=1) @ weights).sum() for _ in range(20_000)])
    assert stats.rising(blocks).p == pytest.approx((drawn >= (ranks @ weights).sum() - 1e-9).mean(), abs=0.01)


@pytest.mark.parametrize(
    "blocks", [[], [[0.1, 0.2, 0.3]], [[0.1, 0.2]] * 3, [[0.1, math.nan, 0.3]] * 3, [[0.5, 0.5, 0.5]] * 3]
)
def test_trend_that_cannot_be_tested_says_why(blocks):
    found = stats.rising(blocks)
    assert math.isnan(found.p)
    assert found.reason


def test_line_recovers_a_known_law_and_agrees_with_scipy():
    depth = np.array([18, 34, 66, 130, 258, 514, 1002])
    time = 0.002 + 0.0009 * depth + np.array([1, -1, 2, -2, 1, 0, -1]) * 1e-4
    found, expected = lines.line(depth, time), scipy_stats.linregress(depth, time)
    assert found.slope.value == pytest.approx(expected.slope)
    assert found.intercept == pytest.approx(expected.intercept)
    assert found.r2 == pytest.approx(expected.rvalue**2)
    assert found.slope.low == pytest.approx(expected.slope - scipy_stats.t.ppf(0.975, 5) * expected.stderr)
    assert lines.log_line(depth, 3.0 * depth**1.5).slope.value == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("x", "y"),
    [([], []), ([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [5, 5, 5]), ([1, 2, 3], [1, math.nan, 3])],
)
def test_line_that_cannot_be_fitted_says_why(x, y):
    assert lines.line(x, y).slope.reason
    assert math.isnan(lines.line(x, y).slope.value)


def test_log_and_relative_lines_refuse_zeros():
    assert not lines.log_line([1, 2, 3], [0, 1, 2]).slope.estimable
    assert not lines.relative_line([1, 2, 3], [0, 1, 2]).slope.estimable


def test_relative_line_is_that_of_weighted_least_squares_and_holds_at_the_shallow_end():
    depth = np.array([18, 66, 258, 1002])
    time = np.array([12.0, 40.0, 150.0, 700.0])  # ms: a line through the deep end alone says 2 ms at 18 layers
    found = lines.relative_line(depth, time)
    design = np.column_stack([np.ones(4), depth]) / time[:, None]
    (a, b), rest, *_ = np.linalg.lstsq(design, np.ones(4), rcond=None)
    assert (found.intercept, found.slope.value) == pytest.approx((a, b))
    error = math.sqrt(rest[0] / 2 * np.linalg.inv(design.T @ design)[1, 1])
    assert found.slope.high == pytest.approx(b + scipy_stats.t.ppf(0.975, 2) * error)
    missed = abs(a + b * 18 - 12) / 12
    absolute = lines.line(depth, time)
    assert missed < 0.1 < abs(absolute.intercept + absolute.slope.value * 18 - 12) / 12


def test_holm_on_an_example_by_hand():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    adjusted = stats.holm([0.01, math.nan, 0.02])
    assert math.isnan(adjusted[1])
    assert adjusted[0] == pytest.approx(0.02)


@pytest.mark.parametrize("n", [3, 5, 8, 30])
@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_the_bound_on_the_failure_rate_holds_in_95_percent_of_studies(n: int, rate: float):
    """Rare failures: of three seeds with a rate of 10 %, 73 % of the studies see none, and may not call it small."""
    chance = scipy_stats.binom.pmf(np.arange(n + 1), n, rate)
    assert chance[[stats.most_failing(k, n) >= rate for k in range(n + 1)]].sum() >= 0.95
    assert stats.most_failing(0, 3) == pytest.approx(0.632, abs=0.001)
    assert stats.most_failing(n, n) == 1.0


def test_the_margin_that_seeds_can_see_is_seen_with_that_power():
    """0.5 points between seeds and 3 seeds, checked by drawing."""
    margin = stats.visible_difference(3, 0.005)
    rng = np.random.default_rng(0)
    draws = rng.normal(0, 0.005 * math.sqrt(2), (4000, 3))
    bound = draws.mean(axis=1) + scipy_stats.t.ppf(1 - stats.LOOKS[3], 2) * draws.std(axis=1, ddof=1) / math.sqrt(3)
    assert (bound < margin).mean() == pytest.approx(0.9, abs=0.02)
    assert math.isnan(stats.visible_difference(1, 0.005))
    assert stats.visible_difference(4, 0.005) == margin


def looked(levels: Sequence[float]) -> list[float]:
    """How often t tests of nothing on the first 3, 5 and 8 of equal seeds have erred by each look."""
    draws, wrong, rates = np.random.default_rng(5).standard_normal((400_000, 8)), np.zeros(400_000, dtype=bool), []
    for seeds, level in zip(stats.LOOKS, levels, strict=True):
        part = draws[:, :seeds]
        t = part.mean(axis=1) / part.std(axis=1, ddof=1) * math.sqrt(seeds)
        wrong |= t > scipy_stats.t.isf(level, seeds - 1)
        rates.append(float(wrong.mean()))
    return rates


def test_all_looks_together_err_in_five_percent_and_each_spends_its_share():
    """The share that the spending function allows by each look; three standard errors of so many draws on top."""
    luck = 3 * math.sqrt(0.05 * 0.95 / 400_000)
    for seeds, rate in zip(stats.LOOKS, looked(list(stats.LOOKS.values())), strict=True):
        allowed = stats.ALPHA * math.log(1 + (math.e - 1) * seeds / max(stats.LOOKS))
        assert allowed - 2 * luck < rate <= allowed + luck
    assert looked([0.0249, 0.0207, 0.0248])[-1] > stats.ALPHA + luck


@pytest.mark.parametrize(("seeds", "look"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 5), (7, 5), (8, 8), (50, 8)])
def test_other_counts_of_seeds_are_judged_at_the_next_lower_look(seeds: int, look: int):
    assert stats.look(seeds) == look
    assert stats.level(seeds) == stats.LOOKS.get(look, stats.ALPHA)


@pytest.mark.parametrize("spread", [0.0005, 0.005, 0.02, 0.05])
def test_the_sampling_of_the_test_set_never_narrows_an_interval(spread: float):
    """Three seeds have two degrees of freedom; a known variance beside them must not lend them more for nothing."""
    worse, better = [0.07 - spread, 0.07, 0.07 + spread], [0.012, 0.013, 0.011]
    for images in (100, 360, 10_000):
        seeds = stats.difference(worse, better)
        both = stats.difference(worse, better, images=images)
        assert both.low <= seeds.low
        assert both.high >= seeds.high
        assert stats.mean_interval(worse, images=images).high >= stats.mean_interval(worse).high
