import numpy as np
import pytest
from scipy import stats

from fl_jax.core import errors
from privacy.membership import metrics


def test_balanced_accuracy_is_the_best_of_all_thresholds():
    rng = np.random.default_rng(3)
    scores, member = np.round(rng.normal(size=60), 1), rng.random(60) < 0.5
    inside, outside = scores[member], scores[~member]
    cuts = [*scores, np.inf]
    best = max(((inside >= c).mean() + (outside < c).mean()) / 2 for c in cuts)
    np.testing.assert_allclose(metrics.balanced_accuracy(scores, member), best)


def test_the_interval_is_clopper_and_pearsons():
    for hits, trials in ((0, 5), (3, 10), (10, 10), (199, 600)):
        exact = stats.binomtest(hits, trials).proportion_ci(0.95, "exact")
        found = metrics.interval(hits, trials)
        np.testing.assert_allclose(found[1:], (exact.low, exact.high), atol=1e-12)


def test_tpr_at_a_rate_and_its_refusal():
    scores = np.concatenate([np.arange(100) + 95.5, np.arange(100.0)])
    member = np.arange(200) < 100
    found = metrics.tpr_at(scores, member, 0.05)
    assert found.value == 1.0 and found.low < 1
    with pytest.raises(metrics.Unresolved, match="at least 500 non-members"):
        metrics.tpr_at(scores, member, 0.01)


def test_coverage_of_the_interval():
    rng = np.random.default_rng(0)
    hits = rng.binomial(40, 0.2, 400)
    inside = [metrics.interval(int(h), 40).low <= 0.2 <= metrics.interval(int(h), 40).high
              for h in hits]  # fmt: skip
    assert np.mean(inside) >= 0.93


def test_shadow_thresholds_keep_to_their_rate_on_shadows():
    rng = np.random.default_rng(1)
    member = rng.random(4000) < 0.5
    scores = rng.normal(size=4000) + member
    cut = metrics.shadow_threshold(scores, member, 0.02)
    done = metrics.decide(scores, member, cut)
    assert 0.015 < done.fpr.value <= 0.02
    assert np.isclose(done.ppv(0.5), done.tpr.value / (done.tpr.value + done.fpr.value))


def test_by_class_counts():
    accused = np.array([1, 1, 0, 0, 1, 0], bool)
    member = np.array([1, 0, 1, 0, 1, 1], bool)
    labels = np.array([0, 0, 0, 1, 1, 1])
    found = metrics.by_class(accused, member, labels, 3)
    assert found.precision[:2].tolist() == [0.5, 1.0] and np.isnan(found.precision[2])
    assert found.recall[:2].tolist() == [0.5, 0.5]
    assert found.total_precision == 2 / 3 and found.total_recall == 0.5
    values, shares = metrics.cdf(found.precision)
    assert values.tolist() == [0.5, 1.0] and shares.tolist() == [0.5, 1.0]


def test_bad_input_is_refused():
    with pytest.raises(errors.DataError, match="both of them"):
        metrics.decide(np.zeros(3), np.ones(3, bool), 0.5)
    with pytest.raises(errors.ConfigError, match="prior"):
        metrics.ppv(0.5, 0.1, 0.0)


def test_percentages_and_unknown_classes_are_refused():
    with pytest.raises(errors.ConfigError, match="between 0 and 1, got 95"):
        metrics.interval(3, 10, 95)
    with pytest.raises(errors.DataError, match=r"labels must lie in 0\.\.2"):
        metrics.by_class(np.ones(2, bool), np.ones(2, bool), np.array([0, 3]), 3)


@pytest.mark.parametrize("outside", [6, 13, 600, 777, 4999])
def test_what_an_unresolved_rate_suggests_is_resolved(outside):
    with pytest.raises(metrics.Unresolved) as refused:
        metrics.resolve(1e-5, outside)
    metrics.resolve(float(str(refused.value).partition("ask for ")[2].rstrip(").")), outside)


@pytest.mark.parametrize("outside", [0, 1, 5])
def test_no_rate_is_suggested_where_none_is_resolved(outside):
    with pytest.raises(metrics.Unresolved) as refused:
        metrics.resolve(0.5, outside)
    assert "ask for" not in str(refused.value)


def test_accusations_and_thresholds_that_are_none_are_refused():
    one, two = np.array([True]), np.array([True, False])
    with pytest.raises(errors.DataError, match="every record needs an accusation"):
        metrics.by_class(one, two, np.array([0, 1]), 2)
    with pytest.raises(errors.ConfigError, match="threshold of NaN"):
        metrics.decide(np.array([1.0, 2.0]), two, np.nan)
