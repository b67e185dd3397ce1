"""The loss: what counts, and the z-loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.t5 import loss, model
from fl_jax.t5.config import Config
from fl_jax.train import state


def test_only_labels_that_count():
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3, 5)), jnp.float32)
    labels = jnp.array([[2, -100, 4]])
    logs = jax.nn.log_softmax(logits)
    expected = -(logs[0, 0, 2] + logs[0, 2, 4]) / 2
    np.testing.assert_allclose(loss.cross_entropy(logits, labels), expected, rtol=1e-6)
    sums = jax.nn.logsumexp(logits, axis=-1)
    extra = 1e-4 * (sums[0, 0] ** 2 + sums[0, 2] ** 2) / 2
    np.testing.assert_allclose(
        loss.cross_entropy(logits, labels, z=1e-4), expected + extra, rtol=1e-5
    )
    assert float(loss.cross_entropy(logits, jnp.full((1, 3), -100))) == 0


@pytest.mark.parametrize("tied", [True, False])
def test_the_loss_without_logits_is_the_loss(tied):
    """In value and gradient, with places that do not count."""
    config = Config(
        vocab=40, width=16, head_width=8, hidden=32, heads=2, buckets=8, tied=tied,
        encoder_layers=1, decoder_layers=1,
    )  # fmt: skip
    params = model.init(jax.random.key(0), config)
    draws = np.random.default_rng(0)
    labels = draws.integers(1, 40, (3, 5)).astype(np.int32)
    labels[1, 3:] = -100
    labels, tokens = jnp.asarray(labels), jnp.asarray(draws.integers(1, 40, (3, 7)), jnp.int32)

    def plain(params):
        scores = model.apply(params, config, tokens, model.shift_right(labels, config))
        return loss.cross_entropy(scores, labels)

    def made(params):
        batch = {"tokens": tokens, "labels": labels}
        return loss.make(config)(state.Variables(params, {}), batch, jax.random.key(0))[0]

    expected, found = (jax.jit(jax.value_and_grad(f))(params) for f in (plain, made))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)
    for a, b in zip(*map(jax.tree.leaves, (found[1], expected[1])), strict=True):
        assert np.linalg.norm(a - b) <= 2e-6 * np.linalg.norm(b) + 1e-9


@pytest.mark.parametrize("z", [0.0, 1e-4])
@pytest.mark.parametrize("where", ["tokens", "labels"])
def test_ids_beyond_the_vocabulary_are_nan_in_loss_and_derivative(z, where):
    config = Config(vocab=8, width=8, head_width=4, hidden=8, heads=1, buckets=8, encoder_layers=1,
                    decoder_layers=1)  # fmt: skip
    params = model.init(jax.random.key(0), config)
    batch = {"tokens": jnp.array([[1, 2]]), "labels": jnp.array([[7, -100]])}
    run = jax.jit(
        jax.value_and_grad(lambda p, b: loss.make(config, z=z)(p, b, jax.random.key(0))[0])
    )
    value, _ = run(state.Variables(params, {}), batch)
    assert np.isfinite(value)
    value, grads = run(state.Variables(params, {}), {**batch, where: batch[where].at[0, 0].set(8)})
    assert np.isnan(value) and np.isnan(grads.params["decoder"]["norm"]).all()
