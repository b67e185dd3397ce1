import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.federated.statistics import norms

X = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)
UPDATES = {"a": jnp.asarray(X[:, :6].reshape(5, 2, 3)), "b": jnp.asarray(X[:, 6:])}


def test_the_mean_of_the_chosen_is_of_clipped_ones():
    found = norms.of_each(UPDATES)
    np.testing.assert_allclose(found, np.linalg.norm(X, axis=1), rtol=1e-5)
    chosen, bound = np.array([1, 0, 1, 1, 0]) > 0, np.sort(np.linalg.norm(X, axis=1))[1]
    out = norms.clipped_mean(UPDATES, jnp.asarray(chosen), found, jnp.float32(bound))
    short = X * np.minimum(1, bound / np.linalg.norm(X, axis=1))[:, None]
    expected = short[chosen].mean(0)
    np.testing.assert_allclose(np.r_[np.ravel(out["a"]), out["b"]], expected, rtol=1e-5, atol=1e-6)
    nobody = norms.clipped_mean(UPDATES, jnp.zeros(5, bool), found, jnp.float32(bound))
    assert not np.any(nobody["a"])


def test_only_what_is_beyond_the_bound_counts():
    x = {"a": jnp.array([3.0, 4.0])}
    assert float(norms.beyond(x, jnp.float32(2.0))) == 1.5
    assert float(norms.beyond(x, jnp.float32(6.0))) == 0.0
    slope = jax.grad(norms.beyond)(jax.tree.map(jnp.zeros_like, x), jnp.float32(0.0))
    assert np.isfinite(slope["a"]).all()
