import jax
import jax.numpy as jnp
import optax
import pytest

from fl_jax.train import state

SLOW = optax.GradientTransformation(lambda params: params, lambda g, s, p: (g, s))


@pytest.mark.parametrize("optimizer", [optax.sgd(0.1), SLOW], ids=["sgd", "parameters kept"])
def test_a_fresh_state_can_be_donated(optimizer):
    fresh = state.init(state.Variables({"w": jnp.zeros(3)}, {}), optimizer)
    moved = jax.jit(lambda s: s._replace(step=s.step + 1), donate_argnums=0)(fresh)
    assert int(moved.step) == 1
