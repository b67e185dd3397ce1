import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors
from fl_jax.federated.aggregators import centred_clip, choice, mean, median
from fl_jax.federated.aggregators.base import Stacked, as_stacked
from fl_jax.federated.defences import norm_clip
from tests.federated import toy

X = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
RULES = [
    mean.mean(),
    median.median(),
    centred_clip.centred_clip(radius=0.5),
    choice.guarded(mean.mean(weight="uniform"), norm_clip.norm_clip(bound=0.5, noise=0.1)),
]


def test_the_index_picks_the_rule_and_its_state():
    chosen = choice.choice(RULES)
    zeros = {"w": jnp.zeros(5)}
    weights = jnp.arange(1.0, 7.0)
    seen = Stacked({"w": jnp.asarray(X)}, weights)
    key = jax.random.key(0)

    @jax.jit
    def run(index):
        state = chosen.begin(zeros, chosen.init(zeros)._replace(index=index), key)
        return chosen.update(seen, state)

    for i, rule in enumerate(RULES):
        alone = as_stacked(rule)
        own = seen if rule.weight == "examples" else seen._replace(weights=jnp.ones(6))
        expected, after = alone.update(own, alone.begin(zeros, alone.init(zeros), key))
        out, state = run(jnp.int32(i))
        np.testing.assert_allclose(out["w"], expected["w"], rtol=1e-6)
        for a, b in zip(jax.tree.leaves(state.states[i]), jax.tree.leaves(after), strict=True):
            if jnp.issubdtype(a.dtype, jnp.inexact):
                np.testing.assert_allclose(a, b, rtol=1e-6)
        others = [k for k in range(len(RULES)) if k not in (i, 3)]
        assert all(not jnp.any(a) for k in others for a in jax.tree.leaves(state.states[k]))


def test_the_chosen_rule_sends_the_model_out():
    moved = toy.elsewhere(2.0)
    guarded = choice.guarded(toy.elsewhere(3.0), norm_clip.norm_clip(bound=0.5))
    chosen, zeros = choice.choice([mean.mean(), moved, guarded]), {"w": jnp.zeros(5)}

    @jax.jit
    def sent(index):
        state = chosen.init(zeros)._replace(index=index)
        return chosen.broadcast(zeros, chosen.begin(zeros, state, jax.random.key(0)))["w"]

    for i, by in enumerate((0.0, 2.0, 3.0)):
        np.testing.assert_array_equal(sent(jnp.int32(i)), np.full(5, by))
    assert choice.choice(RULES).broadcast is None  # no work where nobody changes it


def test_no_rule_is_refused():
    with pytest.raises(errors.ConfigError, match="needs at least one"):
        choice.choice([])
