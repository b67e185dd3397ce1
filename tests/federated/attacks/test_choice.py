import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.attacks import choice
from tests.federated import toy
from tests.federated.attacks import test_base


def test_the_index_picks_the_attack_and_the_rest_is_silence(key):
    names = ["pgd", "alie", "neurotoxin"]
    parts = [test_base.ATTACKS[name] for name in names]
    attack = choice.choice([part[0] for part in parts])
    assert attack.most == 2
    g = toy.variables(key)
    state = attack.observe(g, attack.init(g))
    for i, (alone, own) in enumerate(parts):
        data = choice.ChoiceData(jnp.int32(i), tuple(part[1] for part in parts))
        sent, _, _ = jax.jit(attack.update)(test_base.view_of(g, attack, data), state, key)
        view = test_base.view_of(g, attack, own)
        expected, _, _ = alone.update(view._replace(ids=view.ids[: alone.most]), state[i], key)
        for a, b in zip(jax.tree.leaves(sent), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a[: alone.most], b, rtol=1e-4, atol=1e-5)
            assert not np.any(a[alone.most :])


def test_no_attack_is_refused():
    with pytest.raises(errors.ConfigError, match="needs at least one"):
        choice.choice([])
