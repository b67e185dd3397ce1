import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors, tree
from privacy.leakage import features, networks


def test_the_lfw_network_has_5728_features_of_these_layers():
    model = networks.make(networks.ConvNet)
    params, _ = jax.eval_shape(model.network.init, jax.random.key(0))
    made = features.make(params)
    assert made.length == 5_728
    assert [n for n in made.lengths.values() if n] == [96, 2_048, 3_072, 512]
    assert sum(n == 0 for n in made.lengths.values()) == 6  # five biases and the third convolution


def test_every_rule_against_plain_loops(key):
    """Drop, magnitude, reduce, order (out, in), concatenate, norm: one number at a time."""
    rng = np.random.default_rng(0)
    update = {
        "a": {"kernel": rng.normal(size=(3, 3, 2, 4)), "bias": rng.normal(size=4)},
        "b": {"kernel": rng.normal(size=(3, 3, 60, 90))},  # 5,400 filters: left out
        "c": {"kernel": rng.normal(size=(5, 6))},
        "d": {"kernel": rng.normal(size=(51, 100))},  # 5,100 entries: one a row
    }
    expected = [
        max(abs(update["a"]["kernel"][a, b, i, o]) for a in range(3) for b in range(3))
        for o in range(4)
        for i in range(2)
    ]
    expected += [abs(v) for row in update["c"]["kernel"] for v in row]
    expected += [max(abs(v) for v in row) for row in update["d"]["kernel"]]
    expected = np.array(expected) / np.sqrt(np.sum(np.square(expected)))
    tree = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), update)
    made = features.make(tree)
    assert made.length == 8 + 30 + 51
    np.testing.assert_allclose(made.extract(tree), expected, rtol=2e-6)
    mean = features.make(tree, positions="mean").extract(tree)
    ratio = np.abs(update["a"]["kernel"]).mean((0, 1)).T.reshape(-1)
    np.testing.assert_allclose(mean[:8] / mean[0], ratio / ratio[0], rtol=1e-5)


def test_convolutions_of_one_and_three_dimensions_are_read_as_those_of_two(key):
    kernel = jax.random.normal(key, (3, 1, 2, 4))
    flat = features.make({"kernel": kernel})
    for shape in ((3, 2, 4), (1, 3, 1, 2, 4)):
        made = features.make({"kernel": kernel.reshape(shape)})
        found = made.extract({"kernel": kernel.reshape(shape)})
        np.testing.assert_array_equal(found, flat.extract({"kernel": kernel}))


def test_a_zero_update_has_zero_features_and_no_nan():
    params = {"kernel": jnp.zeros((3, 4))}
    np.testing.assert_array_equal(features.make(params).extract(params), np.zeros(12))


def test_a_model_without_features_is_refused():
    with pytest.raises(errors.ConfigError, match="no parameter of this model yields a feature"):
        features.make({"bias": jnp.zeros(3)})
    with pytest.raises(errors.ConfigError, match="unknown reduction 'median'"):
        features.make({"kernel": jnp.zeros((3, 3))}, positions="median")


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_updates_of_any_size_have_features_of_length_one(scale):
    update = {
        "kernel": jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)) * scale, jnp.float32)
    }
    found = features.make(update).extract(update)
    assert float(jnp.linalg.norm(found)) == pytest.approx(1, rel=1e-6)
    zero = features.make(update).extract(tree.zeros_like(update))
    np.testing.assert_array_equal(zero, np.zeros(20))
