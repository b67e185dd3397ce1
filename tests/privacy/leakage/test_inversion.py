import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.nn import loss as losses
from fl_jax.train import step
from fl_jax.train.state import Variables
from privacy.leakage import inversion, networks


@pytest.fixture(scope="module")
def victim():
    """A small LeNet, one image of a cross, and the gradient function."""
    model = networks.make(networks.LeNet, shape=(8, 8, 1), classes=4, method="library")
    params = jax.jit(model.network.init)(jax.random.key(0))[0]
    loss = losses.classification(model.network)

    def gradient(params, x, y):
        return step.gradient(loss, Variables(params, {}), {"x": x, "y": y}, jax.random.key(0))[1]

    x = np.zeros((1, 8, 8, 1), np.float32)
    x[0, 3:5], x[0, :, 3:5] = 1, 1
    return params, gradient, jnp.asarray(x), jnp.array([2])


def test_dlg_finds_the_image_behind_a_gradient(victim, key):
    params, gradient, x, y = victim

    @jax.jit
    def attack():
        seen = gradient(params, x, y)
        label = inversion.label(seen["output"]["bias"])
        objective = inversion.squared_distance(gradient, params, seen, label[None])
        start = inversion.noise(key, x.shape)
        found = inversion.search(objective, start, method="lbfgs", steps=120)
        return label, found, objective(start), objective(x)

    label, found, first, best = attack()
    assert int(label) == 2
    assert float(best) == 0
    assert float(found.loss[-1]) < 1e-4 * float(first)
    assert float(inversion.psnr(found.x, x)[0]) > 20


def test_the_cosine_objective_ignores_scale_and_its_search_descends(victim, key):
    params, gradient, x, y = victim

    @jax.jit
    def attack():
        seen = jax.tree.map(
            lambda g: 7 * g, gradient(params, x, y)
        )  # a step size one does not know
        objective = inversion.cosine(gradient, params, seen, y, variation=0.0)
        smooth = inversion.cosine(gradient, params, seen, y, variation=0.5)
        start = inversion.noise(key, x.shape)
        found = inversion.search(objective, start, steps=100)
        return objective(x), smooth(x), objective(start), objective(found.x), found

    exact, smooth, first, last, found = attack()
    np.testing.assert_allclose(exact, 0, atol=1e-6)
    down, right = jnp.abs(jnp.diff(x, axis=1)).mean(), jnp.abs(jnp.diff(x, axis=2)).mean()
    np.testing.assert_allclose(smooth, 0.5 * (down + right), rtol=1e-5)
    assert float(last) < 0.2 * float(first)
    np.testing.assert_allclose(
        last, jnp.min(found.loss), rtol=1e-3, atol=1e-6
    )  # the lowest point, not the last
    assert 0 <= float(jnp.min(found.x)) <= float(jnp.max(found.x)) <= 1


def test_label_counts_are_exact_where_the_mean_prediction_is(victim):
    params, gradient, _, _ = victim
    model = networks.make(networks.LeNet, shape=(8, 8, 1), classes=4, method="library")
    x = jax.random.uniform(jax.random.key(3), (12, 8, 8, 1))
    y = jnp.array([0, 0, 0, 1, 3, 3, 3, 3, 3, 3, 3, 3])
    seen, logits = jax.jit(
        lambda: (gradient(params, x, y), model.network.apply(params, {}, x)[0])
    )()
    mean = jax.nn.softmax(logits).mean(axis=0)
    found = inversion.label_counts(seen["output"]["bias"], mean, 12)
    assert found.tolist() == [3, 1, 0, 8]
    rough = inversion.label_counts(seen["output"]["bias"], mean + 0.02, 12)
    assert int(rough.sum()) == 12


def test_reconstructions_are_matched_to_originals():
    truth = jnp.asarray(np.random.default_rng(0).random((3, 2, 2, 1)), jnp.float32)
    found = truth[jnp.array([2, 0, 1])] + 0.01
    order = inversion.match(found, truth)
    np.testing.assert_allclose(found[order], truth, atol=0.011)
    np.testing.assert_allclose(
        inversion.psnr(truth + jnp.where(truth < 0.5, 0.1, 0.0), truth)[0] > 20, True
    )
    np.testing.assert_allclose(
        inversion.psnr(jnp.zeros((1, 2)), jnp.full((1, 2), 0.1)), 20, rtol=1e-5
    )


def test_an_unknown_search_is_refused():
    with pytest.raises(errors.ConfigError, match="unknown search 'newton'"):
        inversion.search(jnp.sum, jnp.zeros((1, 2)), method="newton")


def test_label_counts_sum_to_the_batch_whatever_the_gradient():
    even = jnp.array([0.5, 0.5])
    for bias in (jnp.array([2.0, 2.0]), jnp.array([jnp.nan, 0.0])):
        assert inversion.label_counts(bias, even, 5).sum() == 5


def test_records_that_are_no_images_are_sought_without_variation():
    gradient = lambda params, x, y: params * x
    seen, y = jnp.array([[1.0, 2.0]]), jnp.zeros(1, jnp.int32)
    start = jnp.full((1, 2), 0.5)
    smooth = inversion.cosine(gradient, jnp.float32(1), seen, y)
    with pytest.raises(errors.DataError, match=r"got \(1, 2\); other records take variation=0"):
        inversion.search(smooth, start, steps=2)
    plain = inversion.cosine(gradient, jnp.float32(1), seen, y, variation=0.0)
    found = inversion.search(plain, start, steps=200, rate=0.02).x
    np.testing.assert_allclose(found[0, 1] / found[0, 0], 2, rtol=0.05)
