import numpy as np
import pytest

from fl_jax.core import errors
from privacy.membership import table, thresholds


def test_calibration_takes_the_out_models_mean():
    member = np.array([[True, False, False], [False, False, True]])
    scores = table.make(np.array([1.0, 2.0]), np.arange(6.0).reshape(2, 3), member)
    assert thresholds.calibrated(scores).tolist() == [1 - 1.5, 2 - 3.5]
    assert thresholds.midpoint(scores).tolist() == [1 - (0 + 1.5) / 2, 2 - (5 + 3.5) / 2]


def test_the_best_threshold_by_brute_force():
    rng = np.random.default_rng(0)
    member = rng.random(50) < 0.4
    signal = rng.normal(size=50) + member
    cut = thresholds.best(signal, member)
    value = lambda c: (signal[member] >= c).mean() - (signal[~member] >= c).mean()
    assert np.isclose(value(cut), max(value(c) for c in signal))


def test_each_class_has_its_own():
    shadow = np.array([0.0, 1.0, 10.0, 11.0])
    member = np.array([False, True, False, True])
    labels = np.array([0, 0, 1, 1])
    found = thresholds.per_class(np.array([0.5, 12.0]), np.array([0, 1]), shadow, labels, member)
    assert found.tolist() == [-0.5, 1.0]
    with pytest.raises(errors.DataError, match="class 2 has 0 shadow members"):
        thresholds.per_class(np.zeros(1), np.array([2]), shadow, labels, member)
