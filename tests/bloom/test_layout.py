"""Weights laid out once, rows dealt over devices, and each prompt several times."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.bloom import generate, layout, model
from fl_jax.core import errors
from fl_jax.train import mesh as meshes
from tests.bloom import golden

CONFIG = dataclasses.replace(golden.CONFIG, eos=-1, pad=3)


@pytest.fixture(scope="module")
def params():
    return model.init(jax.random.key(3), CONFIG, std=0.7)


def test_ready_weights_and_rows_over_devices(params, key):
    """Laid out once, and dealt over two devices: the same draws."""
    config = dataclasses.replace(CONFIG, scan=False)
    tokens, mask = generate.pad_left([[5, 9, 2], [7, 3, 4, 5]], CONFIG.pad)
    mesh = meshes.MeshConfig(data=2).make(jax.devices()[:2])
    make = lambda weights: generate.generate(
        weights, config, tokens, mask, count=3, sampling=generate.Sampling(1.0), key=key
    )
    wanted, dealt = make(params), layout.ready(params, config, mesh)
    np.testing.assert_array_equal(make(layout.ready(params, config)), wanted)
    np.testing.assert_array_equal(make(dealt), wanted)
    with pytest.raises(errors.ConfigError, match="made ready for a config with another `scan`"):
        generate.generate(dealt, dataclasses.replace(config, scan=True), tokens, mask, count=3)
    with pytest.raises(errors.ConfigError, match="3 sequences cannot be split over 2 devices"):
        generate.generate(dealt, config, jnp.ones((3, 2), int), count=1)


@pytest.mark.parametrize("scan", [True, False])
def test_several_samples_of_a_prompt_are_those_of_the_prompt_repeated(params, key, scan):
    config = dataclasses.replace(CONFIG, scan=scan)
    tokens, mask = generate.pad_left([[5, 9, 2], [7, 3, 4, 5]], CONFIG.pad)
    make = lambda weights, tokens, mask, **more: generate.generate(
        weights, config, tokens, mask, count=4, sampling=generate.Sampling(1.0), key=key, **more
    )
    found = make(params, tokens, mask, samples=3)
    again = make(params, *(jnp.repeat(a, 3, axis=0) for a in (tokens, mask)))
    np.testing.assert_array_equal(found, again)
    assert len({tuple(row) for row in found.tolist()}) > 3
    mesh = meshes.MeshConfig(data=2).make(jax.devices()[:2])
    dealt = make(layout.ready(params, config, mesh), tokens, mask, samples=3)
    np.testing.assert_array_equal(dealt, found)


def test_samples_that_would_be_alike_are_refused(params):
    with pytest.raises(errors.ConfigError, match="2 samples of temperature 0 would all be the"):
        generate.generate(params, CONFIG, jnp.array([[5]]), count=1, samples=2)
    with pytest.raises(errors.ConfigError, match="samples must be a whole number of 1 or more"):
        generate.generate(params, CONFIG, jnp.array([[5]]), count=1, samples=0)
