"""T5 against the sizes that are published, against itself, and (parity) against transformers."""

import dataclasses
import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors, tree
from fl_jax.t5 import model
from fl_jax.t5.config import Config, size

_spec = importlib.util.spec_from_file_location(
    "golden", pathlib.Path(__file__).parent / "golden.py"
)
golden = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(golden)


@pytest.mark.parametrize(("changes", "count"), [({}, 11_488), ({"mlp": "gated-gelu"}, 13_536)])
def test_parameters_are_as_many_as_published(changes, count):
    config = dataclasses.replace(golden.CONFIG, **changes)
    assert config.parameters == count == tree.size(model.abstract(config))


def test_small_has_the_published_size():
    assert size("small").parameters == 60_506_624 == tree.size(model.abstract(size("small")))


def test_initial_standard_deviations():
    config = dataclasses.replace(golden.CONFIG, width=64, hidden=256, vocab=512)
    params = golden.params(config)
    layers = params["encoder"]["layers"]
    expected = {
        "q": (layers["attention"]["q"], (64 * 8) ** -0.5),
        "k": (layers["attention"]["k"], 64**-0.5),
        "o": (layers["attention"]["o"], 16**-0.5),
        "wo": (layers["mlp"]["wo"], 256**-0.5),
        "shared": (params["shared"], 1.0),
    }
    for name, (array, std) in expected.items():
        assert float(jnp.std(array)) == pytest.approx(std, rel=0.1), name


def test_padding_changes_nothing_and_tokens_are_checked():
    params, config = golden.params(), golden.CONFIG
    tokens, given = jnp.array([[5, 9, 7]]), jnp.array([[0, 4, 8]])
    short = model.apply(params, config, tokens, given)
    padded = jnp.array([[5, 9, 7, 0, 0]])
    mask = jnp.array([[1, 1, 1, 0, 0]])
    np.testing.assert_allclose(short, model.apply(params, config, padded, given, mask), atol=2e-5)
    with pytest.raises(errors.DataError, match="0 to 63"):
        model.apply(params, config, jnp.array([[64]]), given)


def test_a_step_sees_no_later_one():
    params, config = golden.params(), golden.CONFIG
    tokens = jnp.array([[5, 9, 7]])
    one = model.apply(params, config, tokens, jnp.array([[0, 4, 8]]))
    other = model.apply(params, config, tokens, jnp.array([[0, 4, 33]]))
    np.testing.assert_allclose(one[:, :2], other[:, :2], atol=1e-6)
    assert float(jnp.abs(one[:, 2] - other[:, 2]).max()) > 1e-3


def test_branches_of_a_tree_are_what_full_passes_give():
    """Two nodes below the root, then one below each: as four sequences decoded whole."""
    params, config = golden.params(), golden.CONFIG
    states = model.encode(params, config, model.embed(params, config, jnp.array([[5, 9, 7]])))
    memory = model.remember(params, config, states)
    embed = lambda ids: model.embed(params, config, jnp.array([ids]))
    _, kv = model.branch(params, config, embed([0]), memory, None)
    kv = tuple(a[:, :, jnp.array([0, 0])] for a in kv)
    _, kv = model.branch(params, config, embed([4, 8]), memory, kv)
    x, _ = model.branch(params, config, embed([11, 12]), memory, kv)
    for n, way in enumerate(([0, 4, 11], [0, 8, 12])):
        whole, _ = model.decode(params, config, embed(way), memory)
        np.testing.assert_allclose(x[0, n], whole[0, 2], atol=1e-5)


def test_dropout_is_on_only_with_a_key_and_extra_places_have_no_position():
    config = dataclasses.replace(golden.CONFIG, dropout=0.5)
    params = golden.params()
    tokens, given = jnp.array([[5, 9, 7]]), jnp.array([[0, 4]])
    still = model.apply(params, config, tokens, given)
    moved = model.apply(params, config, tokens, given, key=jax.random.key(1))
    assert float(jnp.abs(still - moved).max()) > 1e-2
    x = model.embed(params, golden.CONFIG, jnp.array([[5, 9, 7, 8]]))
    one = model.encode(params, golden.CONFIG, x, extra=2)
    swapped = model.encode(params, golden.CONFIG, x[:, jnp.array([0, 1, 3, 2])], extra=2)
    np.testing.assert_allclose(one[:, 2], swapped[:, 3], atol=1e-5)


def test_refuses_a_shape_that_cannot_be():
    with pytest.raises(errors.ConfigError, match="multiple of 4"):
        Config(buckets=6)
    for changes, message in [
        ({"heads": 0}, "heads must be a whole number of 1 or more, got 0"),
        ({"norm_eps": -1.0}, "norm_eps must be 0 or more"),
        ({"dropout": 1.0}, "dropout must lie in"),
        ({"pad": 32_128}, "pad, .*, is an id from 0 to 32127"),  # the last id began every sequence
        ({"pad": -1}, "pad, .*, is an id from 0 to 32127"),
    ]:
        with pytest.raises(errors.ConfigError, match=message):
            Config(**changes)
