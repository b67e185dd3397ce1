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


def test_a_narrow_update_is_no_longer_than_the_bound():
    """What the certificate of CRFL counts on; without a margin it is longer by 0.4 %."""
    defence = norm_clip.norm_clip(bound=1.0)
    for size in (7, 13, 100, 1000):
        sent = defence.client({"w": jnp.full(size, 3.0, jnp.bfloat16)}, ())["w"]
        assert sent.dtype == jnp.bfloat16
        assert 0.98 < np.linalg.norm(np.asarray(sent, np.float64)) <= 1
