import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.core import rng


def test_streams_of_different_names_and_ids_differ(key):
    keys = [rng.fold(key), rng.fold(key, "a"), rng.fold(key, "b"), rng.fold(key, "a", 1)]
    assert len({tuple(jax.random.key_data(k).tolist()) for k in keys}) == len(keys)


def test_traced_ids_give_the_same_keys(key):
    ids = jnp.arange(5)
    traced = jax.jit(jax.vmap(lambda i: rng.fold(key, "client", i)))(ids)
    for i in range(5):
        np.testing.assert_array_equal(
            jax.random.key_data(traced[i]), jax.random.key_data(rng.fold(key, "client", i))
        )


def test_a_longer_draw_begins_with_the_shorter_one(key):
    """What makes a client's shuffle independent of the padded length."""
    np.testing.assert_array_equal(
        jax.random.uniform(key, (7,)), jax.random.uniform(key, (100,))[:7]
    )
