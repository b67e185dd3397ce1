"""Weights of tokens and spans, losses, per-example gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.bloom import loss, model
from fl_jax.core import errors
from fl_jax.nn.loss import cross_entropy
from fl_jax.train.state import Variables
from tests.bloom import golden

CONFIG = golden.CONFIG
TARGETS = [0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 1, 1, 1]


def batch():
    """Two rows with packed examples; the second row has one short target."""
    rng = np.random.default_rng(0)
    segments = np.array([[1, 1, 1, 1, 2, 2, 2, 2, 2], [1, 1, 1, 1, 1, 0, 0, 0, 0]], np.int32)
    spans = np.array([[0, 0, 1, 1, 0, 2, 2, 2, 2], [0, 0, 0, 0, 1, 0, 0, 0, 0]], np.int32)
    tokens = rng.integers(0, 32, segments.shape).astype(np.int32)
    return {
        k: jnp.asarray(v)
        for k, v in zip(("tokens", "segments", "spans"), (tokens, segments, spans), strict=True)
    }


def test_span_shares_of_the_published_example():
    mask = jnp.array([TARGETS])
    ids = jnp.array([[0, 0, 0, 1, 1, 0, 0, 2, 0, 0, 3, 3, 3]])
    share = loss.span_shares(ids, mask.astype(jnp.float32))
    third = 1 / 3
    wanted = [0, 0, 0, 0.5, 0.5, 0, 0, 1, 0, 0, third, third, third]
    np.testing.assert_allclose(share[0], wanted, atol=1e-7)


def test_adjacent_spans_stay_two():
    ids = jnp.array([[1, 1, 2]])
    np.testing.assert_allclose(loss.span_shares(ids, jnp.ones((1, 3))), [[0.5, 0.5, 1.0]])


def test_weights_over_the_batch_and_over_micro_batches():
    given = batch()
    span = loss.weights(given, "span")
    # Labels are shifted by one: three spans of 2, 4 and 1 tokens.
    wanted = np.zeros((2, 8))
    wanted[0, [1, 2]], wanted[0, 4:], wanted[1, 3] = 1 / 6, 1 / 12, 1 / 3
    np.testing.assert_allclose(span, wanted, atol=1e-7)
    each = loss.weights(given, "span", parts=2)
    np.testing.assert_allclose(each[0], wanted[0] * 3 / 4, atol=1e-7)
    assert float(each[1, 3]) == 0.5
    token = loss.weights(given, "token")
    np.testing.assert_allclose(token, np.where(wanted > 0, 1 / 7, 0), atol=1e-7)
    plain = {"tokens": given["tokens"]}
    np.testing.assert_allclose(loss.weights(plain, "token"), 1 / 16, atol=1e-7)
    with pytest.raises(errors.ConfigError, match="needs the ids of target spans"):
        loss.weights(plain, "span")
    with pytest.raises(errors.ConfigError, match="3 micro-batches do not divide"):
        loss.weights(given, "token", parts=3)


def test_rows_that_fill_up_a_clients_last_batch_do_not_count():
    given = {"tokens": batch()["tokens"], "mask": jnp.array([1.0, 0.0])}
    found = loss.weights(given, "token")
    np.testing.assert_allclose(found, [[1 / 8] * 8, [0] * 8])


def test_nothing_predicts_the_first_token_of_a_document():
    given = {k: v for k, v in batch().items() if k != "spans"}
    counted = np.asarray(loss.weights(given, "token")) > 0
    np.testing.assert_array_equal(counted[0], [1, 1, 1, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(counted[1], [1, 1, 1, 1, 0, 0, 0, 0])


def test_a_batch_without_targets_has_no_loss_and_no_gradient():
    given = batch()
    given["spans"] = jnp.zeros_like(given["spans"])
    function = loss.make(CONFIG, norm="span")
    of = jax.jit(jax.value_and_grad(lambda p: function(Variables(p, {}), given, None)[0]))
    value, grads = of(golden.params())
    assert float(value) == 0
    assert all(float(jnp.abs(g).max()) == 0 for g in jax.tree.leaves(grads))


def test_losses_are_the_weighted_mean_by_hand():
    params, given = golden.params(), batch()
    tokens, segments = given["tokens"], given["segments"]
    hidden = jax.jit(model.hidden, static_argnames="config")
    x, _ = hidden(params, CONFIG, tokens[:, :-1], segments=segments[:, :-1])
    nll = cross_entropy(model.logits(params, CONFIG, x), tokens[:, 1:])
    for norm in ("span", "token"):
        function = loss.make(CONFIG, norm=norm, chunk=3)
        found, _ = jax.jit(lambda p, f=function: f(Variables(p, {}), given, None))(params)
        np.testing.assert_allclose(found, jnp.sum(nll * loss.weights(given, norm)), rtol=1e-5)
    found = loss.log_likelihoods(params, CONFIG, tokens, segments)
    np.testing.assert_allclose(found, -nll, atol=2e-5)


def test_per_example_gradients_add_up():
    params = golden.params()
    given = {"tokens": batch()["tokens"]}
    function = loss.make(CONFIG)
    variables = Variables(params, {})
    of_each = jax.jit(lambda v: loss.per_example_gradients(function, v, given, jax.random.key(0)))
    each = of_each(variables)
    whole = jax.jit(jax.grad(lambda p: function(Variables(p, {}), given, None)[0]))(params)
    for a, b in zip(jax.tree.leaves(each), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(jnp.mean(a, axis=0), b, atol=2e-6)
