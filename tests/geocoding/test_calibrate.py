"""Calibration finds what was put in."""

import copy

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.geocoding import calibrate, cells, estimate, metrics


def test_temperatures_are_found():
    draws = np.random.default_rng(0)
    logits = draws.normal(size=(4000, 6)) * 2
    true = np.array([draws.choice(6, p=np.exp(r) / np.exp(r).sum()) for r in logits])
    found = calibrate.temperatures([logits * 2, logits[:5]], [true, true[:5]])
    assert found[0] == pytest.approx(2, rel=0.1)
    assert found[1] == 1  # too few to say


def test_masses_make_regions_hold_what_they_say():
    draws = np.random.default_rng(1)
    before = np.maximum(draws.random(5000) ** 2 - 0.1, 0)  # the densest cell holds 31.6 %
    made = calibrate.identity(3)._replace(mass=calibrate.masses(before))
    fresh = np.maximum(draws.random(5000) ** 2 - 0.1, 0)
    for p in (0.5, 0.8, 0.9):
        assert metrics.coverage(fresh, made.region_mass(p)) == pytest.approx(p, abs=0.03)
    assert made.region_mass(0.2) == 0
    assert metrics.coverage(fresh, 0.0) == pytest.approx(0.316, abs=0.03)
    assert calibrate.identity(3).region_mass(0.7) == pytest.approx(0.7)


def test_the_regions_that_are_returned_hold_what_was_asked_for(geocoder, pieces):
    train = pieces[0].train
    asked = train.text[:1] + train.text[:-1]  # texts of other places: no cell is sure of them
    asked[::2] = train.text[::2]
    geocoder = copy.copy(geocoder)
    made = calibrate.fit(geocoder, asked, train.lat, train.lon)
    assert geocoder.calibration is made
    node = cells.deepest(geocoder.partition, train.lat, train.lon)
    answers = geocoder.geocode(asked, residual=0.0)
    before = calibrate.masses_before(geocoder.partition, geocoder.infer(asked, 0.0), node)
    for p in (0.6, 0.8, 0.9):
        mass = made.region_mass(p)
        regions = [estimate.region(geocoder.partition, a.cells, mass) for a in answers]
        held = np.mean([n in own for n, own in zip(node, regions, strict=True)])
        assert held == pytest.approx(p, abs=0.03)
        assert held == metrics.coverage(before, mass)
    least = metrics.coverage(before, 0.0)
    assert 0.3 < least < 0.6
    assert metrics.coverage(before, made.region_mass(0.2)) == least  # the densest cell alone


def test_calibrating_twice_is_calibrating_once(geocoder, pieces):
    dev = pieces[0].dev
    geocoder = copy.copy(geocoder)
    first = calibrate.fit(geocoder, dev.text, dev.lat, dev.lon)
    assert (first.temperature != 1).any()
    second = calibrate.fit(geocoder, dev.text, dev.lat, dev.lon)
    np.testing.assert_array_equal(first.temperature, second.temperature)
    np.testing.assert_allclose(first.mass, second.mass, atol=1e-6)
    with pytest.raises(errors.DataError, match="a place for each"):
        calibrate.fit(geocoder, [], dev.lat, dev.lon)


def test_answers_that_are_seldom_right_are_not_given():
    confidence = np.linspace(0, 1, 100)
    right = confidence > 0.5
    threshold = calibrate.abstention(confidence, right)
    assert np.mean(right[confidence < threshold]) <= 0.1
    assert 0.5 < threshold < 0.6
    assert calibrate.abstention(confidence, np.ones(100, bool)) == 0.0
