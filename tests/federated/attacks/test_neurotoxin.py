import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fl_jax.core import errors, tree
from fl_jax.federated.attacks import neurotoxin
from fl_jax.train.state import Variables
from tests.federated import toy
from tests.federated.attacks import test_base


def test_only_quiet_parameters_move(key):
    attack, data = test_base.ATTACKS["neurotoxin"]
    g = toy.variables(key)
    before = tree.add(g, jax.tree.map(lambda a: jnp.cos(jnp.arange(a.size)).reshape(a.shape), g))
    state = attack.observe(g, attack.observe(before, attack.init(before)))
    sent, _, _ = jax.jit(attack.update)(test_base.view_of(g, attack, data), state, key)
    moved = np.concatenate([np.abs(a).ravel() for a in jax.tree.leaves(state.moved.params)])
    attacked = np.concatenate([np.ravel(a[0]) for a in jax.tree.leaves(sent.params)])
    loud = np.argsort(-moved)[: round(0.2 * moved.size)]
    assert (attacked[loud] == 0).all()
    assert (np.delete(attacked, loud) != 0).mean() > 0.9


def test_before_anything_moved_all_may():
    mask = neurotoxin.quiet(Variables(jnp.zeros(5), {}), 0.4)
    assert (mask.params == 1).all()


def test_what_moved_is_left_alone_where_little_did():
    moved = jnp.zeros(1000).at[::40].set(-0.1)  # 25 of them, of a share of 50
    mask = neurotoxin.quiet(Variables(moved, {}), 0.05)
    np.testing.assert_array_equal(mask.params, moved == 0)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(errors.ConfigError, match=r"share must lie in \(0, 1\), got"):
        neurotoxin.neurotoxin(toy.LOSS, optax.sgd(1.0), share=share, batch_size=4)


def test_a_model_of_two_dtypes_has_one_largest_share():
    moved = {"w": jnp.array([1.0, 0.1], jnp.bfloat16), "norm": jnp.array([0.5, 0.2])}
    found = neurotoxin.quiet(moved, 0.5)
    assert {name: leaf.tolist() for name, leaf in found.items()} == {"w": [0, 1], "norm": [0, 1]}
    assert found["w"].dtype == jnp.bfloat16
