"""The entry for jit; against the scalar bound in test_grid."""

import jax.numpy as jnp

from privacy.shuffle import device, question


def test_outside_the_domain_nothing_is_promised():
    low, high = device.epsilon(jnp.float32(1.0), jnp.float32(0.0), jnp.float32(1e-6))
    assert float(low) == 0.0 and float(high) == float("inf")


def test_more_users_than_the_accountant_counts_are_as_many_as_it_counts():
    at = device.epsilon(jnp.float32(4.0), jnp.float32(question.MOST), jnp.float32(1e-6))
    low, high = device.epsilon(jnp.float32(4.0), jnp.float32(1e30), jnp.float32(1e-6))
    assert float(low) == 0.0 and float(high) == float(at[1]) < 1.0
    low, high = device.epsilon(jnp.float32(1e30), jnp.float32(10.0), jnp.float32(1e-30))
    assert 0 < float(low) <= float(high)
