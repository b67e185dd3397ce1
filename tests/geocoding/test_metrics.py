"""The measures on examples done by hand."""

import numpy as np
import pytest

from fl_jax.core import errors
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
    right = draws.random(20000) < p**2
    rows = metrics.reliability(p, right, 4)
    assert [n for *_, n in rows] == np.histogram(p, 4, (0, 1))[0].tolist()
    for b, (said, found, _) in enumerate(rows):  # the mean of p^2 over a quarter
        middle = (2 * b + 1) / 8
        assert said == pytest.approx(middle, abs=0.01)
        assert found == pytest.approx(middle**2 + 1 / 192, abs=0.03)
    by_hand = sum(n / 20000 * abs(found - said) for said, found, n in rows)
    assert metrics.calibration_error(p, right, 4) == pytest.approx(by_hand)
    assert metrics.reliability(np.ones(3), np.ones(3, bool)) == [(1.0, 1.0, 3)]
    low, high = metrics.interval(draws.normal(size=400), np.mean)
    assert low < 0 < high


def test_coverage_counts_the_first_cell_of_every_region():
    before = np.array([0.0, 0.0, 0.3, 0.6, 1.0])
    assert metrics.coverage(before, 0.0) == 0.4
    assert metrics.coverage(before, 0.3) == 0.4  # a region of 0.3 is full before the third's cell
    assert metrics.coverage(before, 0.31) == 0.6
    assert metrics.coverage(before, 1.0) == 0.8  # a hole is in no region


def test_no_distance_is_refused():
    with pytest.raises(errors.DataError, match="at least one distance"):
        metrics.distances(np.zeros(0))
    with pytest.raises(errors.DataError, match="not finite"):
        metrics.distances(np.array([1.0, np.nan]))
