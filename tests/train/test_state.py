import jax
import jax.numpy as jnp
import optax

from fl_jax.train import state


def test_a_fresh_state_can_be_donated():
    fresh = state.init(state.Variables({"w": jnp.zeros(3)}, {}), optax.sgd(0.1))
    moved = jax.jit(lambda s: s._replace(step=s.step + 1), donate_argnums=0)(fresh)
    assert int(moved.step) == 1
