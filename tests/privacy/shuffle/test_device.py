"""The entry for jit; against the scalar bound in test_grid."""

import jax.numpy as jnp
import pytest

from privacy.accounting.errors import PrivacyError
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


def test_a_closed_form_promises_nothing_outside_its_region():
    eps0 = jnp.array([1.0, 8.0], jnp.float32)
    low, high = device.epsilon(eps0, jnp.float32(1e5), jnp.float32(1e-6), bound="closed-standard")
    assert 0 < float(high[0]) < 1.0 and float(low[1]) == 0.0 and float(high[1]) == float("inf")


@pytest.mark.parametrize("bound", ["tight", "blanket"])
def test_a_bound_that_there_is_not_is_refused_before_the_callback(bound):
    with pytest.raises(PrivacyError, match="bound"):
        device.epsilon(jnp.float32(1.0), jnp.float32(1e5), jnp.float32(1e-6), bound=bound)
