"""Adapters: start as the model, merge exactly, train alone, stack over clients."""

import jax
import numpy as np
import pytest

from fl_jax.bloom import lora, model
from fl_jax.core import errors, rng
from fl_jax.train.state import Variables
from tests.bloom import golden

CONFIG = golden.CONFIG
HIDDEN = jax.jit(model.hidden, static_argnames="config")


def adapters(key, rank=2):
    """With b away from 0."""
    fresh = lora.init(key, CONFIG, rank=rank, targets=lora.TARGETS)
    draw = lambda path, a: 0.3 * jax.random.normal(rng.fold(key, str(path)), a.shape)
    return jax.tree_util.tree_map_with_path(draw, fresh)


def test_fresh_adapters_change_nothing(key):
    fresh = lora.init(key, CONFIG, rank=2, targets=lora.TARGETS)
    params = golden.params()
    found, _ = HIDDEN(params, CONFIG, golden.TOKENS, adapters=lora.scaled(fresh, 4.0))
    np.testing.assert_array_equal(found, HIDDEN(params, CONFIG, golden.TOKENS)[0])
    assert fresh["qkv"]["a"].shape == (2, 24, 2)
    assert fresh["qkv"]["b"].shape == (2, 2, 6, 3, 4)
    assert fresh["out"]["a"].shape == (2, 6, 4, 2)


def test_merged_equals_applied(key):
    params, low = golden.params(), adapters(key)
    found, _ = HIDDEN(params, CONFIG, golden.TOKENS, adapters=lora.scaled(low, 4.0))
    merged = lora.merge(params, low, alpha=4.0)
    wanted, _ = HIDDEN(merged, CONFIG, golden.TOKENS)
    np.testing.assert_allclose(found, wanted, atol=2e-5)
    assert not np.allclose(found, HIDDEN(params, CONFIG, golden.TOKENS)[0], atol=0.1)


def test_an_adapter_counts_alpha_over_rank_times(key):
    params, low = golden.params(), adapters(key, rank=2)
    merged = lora.merge(params, low, alpha=5.0)["layers"]["up"]["kernel"]
    update = np.einsum("lir,lro->lio", low["up"]["a"], low["up"]["b"])
    wanted = np.asarray(params["layers"]["up"]["kernel"]) + 2.5 * update
    np.testing.assert_allclose(merged, wanted, rtol=1e-5, atol=1e-6)


def test_clients_side_by_side_are_clients_alone(key):
    """The gradient of stacked adapters, under vmap, is each client's own."""
    params = golden.params()
    function = lora.make(params, CONFIG, alpha=4.0)
    clients = jax.tree.map(lambda *a: jax.numpy.stack(a), *map(adapters, jax.random.split(key, 2)))
    tokens = jax.random.randint(key, (2, 2, 9), 0, 32)
    one = lambda low, t: jax.grad(lambda low: function(Variables(low, {}), {"tokens": t}, None)[0])(
        low
    )
    together = jax.jit(jax.vmap(one))(clients, tokens)
    alone = jax.jit(one)
    for i in range(2):
        wanted = alone(jax.tree.map(lambda a, i=i: a[i], clients), tokens[i])
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a[i], b, atol=2e-6)


def test_refusals(key):
    with pytest.raises(errors.ConfigError, match="unknown LoRA target 'qvk'"):
        lora.init(key, CONFIG, rank=1, targets=("qvk",))
    with pytest.raises(errors.ConfigError, match="rank must be a whole number of 1 or more"):
        lora.init(key, CONFIG, rank=0)
    low = {"qvk": adapters(key)["qkv"]}  # in a forward pass it was left out in silence
    for use in (lora.scaled, lambda low, alpha: lora.merge(golden.params(), low, alpha=alpha)):
        with pytest.raises(errors.ConfigError, match="unknown LoRA target 'qvk'"):
            use(low, 1.0)
