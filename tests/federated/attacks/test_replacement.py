import jax.numpy as jnp
import numpy as np

from fl_jax.core import tree
from fl_jax.federated.attacks import replacement

G, X = {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([4.0, 6.0])}


def test_the_average_of_the_scaled_update_is_the_malicious_model():
    n, eta = 50, 2.0
    sent = replacement.replace(X, G, replacement.full_scale(eta=eta, participants=n))
    np.testing.assert_allclose(tree.add(G, tree.scale(eta / n, sent))["w"], X["w"], rtol=1e-6)


def test_the_bounded_scale_meets_the_bound_or_gamma():
    assert float(replacement.bounded_scale(X, G, 100.0, 10.0)) == 2.0  # ||X - G|| = 5
    assert float(replacement.bounded_scale(X, G, 1.5, 10.0)) == 1.5
    assert np.isfinite(float(replacement.bounded_scale(G, G, 100.0, 10.0)))
