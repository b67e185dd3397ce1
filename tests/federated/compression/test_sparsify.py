"""Sparse codes against NumPy, and what error feedback needs of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.compression import sparsify

X = np.random.default_rng(2).normal(size=40).astype(np.float32)


@pytest.mark.parametrize(("share", "k"), [(0.001, 1), (0.25, 10), (1.0, 40)])
def test_the_largest_are_kept_as_they_are(share, k, key):
    found = np.asarray(sparsify.top_k(share).read(jnp.asarray(X), key))
    expected = np.where(np.abs(X) >= np.sort(np.abs(X))[-k], X, 0)
    np.testing.assert_array_equal(found, expected)
    assert np.sum((X - found) ** 2) <= (1 - k / 40) * np.sum(X**2) + 1e-6
    assert sparsify.top_k(share).bits(40) == k * (32 + 6)


def test_random_ones_are_as_many_and_without_bias(key):
    code = sparsify.random_k(0.25)
    found = np.asarray(
        jax.vmap(lambda k: code.read(jnp.asarray(X), k))(jax.random.split(key, 4000))
    )
    assert set(np.count_nonzero(found, axis=1).tolist()) == {10}
    kept = found != 0
    np.testing.assert_allclose(found[kept], np.broadcast_to(4 * X, found.shape)[kept], rtol=1e-6)
    deviation = np.abs(X) * np.sqrt(3 / 4000)  # 4 X with probability 1/4
    assert np.all(np.abs(found.mean(axis=0) - X) <= 4.5 * deviation)
    error = np.mean(np.sum((found - X) ** 2, axis=1))
    assert error == pytest.approx(3 * np.sum(X**2), rel=0.05)
    assert code.bits(40) == 320
    plain = np.asarray(sparsify.random_k(0.25, scaled=False).read(jnp.asarray(X), key))
    np.testing.assert_array_equal(plain[plain != 0], X[plain != 0])


@pytest.mark.parametrize("make", [sparsify.top_k, sparsify.random_k])
@pytest.mark.parametrize("share", [0.0, -0.5, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(make, share):
    with pytest.raises(errors.ConfigError, match=r"is in \(0, 1\]"):
        make(share)
