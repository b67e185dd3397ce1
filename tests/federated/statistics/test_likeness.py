import jax.numpy as jnp
import numpy as np

from fl_jax.federated.statistics import likeness

X = np.random.default_rng(7).normal(size=(7, 6)).astype(np.float32)
LAST = np.linspace(-1, 2, 6).astype(np.float32)
THERE = np.array([1, 1, 0, 1, 1, 1, 1]) > 0
UPDATES, NOTHING = {"w": jnp.where(THERE[:, None], X, 0)}, {"w": jnp.zeros(6)}


def test_of_the_last_aggregate():
    norms = np.linalg.norm(X, axis=1)
    found = likeness.direction(UPDATES, jnp.asarray(THERE), {"w": jnp.asarray(LAST)})
    expected = X @ LAST / norms / np.linalg.norm(LAST)
    np.testing.assert_allclose(found[THERE], expected[THERE], rtol=1e-5, atol=1e-6)
    found = likeness.distance(UPDATES, jnp.asarray(THERE), {"w": jnp.asarray(LAST)})
    np.testing.assert_allclose(found[THERE], np.linalg.norm(X - LAST, axis=1)[THERE], rtol=1e-5)


def test_of_each_other_before_there_is_one():
    x = X[THERE]
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    found = likeness.direction(UPDATES, jnp.asarray(THERE), NOTHING)
    np.testing.assert_allclose(found[THERE], np.median(unit @ unit.T, axis=1), rtol=1e-4, atol=1e-6)
    apart = np.sort(np.linalg.norm(x[:, None] - x[None], axis=-1), axis=1)
    found = likeness.distance(UPDATES, jnp.asarray(THERE), NOTHING)
    np.testing.assert_allclose(found[THERE], apart[:, :3].sum(1), rtol=1e-3)
    assert np.isfinite(likeness.distance(UPDATES, jnp.zeros(7, bool), NOTHING)).all()
