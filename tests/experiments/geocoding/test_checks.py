"""Texts whose answer everyone knows."""

import numpy as np

from experiments.geocoding import checks


def test_score_counts_the_right_ones():
    wanted = np.array([(a, b) for _, a, b in checks.TOLD_APART + checks.IN_A_SENTENCE])
    assert len(checks.texts()) == len(set(checks.texts())) == len(wanted)
    lat, lon = wanted.T.copy()
    all_right = checks.score(lat, lon)
    assert all(s["right"] == s["of"] and not s["wrong"] for s in all_right.values())
    lat[0] += 1.0
    lon[-1] = np.nan
    found = checks.score(lat, lon)
    assert found["told apart"]["wrong"] == ["Paris, Texas"]
    assert found["in a sentence"]["right"] == found["in a sentence"]["of"] - 1
