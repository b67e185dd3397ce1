"""The chunked cross-entropy against the plain one: values, derivatives, memory, meshes."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.nn import chunked_loss
from fl_jax.nn.loss import cross_entropy
from fl_jax.train.mesh import MeshConfig


def make(batch=4, time=13, width=12, vocab=40):
    keys = jax.random.split(jax.random.key(1), 4)
    x = jax.random.normal(keys[0], (batch, time, width))
    table = jax.random.normal(keys[1], (vocab, width))
    labels = jax.random.randint(keys[2], (batch, time), 0, vocab)
    weights = jax.random.uniform(keys[3], (batch, time)).at[0, 3].set(0.0)
    return x, table, labels, weights


def naive(x, table, labels, weights, valid=None):
    logits = jnp.einsum("bth,vh->btv", x, table)[..., :valid]
    return jnp.sum(weights * cross_entropy(logits, labels))


def check(found, wanted, tolerance=1e-5):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("chunk", [4, None])
def test_summed_equals_the_naive_loss(chunk):
    x, table, labels, weights = make()
    ours = lambda x, t, w: chunked_loss.summed(x, t, labels, w, chunk=chunk)
    theirs = lambda x, t, w: naive(x, t, labels, w)
    both = [jax.jit(jax.value_and_grad(f, (0, 1, 2)))(x, table, weights) for f in (ours, theirs)]
    check(*both)


@pytest.mark.parametrize("chunk", [5])
def test_per_token_equals_the_naive_loss(chunk):
    x, table, labels, weights = make()
    ours = lambda x, t: jnp.sum(weights * chunked_loss.per_token(x, t, labels, chunk=chunk))
    theirs = lambda x, t: naive(x, t, labels, weights)
    check(*[jax.jit(jax.value_and_grad(f, (0, 1)))(x, table) for f in (ours, theirs)])


def test_rows_in_reserve_can_be_left_out():
    x, table, labels, weights = make()
    labels = jnp.minimum(labels, 29)
    ours = lambda x, t: chunked_loss.summed(x, t, labels, weights, chunk=4, valid=30)
    theirs = lambda x, t: naive(x, t, labels, weights, 30)
    check(*[jax.jit(jax.value_and_grad(f, (0, 1)))(x, table) for f in (ours, theirs)])


def test_a_label_of_no_weight_may_be_anything():
    x, table, labels, weights = make()
    wild = labels.at[0, 3].set(39)
    summed = lambda x, labels: chunked_loss.summed(x, table, labels, weights, chunk=4, valid=39)
    both = jax.jit(jax.value_and_grad(summed))
    value = lambda labels: both(x, labels)
    labels = jnp.minimum(labels, 38)
    wild = labels.at[0, 3].set(39)
    check(value(wild), value(labels))


@pytest.mark.parametrize(
    "sizes",
    [
        {"fsdp": 4, "tensor": 2},
        *(
            pytest.param(sizes, marks=pytest.mark.slow)
            for sizes in ({"data": 4}, {"tensor": 4}, {"data": 2, "tensor": 2})
        ),
    ],
)
def test_vocabulary_and_batch_over_a_mesh(sizes):
    x, table, labels, weights = make()
    count = int(np.prod(list(sizes.values())))
    mesh = MeshConfig(**sizes).make(jax.devices()[:count])

    def ours(x, t, w):
        return chunked_loss.summed(x, t, labels, w, chunk=4) + jnp.sum(
            chunked_loss.per_token(x, t, labels, chunk=5)
        )

    theirs = lambda x, t, w: naive(x, t, labels, w) + naive(x, t, labels, jnp.ones_like(w))
    with jax.set_mesh(mesh):
        found = jax.jit(jax.value_and_grad(ours, (0, 1, 2)))(x, table, weights)
    check(found, jax.jit(jax.value_and_grad(theirs, (0, 1, 2)))(x, table, weights), 2e-5)


def test_memory_is_an_eighth_of_the_naive_one():
    """BLOOM's vocabulary, width 256, 4,096 tokens, gradients of states and table."""
    shapes = [
        jax.ShapeDtypeStruct(s, d)
        for s, d in (
            ((2, 2048, 256), jnp.float32),
            ((250_880, 256), jnp.float32),
            ((2, 2048), jnp.int32),
            ((2, 2048), jnp.float32),
        )
    ]

    def temporary(f):
        compiled = jax.jit(jax.value_and_grad(f, (0, 1))).lower(*shapes).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(chunked_loss.summed) <= temporary(naive) / 8


@pytest.mark.parametrize("batch", [1, 4, 512])
def test_a_vocabulary_of_any_size_is_read_for_many_tokens_at_once(batch):
    of = lambda *shape: jax.ShapeDtypeStruct(shape, jnp.float32)
    reads = []
    for vocab in (250_880, 2_508_800):
        run = jax.jit(chunked_loss.summed).lower(
            of(batch, 300, 8),
            of(vocab, 8),
            jax.ShapeDtypeStruct((batch, 300), jnp.int32),
            of(batch, 300),
        )
        (rows,) = {
            int(found)
            for found in re.findall(rf"-> tensor<{batch}x(\d+)x{vocab}xf32>", run.as_text())
        }
        reads.append(rows)
    assert reads[0] == reads[1]
    assert batch * reads[0] >= min(128 * 3 // 4, batch * 300)


def test_per_example_gradients_under_vmap():
    x, table, labels, weights = make()

    def one(x, labels, weights):
        own = lambda t: chunked_loss.summed(x[None], t, labels[None], weights[None], chunk=4)
        return jax.grad(own)(table)

    found = jax.jit(jax.vmap(one))(x, labels, weights)
    wanted = jax.jit(jax.grad(naive, 1))(x, table, labels, weights)
    check(jnp.sum(found, axis=0), wanted)
