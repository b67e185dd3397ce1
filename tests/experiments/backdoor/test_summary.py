import numpy as np
import pytest
from scipy import stats

from experiments.backdoor import summary


def test_the_margin_is_students():
    values = np.array([91.0, 97.0, 100.0])
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert summary.margin(values) == pytest.approx((high - low) / 2)
    assert summary.margin(np.full(3, 7.0)) == 0
    assert summary.margin(np.array([1.0])) is None


def test_the_half_life_is_the_first_round_below_half_of_the_mean():
    assert summary.half_life(np.array([[0.0, 1.0, 0.9, 0.5], [0.0, 0.6, 0.4, 0.2]])) == 2
    assert summary.half_life(np.array([[0.0, 1.0, 0.9]])) is None
