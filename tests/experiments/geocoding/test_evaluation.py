"""What the evaluation counts."""

import numpy as np

from experiments.geocoding import evaluation
from fl_jax.geocoding import embedded, gazetteer, s2


def test_rows_in_the_gazetteer():
    places = gazetteer.from_rows(embedded.places(), embedded.countries(), {}, (), "embedded")
    truth = s2.xyz(np.array([48.85, 10.0, 48.85]), np.array([2.35, 10.0, 2.35]))
    found = evaluation.in_gazetteer(places, ["Paris", "Paris", ""], truth)
    assert found.tolist() == [True, False, False]
    assert evaluation.country_accuracy(places, truth, truth) == 1
