import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fl_jax.core import errors
from fl_jax.train import optimizer
from fl_jax.train.schedule import Schedule

PARAMS = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.array([0.1, -0.3])}


def minimise(config, steps=200):
    made = optimizer.make(config)
    target = jax.tree.map(lambda a: a * 0 + 0.25, PARAMS)

    def one(carry, _):
        params, state = carry
        grads = jax.tree.map(lambda p, t: 2 * (p - t), params, target)
        updates, state = made.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(one, (PARAMS, made.init(PARAMS)), length=steps)
    return max(float(jnp.max(jnp.abs(params[k] - target[k]))) for k in params)


@pytest.mark.parametrize("name", optimizer.NAMES)
def test_every_optimizer_finds_the_minimum_of_a_parabola(name):
    rate = {"sgd": 0.1, "adagrad": 0.5, "lion": 0.05, "muon": 0.05}.get(name, 0.1)
    config = optimizer.Optimizer(
        name, rate=rate, schedule=Schedule("cosine", decay_steps=400, final=0.01)
    )
    assert minimise(config, 400) < 0.05


def test_sgd_is_the_formula():
    config = optimizer.Optimizer("sgd", rate=0.1, momentum=0.9, weight_decay=0.01)
    made = optimizer.make(config)
    state, grads = made.init(PARAMS), jax.tree.map(jnp.ones_like, PARAMS)
    velocity, p = 0.0, PARAMS["w"]
    for _ in range(3):
        velocity = 0.9 * velocity + (1 + 0.01 * p)
        updates, state = made.update(grads, state, {**PARAMS, "w": p})
        np.testing.assert_allclose(updates["w"], -0.1 * velocity, rtol=1e-6)
        p = p + updates["w"]


def test_decay_can_spare_biases():
    config = optimizer.Optimizer("adamw", rate=0.1, weight_decay=0.5)
    made = optimizer.make(config, decay_mask=optimizer.decay_matrices)
    updates, _ = made.update(jax.tree.map(jnp.zeros_like, PARAMS), made.init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["w"], -0.05 * PARAMS["w"], rtol=1e-6)
    np.testing.assert_array_equal(updates["b"], 0)


def test_gradients_are_clipped_by_their_global_norm():
    made = optimizer.make(optimizer.Optimizer("sgd", rate=1.0, clip_norm=1.0))
    grads = jax.tree.map(lambda a: 100 * a, PARAMS)
    updates, _ = made.update(grads, made.init(PARAMS), PARAMS)
    np.testing.assert_allclose(optax.tree.norm(updates), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (optimizer.Optimizer("sdg"), "did you mean 'sgd'"),
        (optimizer.Optimizer("sgd", rate=0.0), "learning rate must be above 0"),
        (optimizer.Optimizer("sgd", clip_norm=-1.0), "clip_norm must be 0 or more, got -1"),
        (optimizer.Optimizer("adam", weight_decay=0.1), "use adamw"),
        (optimizer.Optimizer("sgd", rate=np.inf), "learning rate must be finite"),
        (optimizer.Optimizer("sgd", momentum=1.0), r"momentum must lie in \[0, 1\), got 1"),
        (optimizer.Optimizer("adam", b1=-0.5), r"b1 must lie in \[0, 1\), got -0.5"),
        (optimizer.Optimizer("adamw", b2=np.nan), "b2 must lie"),
        (optimizer.Optimizer("adam", eps=-1e-8), "eps must be 0 or more"),
        (optimizer.Optimizer("sgd", weight_decay=-0.1), "weight_decay must be 0 or more"),
    ],
)
def test_what_cannot_work_is_refused(config, said):
    with pytest.raises(errors.ConfigError, match=said):
        optimizer.make(config)
