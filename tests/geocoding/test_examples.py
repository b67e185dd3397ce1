"""Texts as arrays."""

import numpy as np

from fl_jax.geocoding import examples


def test_batches_are_filled_up_with_rows_that_do_not_count(pieces):
    _, known, words, _ = pieces
    lat, lon = np.array([48.85, 35.69]), np.array([2.35, 139.69])
    data = examples.encode(known, words, ["Paris", "東京"], lat=lat, lon=lon, length=16)
    assert data.near[:, 0].all() and data.length.tolist() == (data.tokens > 0).sum(1).tolist()
    batch = examples.batch(data, np.arange(2), fill=5)
    assert batch["weight"].tolist() == [1, 1, 0, 0, 0]
    assert {len(v) for v in batch.values()} == {5}
    both = examples.join([data, data])
    assert len(both.leaf) == 4 and both.evidence.dense.shape[0] == 4
