import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated import server

AGGREGATES = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32) * 0.05
RATE, B1, B2, TAU = 0.3, 0.8, 0.9, 0.02


def published(kind):
    """Algorithm 2, line by line; x starts at 0."""
    x, m, v = np.zeros(4), np.zeros(4), np.full(4, TAU**2)
    for d in AGGREGATES.astype(np.float64):
        m = B1 * m + (1 - B1) * d
        if kind == "adagrad":
            v = v + d**2
        elif kind == "yogi":
            v = v - (1 - B2) * d**2 * np.sign(v - d**2)
        else:
            v = B2 * v + (1 - B2) * d**2
        x = x + RATE * m / (np.sqrt(v) + TAU)
    return x


@pytest.mark.parametrize("kind", server.KINDS)
def test_it_is_the_published_algorithm(kind):
    optimizer = server.adaptive(kind, rate=RATE, b1=B1, b2=B2, tau=TAU)
    update = jax.jit(optimizer.update)
    x = {"w": jnp.zeros(4)}
    state = optimizer.init(x)
    for d in AGGREGATES:
        moved, state = update({"w": -jnp.asarray(d)}, state, x)
        x = jax.tree.map(jnp.add, x, moved)
    np.testing.assert_allclose(x["w"], published(kind), rtol=1e-5)


def test_a_large_tau_is_plain_momentum():
    """Then sqrt(v) = tau throughout: rate m / (2 tau)."""
    optimizer = server.adaptive("adam", rate=1.0, b2=0.99, tau=1e3)
    moved, _ = optimizer.update(jnp.full(3, -2.0), optimizer.init(jnp.zeros(3)))
    np.testing.assert_allclose(moved, 0.1 * 2.0 / 2e3, rtol=0.02)


@pytest.mark.parametrize(
    "wrong, told",
    [({"kind": "sgd"}, "adagrad"), ({"rate": 0.0}, "learning rate"), ({"tau": 0.0}, "tau"),
     ({"b2": 1.0}, r"b2 must lie in \[0, 1\)")],
)  # fmt: skip
def test_what_makes_no_optimizer_is_refused(wrong, told):
    with pytest.raises(errors.ConfigError, match=told):
        server.adaptive(**{"kind": "adam", "rate": 0.1} | wrong)


def test_moments_of_narrow_parameters_are_wide():
    """Of a step of 1e-4, the square is below float16."""
    optimizer = server.adaptive("adagrad", rate=1.0, b1=0.0, tau=1e-5)
    start = {"w": jnp.zeros(3, jnp.float16)}
    moved, state = optimizer.update({"w": jnp.full(3, -1e-4, jnp.float16)}, optimizer.init(start))
    assert moved["w"].dtype == jnp.float16 and state.second["w"].dtype == jnp.float32
    np.testing.assert_allclose(moved["w"], 1 / 1.105, rtol=2e-3)
