import jax
import jax.numpy as jnp
import pytest

from fl_jax.core import tree
from fl_jax.federated.defences import base, norm_clip

# A new defence is one line here and passes the same tests.
DEFENCES = {
    "none": base.none(),
    "norm clip": norm_clip.norm_clip(bound=1.0),
    "weak dp": norm_clip.norm_clip(bound=1.0, noise=0.1),
}
UPDATE = {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(2)}


@pytest.mark.parametrize("name", sorted(DEFENCES))
def test_a_defence_keeps_shapes_dtypes_and_its_state(name, key):
    defence = DEFENCES[name]
    state = defence.init(UPDATE)
    update = jax.jit(defence.client)(UPDATE, state)
    aggregate, after = jax.jit(defence.server)(UPDATE, state, key)
    shapes = lambda t: jax.tree.map(lambda a: (a.shape, a.dtype), t)
    assert shapes(update) == shapes(aggregate) == shapes(UPDATE)
    assert shapes(after) == shapes(state)
    assert bool(tree.all_finite((update, aggregate)))


@pytest.mark.parametrize("name", sorted(DEFENCES))
def test_no_defence_makes_an_update_longer(name):
    defence = DEFENCES[name]
    cut = defence.client(UPDATE, defence.init(UPDATE))
    assert float(tree.norm(cut)) <= float(tree.norm(UPDATE)) + 1e-6
