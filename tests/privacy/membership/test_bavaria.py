import numpy as np
import pytest
from scipy import integrate, stats

from fl_jax.core import roc
from privacy.membership import bavaria, lira, table


def many(records=400, models=6, seed=0):
    """Records of different means and variances, each in half of the models."""
    rng = np.random.default_rng(seed)
    spread = 1 / np.sqrt(rng.gamma(3, 1 / 3, (records, 1)))
    hard = 4 * rng.normal(size=(records, 1))
    member = np.zeros((records, models), bool)
    member[:, ::2] = True
    shadow = hard + spread * (member + rng.normal(size=(records, models)))
    truth = rng.random(records) < 0.5
    target = hard[:, 0] + spread[:, 0] * (truth + rng.normal(size=records))
    return table.make(target, shadow, member), truth


def test_the_predictive_is_the_integral_over_mean_and_variance():
    scores, _ = many(30)
    mask = scores.member
    found = bavaria.predictive(scores.shadow, mask)
    values = scores.shadow[0, mask[0]]
    count = mask.sum(1)
    mean = np.where(mask, scores.shadow, 0).sum(1) / count
    square = np.where(mask, (scores.shadow - mean[:, None]) ** 2, 0).sum(1)
    prior = bavaria.fit_prior(mean, square, count)
    law = stats.invgamma(prior.freedom / 2, scale=prior.freedom * prior.variance / 2)

    def joint(new, variance):
        """p(values, new | variance) p(variance), the mean integrated out by covariance."""
        data = np.append(values, new) if new is not None else values
        covariance = variance * (np.eye(len(data)) + 1 / prior.weight)
        return stats.multivariate_normal.pdf(data, np.full(len(data), prior.mean), covariance) * (
            law.pdf(variance)
        )

    grid = np.geomspace(1e-3, 1e3, 3000)
    whole = lambda new: integrate.trapezoid([joint(new, v) for v in grid], grid)
    for x in (values.mean(), values.mean() + 2.0):
        expected = np.log(whole(x) / whole(None))
        np.testing.assert_allclose(found.log_density(np.full(30, x))[0], expected, atol=2e-3)


def test_the_prior_is_recovered():
    rng = np.random.default_rng(3)
    variance = 8 * 2.0 / rng.chisquare(8, 20_000)
    mean = 1.0 + np.sqrt(variance / 0.25) * rng.normal(size=20_000)
    values = mean[:, None] + np.sqrt(variance)[:, None] * rng.normal(size=(20_000, 4))
    own = values.mean(1)
    prior = bavaria.fit_prior(own, ((values - own[:, None]) ** 2).sum(1), np.full(20_000, 4))
    assert abs(prior.mean - 1) < 0.05 and abs(prior.freedom - 8) < 1
    assert abs(prior.variance - 2) < 0.1 and abs(prior.weight - 0.25) < 0.03


def test_equal_variances_give_the_pooled_one():
    rng = np.random.default_rng(4)
    values = 3 * rng.normal(size=(50, 1)) + rng.normal(size=(50, 2))
    values[:, 1] = values[:, 0] + 1.0  # the same variance in every record
    own = values.mean(1)
    prior = bavaria.fit_prior(own, ((values - own[:, None]) ** 2).sum(1), np.full(50, 2))
    assert prior.freedom == bavaria.FIRM and np.isclose(prior.variance, 0.5)


@pytest.mark.parametrize("form", bavaria.FORMS)
def test_better_than_a_variance_per_example_with_few_models(form):
    gain = []
    for seed in range(5):
        scores, truth = many(seed=seed)
        own = roc.area(bavaria.online(scores, form=form), truth)
        gain.append(own - roc.area(lira.online(scores, centre="mean"), truth))
    assert np.mean(gain) > 0.02


def test_many_models_make_it_lira():
    scores, _ = many(200, 1200)
    own, other = bavaria.online(scores), lira.online(scores, centre="mean")
    assert np.corrcoef(own, other)[0, 1] > 0.999
    one = bavaria.offline(scores, form="gaussian")
    assert np.corrcoef(one, lira.offline(scores, centre="mean"))[0, 1] > 0.999


def test_one_model_a_side_is_enough():
    scores, truth = many(2000, 2)
    assert roc.area(bavaria.online(scores), truth) > 0.52


@pytest.mark.parametrize("form", bavaria.FORMS)
def test_models_that_all_say_the_same_say_nothing(form):
    member = np.tile(np.arange(8) < 4, (3, 1))
    scores = table.make(np.zeros(3), np.zeros((3, 8)), member)
    np.testing.assert_array_equal(bavaria.online(scores, form=form), 0)
    np.testing.assert_array_equal(bavaria.offline(scores, form=form), 0)


@pytest.mark.parametrize("freedom", [30.0, 1e4])
def test_odds_keep_their_order_where_the_tail_is_no_float(freedom):
    z = np.array([1e2, 1e3, 1e13, 1e14, -1e14])
    law = bavaria.Predictive(np.zeros(5), np.ones(5), np.full(5, freedom))
    found = law.log_odds(z)
    assert np.isfinite(found).all()
    assert (np.diff(found[:4]) > 0).all()
    assert found[4] == -found[3]
    for x, odds in zip(z[:4], found, strict=False):
        # The tail by quadrature, over what the density is at its start.
        density = lambda u, x=x: np.exp(
            stats.t.logpdf(x * (1 + u), freedom) - stats.t.logpdf(x, freedom)
        )
        tail, _ = integrate.quad(density, 0, 60 / min(freedom, x * x), limit=200)
        want = -(stats.t.logpdf(x, freedom) + np.log(tail * x))
        assert odds == pytest.approx(want, rel=1e-6)
