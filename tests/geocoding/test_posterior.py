"""The posterior: proper, exact, bounded by its residual, equal to the slow twin."""

import numpy as np

from fl_jax.geocoding import posterior

TEXTS = ["Paris, Texas", "東京", "50 km north of Lyon", "nothing in particular"]


def test_leaves_sum_to_one_and_are_what_full_passes_give(geocoder):
    _, encoded = geocoder.encode(TEXTS)
    logs, stopped, left = geocoder.expand(encoded, len(TEXTS), 0.0)
    leaves = geocoder.partition.leaves
    assert (left == 0).all()
    np.testing.assert_allclose(np.exp(logs[:, leaves]).sum(1), 1, atol=1e-5)
    slow = posterior.brute_force(geocoder.params, geocoder.config, geocoder.tables, encoded)
    np.testing.assert_allclose(logs[:, leaves], slow[: len(TEXTS)], atol=2e-4)
    inner = ~np.isin(np.arange(len(geocoder.partition.level)), leaves)
    assert not stopped[:, inner].any()


def test_a_residual_is_kept_and_nothing_is_lost(geocoder):
    _, encoded = geocoder.encode(TEXTS)
    for capacity in (1, 2, 8):
        found = geocoder._expand(encoded, capacity)
        mass = np.where(found.stopped, np.exp(found.node), 0).sum(1)[: len(TEXTS)]
        np.testing.assert_allclose(mass, 1, atol=1e-5)
    exact, _, _ = geocoder.expand(encoded, len(TEXTS), 0.0)
    some, _stopped, left = geocoder.expand(encoded, len(TEXTS), 0.05)
    assert (left <= 0.05).all()
    reached = some > -1e8
    np.testing.assert_allclose(some[reached], exact[reached], atol=1e-4)
    narrow = posterior.widths(geocoder.partition, 1)
    beam = posterior.expand(geocoder.params, geocoder.config, geocoder.tables, encoded, narrow)
    leaves = geocoder.partition.leaves
    best = np.asarray(beam.node)[: len(TEXTS), leaves].max(1)
    assert (best <= exact[:, leaves].max(1) + 1e-5).all()  # a beam finds no more than there is
