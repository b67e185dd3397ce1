import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.attacks import anomaly

G = {"a": jnp.array([[1.0, 2.0], [0.0, -1.0]]), "b": jnp.array([2.0])}
X = {"a": jnp.array([[1.5, 2.0], [0.0, -3.0]]), "b": jnp.array([1.0])}
g, x = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(t)]) for t in (G, X))


def test_scores_are_their_formulas():
    np.testing.assert_allclose(anomaly.l2(X, G), np.linalg.norm(x - g), rtol=1e-6)
    np.testing.assert_allclose(anomaly.squared_l2(X, G), np.sum((x - g) ** 2), rtol=1e-6)
    cosine = 1 - x @ g / np.linalg.norm(x) / np.linalg.norm(g)
    np.testing.assert_allclose(anomaly.cosine(X, G), cosine, rtol=1e-5)
    ratios = [np.linalg.norm(np.ravel(X[k] - G[k])) / np.linalg.norm(np.ravel(G[k])) for k in G]
    np.testing.assert_allclose(anomaly.layer_norms(X, G), np.mean(ratios), rtol=1e-5)


@pytest.mark.parametrize("name", sorted(anomaly.SCORES))
def test_derivatives_agree_with_differences(name):
    score = anomaly.by_name(name)
    grads = jax.grad(score)(X, G)
    for key in X:
        for place in np.ndindex(X[key].shape):
            step = lambda d, key=key, place=place: {**X, key: X[key].at[place].add(d)}
            measured = (score(step(1e-2), G) - score(step(-1e-2), G)) / 2e-2
            np.testing.assert_allclose(grads[key][place], measured, rtol=2e-2, atol=2e-3)


def test_an_unknown_score_is_refused():
    with pytest.raises(errors.ConfigError, match="unknown anomaly score 'l3'"):
        anomaly.by_name("l3")
