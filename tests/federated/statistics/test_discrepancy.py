import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.distance import pdist

from fl_jax.federated.statistics import discrepancy
from tests.federated.aggregators import reference

X = np.random.default_rng(3).normal(size=(5, 12, 4)).astype(np.float32)
X[3:] += 1.5


def test_discrepancies_are_those_of_the_kernel_matrices():
    width = discrepancy.usual_width(jnp.asarray(X[0]))
    np.testing.assert_allclose(width, np.median(pdist(X[0])), rtol=1e-5)
    found = jax.jit(discrepancy.to_each)(jnp.asarray(X[0]), jnp.asarray(X), width)
    expected = [reference.discrepancy(X[0].astype(float), x, float(width)) for x in X]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert min(found[3:]) > 3 * max(found[:3])


def test_representations_that_are_out_of_range_are_far_away_and_not_nan():
    broken = X.copy()
    broken[1] = np.inf
    broken[2] = np.nan
    found = discrepancy.to_each(jnp.asarray(X[0]), jnp.asarray(broken), jnp.float32(1.0))
    assert np.isfinite(found).all()
    assert found[1] > found[0] + 0.5


def test_equal_points_have_a_width():
    assert float(discrepancy.usual_width(jnp.ones((4, 2)))) == 1.0
