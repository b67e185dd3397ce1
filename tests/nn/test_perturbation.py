import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from fl_jax.core import errors
from fl_jax.nn import network, perturbation


def test_a_perturbation_is_bounded_and_belongs_to_its_own_image():
    net = network.from_nnx(
        lambda rngs: perturbation.Autoencoder(side=8, channels=3, width=4, rngs=rngs)
    )
    params, stats = jax.jit(net.init)(jax.random.key(0))
    assert stats == {}
    x = jax.random.uniform(jax.random.key(1), (4, 8, 8, 3))
    apply = jax.jit(net.apply)
    out, _ = apply(params, stats, x)
    assert out.shape == x.shape
    assert float(jnp.abs(out).max()) <= 1
    alone, _ = apply(params, stats, x.at[jnp.array([0, 1, 3])].set(0.0))
    np.testing.assert_allclose(alone[2], out[2], atol=1e-6)
    assert float(jnp.abs(out[0] - out[1]).max()) > 1e-3


def test_a_side_that_cannot_be_halved_twice_is_refused():
    with pytest.raises(errors.ConfigError, match="side must be a multiple of 4, got 10"):
        perturbation.Autoencoder(side=10, channels=1, rngs=nnx.Rngs(0))
