"""Calibration finds what was put in."""

import copy

import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.geocoding import calibrate, density, metrics, s2, sphere


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
    train, dev = pieces[0].train, pieces[0].dev
    mixed = lambda texts: [t if n % 2 else texts[n - 1] for n, t in enumerate(texts)]
    asked, fresh = mixed(train.text[:400]), mixed(dev.text)  # half are texts of other places
    lat, lon = train.lat[:400], train.lon[:400]
    geocoder = copy.copy(geocoder)
    made = calibrate.fit(geocoder, asked, lat, lon)
    assert geocoder.calibration is made
    found, keys = geocoder.infer(asked, 0.0), s2.key(lat, lon, 30)
    answers = [geocoder.answer(text, own) for text, own in zip(asked, found, strict=True)]
    before = calibrate.masses_before(geocoder, found, lat, lon)
    held_out = calibrate.masses_before(geocoder, geocoder.infer(fresh, 0.0), dev.lat, dev.lon)
    for p in (0.5, 0.8, 0.9):
        mass, held = made.region_mass(p), []
        for answer, key in zip(answers, keys, strict=True):
            cell, level = density.region(geocoder.inside(answer.cells, answer.points), mass)
            held.append((key >> 2 * (30 - level) == cell).any())
        assert np.mean(held) == pytest.approx(p, abs=0.03)
        assert np.mean(held) == metrics.coverage(before, mass)
        assert metrics.coverage(held_out, mass) == pytest.approx(p, abs=0.1)
    least = metrics.coverage(before, 0.0)
    assert metrics.coverage(before, made.region_mass(least / 2)) == least  # the densest cell alone


def test_the_spread_around_points_is_found(geocoder, pieces):
    dev = pieces[0].dev
    geocoder = copy.copy(geocoder)
    draws = np.random.default_rng(0)
    found = geocoder.infer(dev.text, 0.0)
    place = [n for n, own in enumerate(found) if (own.places >= 0).any()]
    sure = []
    for n in place:  # the first place of the gazetteer is meant, and 4 km is how far off it is
        own = found[n]
        row = np.flatnonzero(own.places >= 0)[:1]
        sure.append(
            own._replace(points=own.points[row], pointer=np.ones(1), places=own.places[row])
        )
    lat, lon = s2.latlon(np.concatenate([own.points for own in sure]))
    km = draws.gamma(2, density.SCALES_KM[2], len(lat))
    lat, lon = sphere.move(lat, lon, draws.uniform(0, 360, len(lat)), km)
    made = calibrate.spread(geocoder, sure, lat, lon)
    assert made.sum(1) == pytest.approx([1, 1])
    assert made[0, 2] > 0.6 and made[0].argmax() == 2
    np.testing.assert_allclose(made[1], density.SPREAD[1], atol=1e-6)  # of others it saw none


def test_calibrating_twice_is_calibrating_once(geocoder, pieces):
    dev = pieces[0].dev
    geocoder = copy.copy(geocoder)
    first = calibrate.fit(geocoder, dev.text, dev.lat, dev.lon)
    assert (first.temperature != 1).any()
    second = calibrate.fit(geocoder, dev.text, dev.lat, dev.lon)
    np.testing.assert_array_equal(first.temperature, second.temperature)
    np.testing.assert_allclose(first.spread, second.spread, atol=1e-6)
    np.testing.assert_allclose(first.mass, second.mass, atol=1e-6)
    with pytest.raises(errors.DataError, match="a place for each"):
        calibrate.fit(geocoder, [], dev.lat, dev.lon)
    with pytest.raises(errors.DataError, match="list of strings"):
        calibrate.fit.__wrapped__(geocoder, None, dev.lat, dev.lon)


def test_answers_that_are_seldom_right_are_not_given():
    confidence = np.linspace(0, 1, 100)
    right = confidence > 0.5
    threshold = calibrate.abstention(confidence, right)
    assert np.mean(right[confidence < threshold]) <= 0.1
    assert 0.5 < threshold < 0.6
    assert calibrate.abstention(confidence, np.ones(100, bool)) == 0.0
