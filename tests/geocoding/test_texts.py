"""Texts for training: where they say they are."""

import numpy as np

from fl_jax.geocoding import spatial, sphere, texts


def test_generated_texts_are_where_they_say(pieces):
    task = pieces[0]
    places = task.gazetteer
    made = texts.generate(places, np.arange(50), 400, np.random.default_rng(0), noise=0.0)
    kinds = {t.kind for t in made}
    assert kinds == {"name", "name and region", "inside", "two places", "away", "local"}
    for t in made:
        km = float(sphere.distance(t.lat, t.lon, places.lat[t.place], places.lon[t.place]))
        if t.kind != "away":
            assert km < 1e-6
            continue
        (found,) = spatial.find(t.text)
        assert abs(found.km - km) < 0.01


def test_places_that_a_larger_one_overshadows_are_told_from_it(pieces):
    places = pieces[0].gazetteer
    rows, abroad = texts.overshadowed(places, np.arange(len(places.names)))
    small = [places.display(row) for row in rows.tolist()]
    assert "Paris, United States" in small and "Paris, France" not in small
    assert abroad[small.index("Paris, United States")]
    made = texts.generate(places, np.arange(len(places.names)), 400, np.random.default_rng(0))
    assert sum(t.place in rows for t in made) > 0.1 * len(made)


def test_the_same_seed_gives_the_same_texts_and_noise_changes_them(pieces):
    places = pieces[0].gazetteer
    make = lambda noise: texts.generate(places, np.arange(50), 60, np.random.default_rng(1), noise)
    assert make(0.3) == make(0.3)
    draws = np.random.default_rng(2)
    changed = [texts.disturb("São Paulo, Brazil", draws) for _ in range(40)]
    assert {"são paulo, brazil", "SÃO PAULO, BRAZIL", "Sao Paulo, Brazil"} <= set(changed)
    weights = texts.weights(places, np.arange(50))
    assert np.isclose(weights.sum(), 1) and weights[0] > weights[-1]
