import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fl_jax.core import errors, rng, tree
from fl_jax.federated import client
from tests.federated import toy


def by_hand(g, x, y, key, *, epochs, batch_size, rate):
    """Momentum SGD over shuffled batches in NumPy, the short batch last."""
    w, b = (np.asarray(g.params[k], np.float64) for k in ("kernel", "bias"))
    vw, vb = np.zeros_like(w), np.zeros_like(b)
    for e in range(epochs):
        scores = np.asarray(jax.random.uniform(rng.fold(key, "shuffle", e), (150,)))[: len(y)]
        order = np.argsort(scores, kind="stable")
        for at in range(0, len(y), batch_size):
            taken = order[at : at + batch_size]
            logits = x[taken] @ w + b
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            p[np.arange(len(taken)), y[taken]] -= 1
            vw = 0.9 * vw + x[taken].T @ p / len(taken)
            vb = 0.9 * vb + p.mean(0)
            w, b = w - rate * vw, b - rate * vb
    return w, b


@pytest.mark.parametrize("who", [0, 4, 11])
def test_local_training_is_sgd_over_the_own_share(key, who):
    people, g = toy.people(), toy.variables(key)
    start, size = int(people.start[who]), int(people.size[who])
    train = jax.jit(toy.trainer().train, static_argnames="longest")
    local, info = train(g, people.examples, start, size, key, longest=people.longest)
    x, y = (np.asarray(people.examples[k][start : start + size]) for k in ("x", "y"))
    w, b = by_hand(g, x, y, key, epochs=2, batch_size=4, rate=0.1)
    np.testing.assert_allclose(local.params["kernel"], w, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(local.params["bias"], b, rtol=1e-4, atol=1e-5)
    assert 0 < float(info.loss) < 3


def test_steps_are_counted_by_the_share():
    counted = toy.trainer(epochs=3, batch_size=4).steps(jnp.array([0, 1, 4, 5, 40]))
    np.testing.assert_array_equal(counted, [0, 3, 3, 6, 30])


def test_an_empty_share_returns_the_global_model(key):
    g = toy.variables(key)
    local, info = toy.trainer().train(g, toy.people().examples, 0, 0, key, longest=1)
    jax.tree.map(np.testing.assert_array_equal, local, g)
    assert float(info.loss) == 0


def test_epochs_below_zero_are_refused():
    with pytest.raises(errors.ConfigError, match="epochs must be a whole number of 0 or more"):
        toy.trainer(epochs=-1)


def test_a_batch_size_of_zero_is_refused():
    with pytest.raises(errors.ConfigError, match="batch_size must be a whole number of 1 or more"):
        toy.trainer(batch_size=0)


def test_fedprox_pulls_towards_the_global_model(key):
    people, g = toy.people(), toy.variables(key)

    def moved(mu):
        trainer = client.make(toy.LOSS, optax.sgd(0.1), epochs=4, batch_size=4, proximal=mu)
        local, _ = trainer.train(
            g, people.examples, people.start[1], people.size[1], key, longest=people.longest
        )
        return float(tree.norm(tree.sub(local, g)))

    assert moved(0.0) > moved(1.0) > moved(5.0) > 0
    with pytest.raises(errors.ConfigError, match=r"must be 0 or more, got -1"):
        moved(-1.0)


def test_a_fedprox_step_is_its_formula(key):
    """Two whole-batch steps: w2 = w1 - rate (g(w1) + mu (w1 - G))."""
    people, g = toy.people(), toy.variables(key)
    trainer = client.make(toy.LOSS, optax.sgd(0.1), epochs=2, batch_size=150, proximal=3.0)
    local, _ = trainer.train(
        g, people.examples, people.start[1], people.size[1], key, longest=people.longest
    )
    own = slice(int(people.start[1]), int(people.start[1] + people.size[1]))
    batch = jax.tree.map(lambda a: a[own], people.examples)
    slope = jax.grad(lambda p: toy.LOSS(g._replace(params=p), batch, key)[0])
    one = tree.sub(g.params, tree.scale(0.1, slope(g.params)))
    pull = tree.add(slope(one), tree.scale(3.0, tree.sub(one, g.params)))
    expected = tree.sub(one, tree.scale(0.1, pull))
    for a, b in zip(jax.tree.leaves(local.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
