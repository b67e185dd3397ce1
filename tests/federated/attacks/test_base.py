import jax
import jax.numpy as jnp
import optax
import pytest

from fl_jax.core import tree
from fl_jax.federated.attacks import constrain_and_scale
from fl_jax.federated.attacks.base import View
from tests.federated import toy

# Every attack with the data it needs; a new one is one line here and passes the same tests.
ATTACKS = {
    "constrain_and_scale": (
        constrain_and_scale.constrain_and_scale(
            toy.LOSS, optax.sgd(1.0), batch_size=4, attackers=3
        ),
        constrain_and_scale.poison(
            toy.examples(2, 20), toy.examples(3, 5), per_batch=2, epochs=2, rate=0.1, gamma=3.0
        ),
    ),
}


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_an_attack_sends_finite_updates_of_the_shape_of_the_model(name, key):
    attack, data = ATTACKS[name]
    g = toy.variables(key)
    view = View(g, jnp.int32(2), jnp.int32(0), None, data)
    sent, state, info = jax.jit(attack.update)(view, attack.init(g), key)
    assert jax.tree.structure(sent) == jax.tree.structure(g)
    for update, leaf in zip(jax.tree.leaves(sent), jax.tree.leaves(g), strict=True):
        assert update.shape == (attack.most, *leaf.shape)
        assert update.dtype == leaf.dtype
    assert bool(tree.all_finite((sent, info)))
    assert jax.tree.structure(state) == jax.tree.structure(attack.init(g))
    again, _, _ = jax.jit(attack.update)(view, attack.init(g), key)
    assert all(
        (a == b).all() for a, b in zip(jax.tree.leaves(sent), jax.tree.leaves(again), strict=True)
    )
