import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.attacks import distributed, triggers
from tests.federated import toy
from tests.federated.attacks import test_base


def test_parts_are_disjoint_and_make_the_whole():
    parts = distributed.split(triggers.CROSS, 4)
    held = np.stack([part >= 0 for part in parts])
    assert (held.sum(0) == (triggers.CROSS >= 0)).all()
    whole = np.max(np.stack(parts), axis=0)
    np.testing.assert_array_equal(whole, triggers.CROSS)


def test_each_attacker_trains_on_its_own_part(key):
    one, data = test_base.single(), test_base.POISON
    attack = distributed.distributed(one, 2)
    other = data._replace(backdoor=toy.examples(11, 5))
    both = jax.tree.map(lambda a, b: np.stack([a, b]), data, other)
    g = toy.variables(key)
    sent, _, _ = attack.update(test_base.view_of(g, attack, both), (), key)
    first, second = (jax.tree.map(lambda a, i=i: a[i], sent) for i in (0, 1))
    differ = [
        np.abs(a - b).max()
        for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    ]
    assert max(differ) > 1e-3


def test_too_many_parts_are_refused():
    with pytest.raises(errors.ConfigError, match="9 pixels cannot be split into 11 parts"):
        distributed.split(triggers.CROSS, 11)
    with pytest.raises(errors.ConfigError, match="sends 3 updates"):
        distributed.distributed(test_base.single(attackers=3), 2)


def test_data_of_another_number_of_attackers_are_refused(key):
    attack = distributed.distributed(test_base.single(), 2)
    g = toy.variables(key)
    for data in (test_base.POISON, jax.tree.map(lambda a: np.stack([a] * 3), test_base.POISON)):
        with pytest.raises(errors.ConfigError, match="a distributed attack of 2 takes as many"):
            attack.update(test_base.view_of(g, attack, data), (), key)


def test_an_attack_that_remembers_is_refused(key):
    """Each attacker would remember something else; before, all of it was forgotten."""
    one = test_base.single()

    def counting(view, state, key):
        sent, _, info = one.update(view, (), key)
        return sent, state + 1, info

    attack = distributed.distributed(one._replace(update=counting), 2)
    data = jax.tree.map(lambda a: np.stack([a, a]), test_base.POISON)
    view = test_base.view_of(toy.variables(key), attack, data)
    with pytest.raises(errors.ConfigError, match="this one remembers what it sends"):
        attack.update(view, jnp.int32(0), key)
