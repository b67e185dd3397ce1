"""Gates of what is carried on, and the settings that make no sense.

That a network with them is what its equations say stands in `test_net`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from algorithmic.clrs import history, net
from fl_jax.core import errors


def test_the_gates_are_those_of_the_equation_and_start_half_open():
    key = jax.random.key(0)
    params = history.init(key, 3)
    z, h = jax.random.normal(key, (6, 4, 2)), jax.random.normal(key, (3, 4, 2))
    inner = np.maximum(
        np.einsum("io,inb->onb", params["z"]["w"], z)
        + np.einsum("io,inb->onb", params["h"]["w"], h),
        0,
    )
    expected = 1 / (1 + np.exp(-np.einsum("io,inb->onb", params["gate"]["w"], inner)))
    np.testing.assert_allclose(history.gate(params, z, h), expected, rtol=1e-5)
    closed = history.gate(params, jnp.zeros_like(z), jnp.zeros_like(h))
    np.testing.assert_allclose(closed, 0.5)


def test_openness_counts_live_nodes_alone():
    gates = jnp.full((3, 4, 2), 0.5).at[:, 3].set(9.0).at[:, :, 1].set(9.0)
    mask = jnp.ones((4, 2)).at[3].set(0)
    total, count = history.openness(gates, mask, jnp.array([1.0, 0.0]))
    assert (float(total), float(count)) == (0.25 * 9, 9)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"history": "gatet"}, "did you mean 'gated'"),
        ({"forget": 0.1}, "the history is 'kept'"),
        ({"rebuild": -1.0}, "weights of losses are not negative"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, expected):
    with pytest.raises(errors.ConfigError, match=expected):
        net.Config(**given)
