import numpy as np
import pytest

from fl_jax.core import errors, roc
from privacy.leakage import classifiers

RNG = np.random.default_rng(0)
LABELS = np.tile([1, 0], 150)
FEATURES = (RNG.normal(size=(300, 20)) + LABELS[:, None] * np.eye(20)[3] * 3).astype(np.float32)
FEATURES[:, 7] = 4.0  # a feature that never varies


@pytest.mark.parametrize("name", ["random forest", "logistic", "mlp"])
def test_each_learns_and_is_the_same_again(name):
    fit = classifiers.make(name, seed=3).fit
    score = fit(FEATURES[:200], LABELS[:200])
    found = score(FEATURES[200:])
    assert roc.area(found, LABELS[200:] == 1) > 0.85
    np.testing.assert_array_equal(fit(FEATURES[:200], LABELS[:200])(FEATURES[200:]), found)
    # Standardised: units do not matter.
    scaled = fit(1000 * FEATURES[:200], LABELS[:200])(1000 * FEATURES[200:])
    assert roc.area(scaled, LABELS[200:] == 1) > 0.85


def test_the_forest_is_that_of_the_authors():
    from sklearn import ensemble

    forest = ensemble.RandomForestClassifier(
        100, min_samples_leaf=5, min_samples_split=5, random_state=0
    )
    prepare = classifiers.standardise(FEATURES[:200])
    forest.fit(prepare(FEATURES[:200]), LABELS[:200])
    theirs = forest.predict_proba(prepare(FEATURES[200:]))[:, 1]
    ours = classifiers.random_forest().fit(FEATURES[:200], LABELS[:200])(FEATURES[200:])
    np.testing.assert_allclose(ours, theirs)


def test_what_cannot_be_learnt_from_is_refused():
    fit = classifiers.logistic().fit
    with pytest.raises(errors.DataError, match=r"the labels are \[1\]"):
        fit(FEATURES[:3], np.ones(3, int))
    broken = FEATURES.copy()
    broken[0, 0] = np.nan
    with pytest.raises(errors.DataError, match="NaN or infinity: the model has diverged"):
        fit(broken, LABELS)
    with pytest.raises(errors.DataError, match="observed updates hold NaN"):
        fit(FEATURES[:50], LABELS[:50])(broken[:2])
    with pytest.raises(errors.DataError, match="50 updates and 49 labels"):
        fit(FEATURES[:50], LABELS[:49])
    with pytest.raises(errors.ConfigError, match="unknown classifier 'svm'"):
        classifiers.make("svm")


def test_lists_serve_as_arrays():
    fit = classifiers.logistic(steps=5).fit
    fit = getattr(fit, "__wrapped__", fit)
    found = fit(FEATURES[:50].tolist(), LABELS[:50].tolist())(FEATURES[:3])
    like = fit(FEATURES[:50], LABELS[:50])(FEATURES[:3])
    np.testing.assert_allclose(found, like, rtol=1e-4, atol=1e-6)


def test_updates_of_another_length_are_refused():
    rng = np.random.default_rng(0)
    score = classifiers.logistic(steps=2).fit(rng.normal(size=(8, 3)), np.arange(8) % 2)
    for other in (rng.normal(size=(4, 1)), rng.normal(size=3)):  # both would broadcast
        with pytest.raises(errors.DataError, match="learnt from 3 features"):
            score(other)
