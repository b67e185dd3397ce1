"""Phrases: counts by hand."""

import numpy as np

from fl_jax.geocoding import phrases, s2, words


def test_counts_by_hand():
    texts = ["village in Burgundy", "castle in Burgundy", "village in Kent, in Kent"]
    leaves = np.array([0, 0, 1])
    points = s2.xyz(np.array([47.0, 47.2, 51.0]), np.array([4.0, 4.2, 1.0]))
    found = phrases.learn(texts, leaves, points, np.array([0.5, 0.5]))

    def counts(text):
        row = found.find(np.array([words.name_key(text)]))[0]
        span = slice(found.start[row], found.start[row + 1])
        return row, dict(zip(found.leaf[span].tolist(), found.count[span].tolist(), strict=True))

    row, own = counts("in Burgundy")
    assert own == {0: 2} and found.total[row] == 2
    np.testing.assert_allclose(found.gain[row], np.log(2), rtol=1e-6)
    np.testing.assert_allclose(found.mean[row], points[:2].mean(0), rtol=1e-6)
    row, own = counts("in Kent")
    assert own == {1: 1}  # a text counts once
    assert phrases.rank(found, np.array([row]), True)[0] == 0
    assert counts("in")[1] == {0: 2, 1: 1}
    assert found.find(np.array([1]))[0] == -1
