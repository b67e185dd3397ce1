import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fl_jax.core import errors, tree
from fl_jax.federated import client, round, sampling, scaffold
from fl_jax.train.state import Variables
from tests.federated import toy

RATE = 0.1
LOCAL = client.make(toy.LOSS, optax.sgd(RATE), epochs=2, batch_size=150)


def by_hand(rounds, sampler):
    """Algorithm 1 in plain Python, whole shares as batches."""
    people, g = toy.people(), toy.variables(jax.random.key(0))
    grad = jax.jit(jax.grad(lambda p, batch: toy.LOSS(Variables(p, {}), batch, None_key)[0]))
    x, c = g.params, tree.zeros_like(g.params)
    each = [tree.zeros_like(g.params) for _ in range(toy.PARTICIPANTS)]
    for r in range(rounds):
        moves, changes = [], []
        for i in sampler.draw(None_key, r).ids.tolist():
            own = slice(int(people.start[i]), int(people.start[i] + people.size[i]))
            batch = jax.tree.map(lambda a, own=own: a[own], people.examples)
            y = x
            for _ in range(2):
                slope = tree.add(tree.sub(grad(y, batch), each[i]), c)
                y = tree.sub(y, tree.scale(RATE, slope))
            new = tree.add(tree.sub(each[i], c), tree.scale(1 / (2 * RATE), tree.sub(x, y)))
            moves.append(tree.sub(y, x))
            changes.append(tree.sub(new, each[i]))
            each[i] = new
        total = lambda updates: jax.tree.map(lambda *a: sum(a), *updates)
        x = tree.add(x, tree.scale(1 / len(moves), total(moves)))
        c = tree.add(c, tree.scale(1 / toy.PARTICIPANTS, total(changes)))
    return x


None_key = jax.random.key(9)


def every_third(key, r):
    """A fixed schedule: participants 0, 3, 6, 9, then 1, 4, 7, 10, ..."""
    del key
    chosen = sampling.everyone(4).draw(None_key, 0)
    return chosen._replace(ids=3 * jnp.arange(4) + jnp.asarray(r, jnp.int32) % 3)


thirds = sampling.Sampler(every_third, toy.PARTICIPANTS)


def test_it_equals_the_algorithm_in_plain_python():
    made = scaffold.make(client=LOCAL, rate=RATE, sampler=thirds)
    many = jax.jit(round.repeat(made.step, 5))
    first = made.init(toy.variables(jax.random.key(0)))
    state, info = many(first, round.RoundData(toy.people()), None_key)
    assert info.loss.shape == (5, 4)
    for got, want in zip(
        jax.tree.leaves(state.variables.params), jax.tree.leaves(by_hand(5, thirds)), strict=True
    ):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_control_variates_that_do_not_fit_are_refused_with_the_bytes():
    made = scaffold.make(client=LOCAL, rate=RATE, sampler=thirds, memory=700)
    with pytest.raises(errors.ConfigError, match="takes 720 bytes, but `memory` allows 700"):
        made.init(toy.variables(jax.random.key(0)))
