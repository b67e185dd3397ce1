import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fl_jax.core import errors, tree
from fl_jax.federated.defences import norm_clip

UPDATE = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}  # norm 5


def test_long_updates_are_cut_to_the_bound_and_short_ones_kept():
    cut = norm_clip.norm_clip(bound=2.0).client(UPDATE, ())
    np.testing.assert_allclose(tree.norm(cut), 2.0, rtol=1e-6)
    np.testing.assert_allclose(tree.cosine(cut, UPDATE), 1.0, rtol=1e-6)
    kept = norm_clip.norm_clip(bound=6.0).client(UPDATE, ())
    jax.tree.map(np.testing.assert_array_equal, kept, UPDATE)
    zero = norm_clip.norm_clip(bound=1.0).client(tree.zeros_like(UPDATE), ())
    assert bool(tree.all_finite(zero))


def test_noise_has_the_stated_deviation(key):
    defence = norm_clip.norm_clip(bound=1.0, noise=0.3)
    zero = {"a": jnp.zeros(40_000), "b": jnp.zeros(40_000)}
    noisy, _ = defence.server(zero, (), key)
    for leaf in noisy.values():
        assert float(jnp.std(leaf)) == pytest.approx(0.3, rel=0.02)
    assert abs(float(jnp.mean(noisy["a"] * noisy["b"]))) < 0.003  # leaves get their own draws


def test_a_bound_that_is_none_is_refused():
    with pytest.raises(errors.ConfigError, match="clipping bound must be above 0"):
        norm_clip.norm_clip(bound=0.0)
    with pytest.raises(errors.ConfigError, match="noise on the aggregate must be 0 or more"):
        norm_clip.norm_clip(bound=1.0, noise=np.nan)
