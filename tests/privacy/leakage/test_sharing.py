import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from privacy.leakage import sharing

UPDATE = {"a": jnp.array([3.0, -5.0, 1.0]), "b": jnp.array([[0.5, -4.0], [2.0, 0.1]])}


def test_the_largest_entries_over_all_layers_are_sent(key):
    sent = sharing.largest(3 / 7)(UPDATE, key)
    np.testing.assert_array_equal(sent["a"], [3, -5, 0])
    np.testing.assert_array_equal(sent["b"], [[0, -4], [0, 0]])
    whole = sharing.make("largest", 1.0)(UPDATE, key)
    np.testing.assert_array_equal(whole["b"], UPDATE["b"])
    assert sharing.make("everything", 0.1)(UPDATE, key) is UPDATE


def test_random_entries_are_sent_unchanged_at_the_given_rate(key):
    update = {"a": jnp.arange(1.0, 5001.0), "b": jnp.ones(5000)}
    sent = sharing.random(0.3)(update, key)
    for name in update:
        kept = np.asarray(sent[name]) != 0
        np.testing.assert_allclose(kept.mean(), 0.3, atol=0.03)
        np.testing.assert_array_equal(sent[name][kept], update[name][kept])
    other = sharing.random(0.3)(update, jax.random.key(9))
    assert not np.array_equal(sent["a"], other["a"])


@pytest.mark.parametrize("portion", [0.0, 1.5])
def test_a_portion_outside_its_range_is_refused(portion):
    with pytest.raises(errors.ConfigError, match=r"lies in \(0, 1\]"):
        sharing.make("random", portion)
    with pytest.raises(errors.ConfigError, match="unknown sharing 'least'"):
        sharing.make("least", 0.5)
