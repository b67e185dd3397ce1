"""The attacker's training loop against plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fl_jax.core import rng, tree
from fl_jax.federated.attacks import mixed
from tests.federated import toy

CLEAN, BACKDOOR = toy.examples(2, 10), toy.examples(3, 3)
USUAL = {
    "batch_size": 4,
    "per_batch": 2,
    "epochs": 2,
    "rate": lambda e: 0.1 * 0.5 ** e.astype(jnp.float32),
}


def run(key, **changes):
    return mixed.train(
        toy.LOSS,
        optax.sgd(1.0),
        toy.variables(key),
        jax.tree.map(jnp.asarray, CLEAN),
        jax.tree.map(jnp.asarray, BACKDOOR),
        key,
        **(USUAL | changes),
    )


def by_hand(key):
    """Two epochs over ten clean examples in batches of 4, of which 2 are backdoor examples."""
    variables = toy.variables(key)
    slope = jax.grad(lambda p, batch: toy.LOSS(variables._replace(params=p), batch, key)[0])
    for e in range(2):
        order = np.asarray(jax.random.permutation(rng.fold(key, "shuffle", e), 10))
        for s in range(3):
            own = order[4 * s : 4 * s + 4]
            drawn = np.asarray(jax.random.randint(rng.fold(key, "draw", 3 * e + s), (4,), 0, 3))
            batch = {
                k: jnp.asarray(np.concatenate([BACKDOOR[k][drawn[:2]], CLEAN[k][own[2:]]]))
                for k in CLEAN
            }
            grads = slope(variables.params, batch)
            params = tree.sub(variables.params, tree.scale(0.1 * 0.5**e, grads))
            variables = variables._replace(params=params)
    return variables


def test_it_equals_plain_python(key):
    local, taken = run(key)
    assert int(taken) == 2
    for a, b in zip(jax.tree.leaves(local), jax.tree.leaves(by_hand(key)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_mask_keeps_parameters_and_done_ends_it(key):
    mask = {"kernel": jnp.zeros((4, 3)), "bias": jnp.ones(3)}
    local, _ = run(key, mask=mask)
    start = toy.variables(key)
    np.testing.assert_array_equal(local.params["kernel"], start.params["kernel"])
    assert (local.params["bias"] != start.params["bias"]).any()
    same, taken = run(key, done=lambda variables: jnp.bool_(True))
    assert int(taken) == 0
    np.testing.assert_array_equal(same.params["kernel"], start.params["kernel"])
