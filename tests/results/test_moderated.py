"""Variances lend each other what they have in common, and none is talked below what it shows."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from results import stats
from results.moderated import moderated, prior


def test_the_prior_that_was_planted_is_found():
    """Variances drawn as Smyth's model says: a common one of 4, worth 10 degrees of freedom."""
    rng = np.random.default_rng(0)
    true = 10 * 4.0 / rng.chisquare(10, 4000)
    found = prior((true * rng.chisquare(2, 4000) / 2).tolist(), 2)
    assert found is not None
    assert found.variance == pytest.approx(4.0, rel=0.05)
    assert found.freedom == pytest.approx(10, rel=0.25)


def test_cells_that_are_alike_lend_all_they_have():
    rng = np.random.default_rng(1)
    found = prior((rng.chisquare(2, 6) / 2).clip(0.5).tolist(), 2)
    assert found is not None
    assert math.isinf(found.freedom)
    assert moderated(1e-9, 2, found) == (pytest.approx(found.variance), 12.0)


def test_cells_that_share_their_luck_are_worth_no_more_than_one():
    found = prior([1.0, 1.1, 0.9, 1.0], 2, shared=1.0)
    assert found is not None
    assert found.most == 2
    assert moderated(0.9, 2, found)[1] == 2


def test_a_cell_that_spreads_more_keeps_its_own_deviation_and_freedom():
    found = prior([1.0, 1.1, 0.9, 1.0], 2)
    assert moderated(50.0, 2, found) == (50.0, 2)


def test_too_few_cells_lend_nothing():
    assert prior([1.0, 2.0], 2) is None
    assert moderated(1.0, 2, None) == (1.0, 2)


def test_a_moderated_difference_is_narrower_by_its_freedom_and_keeps_the_level():
    rng = np.random.default_rng(2)
    false, wide = 0, 0.0
    for _ in range(1000):
        cells = rng.normal(0, 1, (3, 6))
        beside = prior(cells.var(axis=0, ddof=1).tolist(), 2)
        found = stats.difference(cells[:, 0], np.zeros(3), beside=beside)
        plain = stats.difference(cells[:, 0], np.zeros(3))
        false += found.low > 0
        wide += (found.high - found.value) / (plain.high - plain.value) / 1000
    assert false / 1000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)
    assert wide < scipy_stats.t.ppf(0.95, 4) / scipy_stats.t.ppf(0.95, 2) * 2
