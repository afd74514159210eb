"""When a net counts as converged: by its errors, where the learning rate still works, and by no seed that ran away."""

import numpy as np
import pytest

from results.convergence import CONVERGED, NOT_CONVERGED, UNSTABLE, convergence, ending

COSINE = [0.9, 0.65, 0.35, 0.16, 0.0]


def state(*curves: list[float], rates: list[float] = COSINE) -> str:
    ends = [ending(curve, rates, 1.0) for curve in curves]
    told = np.array([[end.fall_working, end.fall_last, end.above_best] for end in ends]).T
    return convergence(np.array(["ok"] * len(curves)), *told)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([0.9, 0.5, 0.305, 0.3, 0.3], CONVERGED),
        ([0.9, 0.7, 0.5, 0.4, 0.398], NOT_CONVERGED),
        ([0.9, 0.7, 0.42, 0.415, 0.4], NOT_CONVERGED),
        ([0.9, 0.3, 0.3, 0.3, 0.33], UNSTABLE),
        ([0.02, 0.01, 0.005, 0.003, 0.002], CONVERGED),
    ],
    ids=["level", "only the schedule brought it to a halt", "still falling at the end", "ran away", "at the floor"],
)
def test_one_net(curve: list[float], expected: str):
    assert state(curve) == expected


def test_the_mean_of_the_seeds_decides_but_a_single_one_that_runs_away_is_unstable():
    level, lively = [0.9, 0.5, 0.305, 0.3, 0.3], [0.9, 0.5, 0.335, 0.32, 0.31]
    assert state(level, level, lively) == CONVERGED
    assert state(lively, lively) == NOT_CONVERGED
    assert state(level, level, [0.9, 0.3, 0.3, 0.3, 0.35]) == UNSTABLE


def test_the_last_epoch_at_a_working_rate_is_found_in_any_schedule():
    step = [1.0, 1.0, 0.1, 0.01, 0.01]
    assert state([0.9, 0.8, 0.5, 0.5, 0.5], rates=step) == NOT_CONVERGED
    assert state([0.9, 0.5, 0.5, 0.4, 0.4], rates=step) == CONVERGED
    assert state([0.9, 0.7, 0.5, 0.4, 0.39], rates=[1.0] * 5) == NOT_CONVERGED


def test_too_few_epochs_tell_nothing():
    assert state([0.3], rates=[0.5]) == NOT_CONVERGED
    assert state([0.3, 0.3], rates=[0.5, 0.0]) == NOT_CONVERGED


def test_seeds_that_diverged_do_not_hide_one_that_still_learns():
    nan = float("nan")
    told = [np.array([nan, 0.05]), np.array([nan, 0.05]), np.array([nan, 0.0])]
    assert convergence(np.array(["diverged", "ok"]), *told) == NOT_CONVERGED
    assert convergence(np.array(["diverged", "diverged"]), *(np.full(2, nan) for _ in told)) == CONVERGED
    assert convergence(np.array(["timeout", "ok"]), *(np.zeros(2) for _ in told)) == NOT_CONVERGED
