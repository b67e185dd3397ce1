"""Micro-batches give what the whole batch gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.train import accumulate
from fl_jax.train.state import Variables


def loss(variables, batch, key):
    del key
    y = jnp.tanh(batch["x"] @ variables.params["w"])
    return jnp.sum(batch["weights"] * (y - batch["y"]) ** 2), ({}, {"sum": jnp.sum(y)})


def make():
    keys = jax.random.split(jax.random.key(0), 4)
    batch = {
        "x": jax.random.normal(keys[0], (12, 5)),
        "y": jax.random.normal(keys[1], (12,)),
        "weights": jax.random.uniform(keys[2], (12,)),
    }
    return {"w": jax.random.normal(keys[3], (5,))}, batch


@pytest.mark.parametrize("parts", [1, 2, 3, 12])
def test_micro_batches_add_up_to_the_batch(parts):
    params, batch = make()

    def run(function):
        value = lambda p: function(Variables(p, {}), batch, None)
        return jax.jit(jax.value_and_grad(value, has_aux=True))(params)

    (value, (_, metrics)), grads = run(accumulate.over(loss, parts))
    (wanted, (_, wanted_metrics)), wanted_grads = run(loss)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    np.testing.assert_allclose(grads["w"], wanted_grads["w"], rtol=1e-5)
    np.testing.assert_allclose(metrics["sum"], wanted_metrics["sum"], rtol=1e-5)
    undifferentiated, _ = accumulate.over(loss, parts)(Variables(params, {}), batch, None)
    np.testing.assert_allclose(undifferentiated, wanted, rtol=1e-6)


def test_split_deals_rows_and_join_takes_them_back():
    rows = {"a": jnp.arange(12).reshape(6, 2)}
    cut = accumulate.split(rows, 3)
    np.testing.assert_array_equal(cut["a"][0], [[0, 1], [6, 7]])
    np.testing.assert_array_equal(accumulate.join(cut)["a"], rows["a"])
    with pytest.raises(errors.ConfigError, match="4 micro-batches do not divide a batch of 6"):
        accumulate.split(rows, 4)


def test_batch_statistics_are_refused():
    """They stayed what they were before the first step."""
    params, batch = make()
    with pytest.raises(errors.ConfigError, match="batch statistics"):
        accumulate.over(loss, 2)(Variables(params, {"mean": jnp.zeros(3)}), batch, None)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_a_loss_of_another_dtype(dtype):
    """The sum was float32, which the scan over micro-batches refuses to add anything else to."""
    with jax.enable_x64(True):
        params, batch = jax.tree.map(lambda a: a.astype(dtype), make())
        run = lambda parts: accumulate.over(loss, parts)(Variables(params, {}), batch, None)[0]
        found, wanted = run(3), run(1)
    assert found.dtype == ("float64" if dtype == "float64" else "float32")
    rtol = 1e-12 if dtype == "float64" else 0.02
    np.testing.assert_allclose(float(found), float(wanted), rtol=rtol)
