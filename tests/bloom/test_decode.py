"""Decoding in its own layout against the model as it is."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.bloom import decode, model
from tests.bloom import golden

CONFIG = dataclasses.replace(golden.CONFIG, scan=False)
MASK = jnp.array([[1] * 8, [0, 0, 0, 1, 1, 1, 1, 1], [1, 1, 0, 1, 0, 1, 1, 1]], bool)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-5), ("bfloat16", 0.1)])
def test_steps_are_the_models(key, dtype, tolerance):
    """Over prompts without padding, padded on the left and with holes; the cache grows."""
    config = dataclasses.replace(CONFIG, dtype=dtype)
    params = model.init(key, config, std=0.3)
    tokens = jax.random.randint(key, (3, 11), 0, config.vocab)

    @jax.jit
    def both():
        empty = model.empty_cache(config, 3, 12)
        _, cache = model.hidden(params, config, tokens[:, :8], MASK, cache=empty)
        _, tight = model.hidden(
            params, config, tokens[:, :8], MASK, cache=model.empty_cache(config, 3, 9)
        )
        mine, layers = decode.adopt(tight, config), decode.unstack(params, config)
        pairs = []
        for i in range(8, 11):
            x, cache = model.hidden(params, config, tokens[:, i : i + 1], cache=cache)
            mine = decode.grow(mine, 12) if i == 9 else mine
            logits, mine = decode.step(params, layers, config, tokens[:, i], mine)
            pairs.append((logits, model.logits(params, config, x)[:, 0]))
        return pairs, mine.used

    pairs, used = both()
    for logits, wanted in pairs:
        assert logits.dtype == jnp.float32
        np.testing.assert_allclose(logits.T, wanted, atol=tolerance)
    assert used == 11


@pytest.mark.parametrize("vocab", [1, 15, 16, 33, 512])
def test_likeliest_is_argmax(key, vocab):
    logits = jax.random.normal(key, (vocab, 7))
    np.testing.assert_array_equal(decode.likeliest(logits), jnp.argmax(logits, axis=0))
    assert decode.likeliest(logits.at[vocab // 2, 3].set(jnp.nan))[3] == vocab  # no id
    equal = jnp.round(logits)  # of equals the first
    np.testing.assert_array_equal(decode.likeliest(equal), jnp.argmax(equal, axis=0))
