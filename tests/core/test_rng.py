import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors, rng


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


@pytest.mark.parametrize("seed", [0, np.int64(3)])
def test_a_seed_in_place_of_a_key_is_refused(seed):
    with pytest.raises(errors.ConfigError, match=rf"take jax\.random\.key\({seed}\)"):
        rng.fold.__wrapped__(seed, "train")


def test_a_longer_draw_begins_with_the_shorter_one(key):
    """What makes a client's shuffle independent of the padded length."""
    np.testing.assert_array_equal(
        jax.random.uniform(key, (7,)), jax.random.uniform(key, (100,))[:7]
    )
