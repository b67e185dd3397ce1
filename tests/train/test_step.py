import jax
import jax.numpy as jnp
import numpy as np

from fl_jax.train import optimizer, state, step
from fl_jax.train.state import Variables


def loss(variables, batch, key):
    del key
    error = batch["x"] @ variables.params["w"] - batch["y"]
    return jnp.mean(error**2), (variables.batch_stats, {"error": jnp.max(jnp.abs(error))})


OPTIMIZER = optimizer.make(optimizer.Optimizer("adam", rate=0.1))
BATCH = {"x": jnp.eye(3), "y": jnp.array([1.0, -1.0, 2.0])}


def start():
    return state.init(Variables({"w": jnp.zeros(3)}, {}), OPTIMIZER)


def test_it_learns_and_compiles_once(key):
    traced = []

    def counted(s, batch, key):
        traced.append(1)
        return step.make(loss, OPTIMIZER)(s, batch, key)

    advance, now = jax.jit(counted, donate_argnums=0), start()
    for _ in range(300):
        now, info = advance(now, BATCH, key)
    assert len(traced) == 1
    assert int(now.step) == 300
    np.testing.assert_allclose(now.variables.params["w"], BATCH["y"], atol=1e-2)
    assert float(info.loss) < 1e-3


def test_updates_that_are_not_finite_are_skipped_and_counted(key):
    advance = jax.jit(step.make(loss, OPTIMIZER))
    good, _ = advance(start(), BATCH, key)
    broken = {**BATCH, "y": BATCH["y"].at[1].set(jnp.nan)}
    bad, info = advance(good, broken, key)
    bad, info = advance(bad, broken, key)
    assert not bool(info.finite)
    assert (int(bad.step), int(bad.skipped), int(bad.in_a_row)) == (1, 2, 2)
    jax.tree.map(np.testing.assert_array_equal, bad.variables, good.variables)
    jax.tree.map(np.testing.assert_array_equal, bad.optimizer, good.optimizer)
    again, _ = advance(bad, BATCH, key)
    assert (int(again.step), int(again.skipped), int(again.in_a_row)) == (2, 2, 0)


def test_it_is_lifted_over_seeds(key):
    advance = step.make(loss, OPTIMIZER)
    states = jax.tree.map(lambda a: jnp.stack([a, a]), start())
    batches = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), BATCH)
    both, _ = jax.vmap(advance, in_axes=(0, 0, None))(states, batches, key)
    one, _ = advance(start(), jax.tree.map(lambda a: a[1], batches), key)
    np.testing.assert_allclose(both.variables.params["w"][1], one.variables.params["w"])


def test_parameters_that_an_update_would_leave_not_finite_are_not_taken(key):
    """Loss and gradient are finite, the update is not: Adam at 0/0."""
    still = {**BATCH, "y": jnp.array([0.0, -1.0, 2.0])}  # no gradient for the first weight
    advance = jax.jit(step.make(loss, optimizer.make(optimizer.Optimizer("adam", eps=0.0))))
    kept, info = advance(start(), still, key)
    assert bool(jnp.isfinite(info.loss))
    assert not bool(info.finite)
    assert int(kept.skipped) == 1
    jax.tree.map(np.testing.assert_array_equal, kept.variables, start().variables)
