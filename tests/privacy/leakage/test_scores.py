import numpy as np
import pytest
from scipy import stats

from fl_jax.core import errors, roc
from privacy.leakage import scores


def test_the_intervals_area_is_that_of_the_curve_ties_included():
    rng = np.random.default_rng(0)
    for _ in range(20):
        positive = rng.random(60) < 0.4
        found = np.round(rng.normal(size=60) + positive, 1)
        made = scores.interval(found, positive)
        np.testing.assert_allclose(made.auc, roc.area(found, positive))
        assert made.low < made.auc < made.high


def test_the_interval_covers_the_true_area():
    """95 % of intervals hold the area that two normal laws have."""
    rng = np.random.default_rng(1)
    truth, hits = stats.norm.cdf(1 / np.sqrt(2)), 0
    for _ in range(300):
        found = np.concatenate([rng.normal(1, 1, 40), rng.normal(0, 1, 60)])
        made = scores.interval(found, np.arange(100) < 40)
        hits += made.low <= truth <= made.high
    assert 0.91 <= hits / 300 <= 0.99


def test_paired_tests():
    better = np.array([0.9, 0.85, 0.8, 0.95, 0.9])
    made = scores.paired(better, better - np.array([0.1, 0.05, 0.2, 0.1, 0.15]))
    assert made.p == 1 / 32  # all five differences above 0
    assert made.t_p < 0.01
    np.testing.assert_allclose(made.mean, 0.12)
    mixed = scores.paired(better, better + np.array([0.1, -0.1, 0.1, -0.1, 0.0]))
    assert mixed.p > 0.4
    assert scores.paired(better, better).p == 1.0
    assert scores.paired(better, better).t_p == 1.0


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(errors.DataError, match="both of them, got 0 positive and 3"):
        scores.interval(np.zeros(3), np.zeros(3, bool))
    with pytest.raises(errors.DataError, match="2 to 20 pairs"):
        scores.paired(np.zeros(1), np.ones(1))
    with pytest.raises(errors.DataError, match="seeds that diverged"):
        scores.paired(np.array([0.9, np.nan]), np.zeros(2))
