import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from sklearn import metrics

from fl_jax.core import errors, roc


@hypothesis.given(
    scores=st.lists(st.integers(0, 6), min_size=2, max_size=30), seed=st.integers(0, 99)
)
@hypothesis.settings(max_examples=60, deadline=None)
def test_curve_and_area_by_counting(scores, seed):
    scores = np.array(scores, float)
    positive = np.random.default_rng(seed).random(len(scores)) < 0.5
    positive[0], positive[-1] = True, False
    inside, outside = scores[positive], scores[~positive]
    wins = (inside[:, None] > outside[None]) + 0.5 * (inside[:, None] == outside[None])
    np.testing.assert_allclose(roc.area(scores, positive), wins.mean())
    for fpr, tpr, cut in zip(*roc.curve(scores, positive), strict=True):
        assert np.isclose(fpr, (outside >= cut).mean()) and np.isclose(tpr, (inside >= cut).mean())


def test_the_curve_is_scikit_learns_ties_included():
    rng = np.random.default_rng(0)
    for _ in range(20):
        positive = rng.random(60) < 0.4
        found = np.round(rng.normal(size=60) + positive, 1)
        curve, theirs = (
            roc.curve(found, positive),
            metrics.roc_curve(positive, found, drop_intermediate=False),
        )
        for ours, judge in zip(curve, theirs, strict=True):
            np.testing.assert_allclose(ours, judge)
        np.testing.assert_allclose(curve.area, metrics.roc_auc_score(positive, found))


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(errors.DataError, match="both of them, got 3 positive and 0 negative"):
        roc.curve(np.zeros(3), np.ones(3, bool))
    with pytest.raises(errors.DataError, match="bool mask"):
        roc.curve(np.zeros(3), np.ones(3))
    with pytest.raises(errors.DataError, match="NaN"):
        roc.area(np.array([0.0, np.nan]), np.array([True, False]))
