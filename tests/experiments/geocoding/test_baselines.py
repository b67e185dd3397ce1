"""The baselines do what they say."""

import numpy as np

from experiments.geocoding import baselines
from experiments.geocoding.task import Split
from fl_jax.geocoding import embedded, gazetteer, s2

PLACES = gazetteer.from_rows(embedded.places(), embedded.countries(), {}, (), "embedded")


def test_dictionary_and_population():
    name = lambda row: PLACES.display(row) if row >= 0 else None
    assert name(baselines.dictionary(PLACES, "Paris")) == "Paris, France"
    assert name(baselines.dictionary(PLACES, "Paris, town in the United States")) == (
        "Paris, United States"
    )
    assert baselines.dictionary(PLACES, "a castle") == -1
    assert name(baselines.population(PLACES, "London")) == "London, United Kingdom"
    assert baselines.population(PLACES, "Atlantis") == -1


def test_neighbour_and_constant():
    part = Split(["a", "b"], ["", ""], np.array([48.0, 10.0]), np.array([2.0, 20.0]))
    found = baselines.neighbour(["village in Burgundy", "school in Chad"], part, ["in Burgundy"])
    np.testing.assert_allclose(found[0], s2.xyz(48.0, 2.0))
    assert baselines.constant(part, part).min() < 1e-6
