import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors, tree
from fl_jax.federated.aggregators import base, centred_clip
from fl_jax.federated.aggregators.base import Stacked
from tests.federated.aggregators import reference

X = np.random.default_rng(4).normal(size=(6, 5)).astype(np.float32)


def test_the_centre_is_the_last_aggregate():
    rule = base.as_stacked(centred_clip.centred_clip(radius=1.0))
    state, expected = rule.init({"w": jnp.zeros(5)}), 0.0
    for shift in (0.0, 1.0, -2.0):
        out, state = rule.update(Stacked({"w": jnp.asarray(X + shift)}, jnp.ones(6)), state)
        expected = reference.centred_clip(X + shift, 1.0, 1, expected)
        np.testing.assert_allclose(out["w"], expected, rtol=1e-4, atol=1e-5)
    _, kept = rule.update(Stacked({"w": jnp.zeros((6, 5))}, jnp.zeros(6)), state)
    np.testing.assert_array_equal(kept["w"], state["w"])  # nothing arrived


def test_one_outlier_moves_it_by_the_radius_over_m():
    rule = base.as_stacked(centred_clip.centred_clip(radius=1.0))
    thrown = X.copy()
    thrown[2] = 1e6
    run = lambda x: rule.update(Stacked({"w": jnp.asarray(x)}, jnp.ones(6)), {"w": jnp.zeros(5)})[0]
    assert float(tree.norm(tree.sub(run(thrown), run(X)))) <= 2.0 / 6 + 1e-5


def test_a_radius_that_is_none_is_refused():
    with pytest.raises(errors.ConfigError, match="radius must be above 0"):
        centred_clip.centred_clip(radius=0.0)
