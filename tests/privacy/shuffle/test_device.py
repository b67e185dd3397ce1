"""The entry for jit; against the scalar bound in test_grid."""

import jax.numpy as jnp

from privacy.shuffle import device


def test_outside_the_domain_nothing_is_promised():
    low, high = device.epsilon(jnp.float32(1.0), jnp.float32(0.0), jnp.float32(1e-6))
    assert float(low) == 0.0 and float(high) == float("inf")
