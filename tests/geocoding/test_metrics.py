"""The measures on examples done by hand."""

import numpy as np
import pytest

from fl_jax.geocoding import metrics


def test_cells_by_hand():
    found = metrics.cells(["20331203", "12"], ["20331122", "12"])
    assert found["hP"] == found["hR"] == pytest.approx(7 / 10)
    assert found["flat"] == 0.5


def test_auc_and_accuracies():
    assert metrics.distances(np.zeros(9))["auc"] == 0
    assert metrics.distances(np.full(9, 20038.0))["auc"] == pytest.approx(1)
    found = metrics.distances(np.array([0.0, 10, 100, 1000]))
    assert found["acc@161"] == 0.75
    assert found["acc@25"] == 0.5
    assert found["median"] == 55


def test_calibration_and_intervals():
    draws = np.random.default_rng(0)
    p = draws.random(20000)
    assert metrics.calibration_error(p, draws.random(20000) < p) < 0.02
    assert metrics.calibration_error(p, draws.random(20000) < p**2) > 0.1
    low, high = metrics.interval(draws.normal(size=400), np.mean)
    assert low < 0 < high
    assert metrics.coverage(np.linspace(0, 1, 101), (0.5,))[0.5] == pytest.approx(0.5, abs=0.02)
