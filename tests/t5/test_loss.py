"""The loss: what counts, and the z-loss."""

import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.t5 import loss


def test_only_labels_that_count():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 5)), jnp.float32)
    labels = jnp.array([[2, -100, 4]])
    logs = jax.nn.log_softmax(logits)
    expected = -(logs[0, 0, 2] + logs[0, 2, 4]) / 2
    np.testing.assert_allclose(loss.cross_entropy(logits, labels), expected, rtol=1e-6)
    sums = jax.nn.logsumexp(logits, axis=-1)
    extra = 1e-4 * (sums[0, 0] ** 2 + sums[0, 2] ** 2) / 2
    np.testing.assert_allclose(
        loss.cross_entropy(logits, labels, z=1e-4), expected + extra, rtol=1e-5
    )
    assert float(loss.cross_entropy(logits, jnp.full((1, 3), -100))) == 0
