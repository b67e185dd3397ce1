import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.federated.statistics import ordered


@pytest.mark.parametrize("rows", [1, 2, 5, 16, 21])
def test_the_network_sorts(rows):
    x = np.random.default_rng(rows).integers(-9, 9, (rows, 40)).astype(np.float32)
    x[0, :5] = np.inf
    np.testing.assert_array_equal(ordered.sort(jnp.asarray(x)), np.sort(x, axis=0))


def test_every_sequence_of_zeros_and_ones_is_sorted():
    """By the 0-1 principle this is the whole proof for eight rows."""
    bits = np.array([[(n >> i) & 1 for n in range(256)] for i in range(8)], np.float32)
    np.testing.assert_array_equal(ordered.sort(jnp.asarray(bits)), np.sort(bits, axis=0))


@pytest.mark.parametrize("size", [3, 1024, 1030, 2048, 2500])
def test_blocks_cover_every_coordinate_once(size, monkeypatch):
    monkeypatch.setitem(ordered.BLOCK, "cpu", 1024)
    draw = np.random.default_rng(size)
    updates = {"a": draw.normal(size=(5, size)), "b": draw.normal(size=(5, 2, 3))}
    updates = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), updates)
    found = ordered.coordinatewise(ordered.middle, updates, jnp.ones(5, bool))
    for key, leaf in updates.items():
        np.testing.assert_array_equal(found[key], np.median(leaf, axis=0))
