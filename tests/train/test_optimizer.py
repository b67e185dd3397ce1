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


def adafactor(params, grads, rate, decay):
    """The last update of algorithms 4 and 5 [Shazeer and Stern 2018], word for word in float64."""
    rows, columns, v = 0.0, 0.0, 0.0
    for t, g in enumerate(grads, 1):
        beta, square = 1 - t**-0.8, g * g + 1e-30
        if min(g.shape) >= 128:
            rows = beta * rows + (1 - beta) * square.mean(1)
            columns = beta * columns + (1 - beta) * square.mean(0)
            v = np.outer(rows, columns) / rows.mean()
        else:
            v = beta * v + (1 - beta) * square
        u = g / np.sqrt(v)
        u = u / max(1.0, np.sqrt(np.mean(u * u)))
        size = max(1e-3, np.sqrt(np.mean(params * params)))
    return -rate * (size * u + decay * params)


@pytest.mark.parametrize("shape", [(129, 128), (5, 7)])
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-5), ("bfloat16", 0.01)])
@pytest.mark.parametrize("schedule", [Schedule(), Schedule("linear", decay_steps=10**9)])
def test_adafactor_is_the_papers(shape, dtype, rtol, schedule):
    """Decay is the rate's share; it was a share of its own, however small the rate."""
    draw = np.random.default_rng(0).normal
    params = jnp.asarray(draw(size=shape), dtype)
    grads = [jnp.asarray(draw(size=shape) * 10.0**-i, dtype) for i in range(4)]
    config = optimizer.Optimizer("adafactor", rate=0.01, weight_decay=0.1, schedule=schedule)
    made = optimizer.make(config)
    state = made.init(params)
    for g in grads:
        update, state = made.update(g, state, params)
    assert update.dtype == dtype
    exact = lambda a: np.asarray(a, np.float64)
    wanted = adafactor(exact(params), list(map(exact, grads)), 0.01, 0.1)
    np.testing.assert_allclose(exact(update), wanted, rtol=rtol, atol=rtol * 1e-3)


@pytest.mark.parametrize("name", ["adam", "adamw", "yogi", "muon"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_moments_of_a_narrow_model_are_float32(name, dtype):
    """0.999 of a bfloat16 is itself: its second moment rose and never fell again."""
    made = optimizer.make(optimizer.Optimizer(name, rate=0.01))

    def last(dtype):
        params = jnp.ones(3, dtype)
        grads = jnp.where(jnp.arange(2000) < 10, 1.0, 0.125).astype(dtype)

        def one(state, g):
            update, state = made.update(jnp.full(3, g), state, params)
            return state, update

        return jax.lax.scan(one, made.init(params), grads)[1][-1]

    found = last(dtype)
    assert found.dtype == dtype
    np.testing.assert_allclose(np.asarray(found, np.float32), last("float32"), rtol=0.01)


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
