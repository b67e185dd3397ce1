"""Calibration finds what was put in."""

import numpy as np
import pytest

from fl_jax.geocoding import calibrate


def test_temperatures_are_found():
    draws = np.random.default_rng(0)
    logits = draws.normal(size=(4000, 6)) * 2
    true = np.array([draws.choice(6, p=np.exp(r) / np.exp(r).sum()) for r in logits])
    found = calibrate.temperatures([logits * 2, logits[:5]], [true, true[:5]])
    assert found[0] == pytest.approx(2, rel=0.1)
    assert found[1] == 1  # too few to say


def test_masses_make_regions_hold_what_they_say():
    draws = np.random.default_rng(1)
    above = draws.random(5000) ** 2  # overconfident
    made = calibrate.identity(3)._replace(mass=calibrate.masses(above))
    fresh = draws.random(5000) ** 2
    for p in (0.5, 0.8, 0.9):
        assert np.mean(fresh <= made.region_mass(p)) == pytest.approx(p, abs=0.03)
    assert calibrate.identity(3).region_mass(0.7) == pytest.approx(0.7)


def test_answers_that_are_seldom_right_are_not_given():
    confidence = np.linspace(0, 1, 100)
    right = confidence > 0.5
    threshold = calibrate.abstention(confidence, right)
    assert np.mean(right[confidence < threshold]) <= 0.1
    assert 0.5 < threshold < 0.6
    assert calibrate.abstention(confidence, np.ones(100, bool)) == 0.0
